// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.device.Limits;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/** What one generation may do. Immutable; built with {@link #builder()}. */
public final class GenerationOptions {
    private static final int MOST_BIASES = Limits.MAX_BIASES;

    private static final GenerationOptions DEFAULTS = builder().build();

    private final int maxTokens;
    private final float temperature;
    private final int topK;
    private final float topP;
    private final float minP;
    private final float repetitionPenalty;
    private final float presencePenalty;
    private final float frequencyPenalty;
    private final Map<Integer, Float> logitBias;
    private final Optional<TokenConstraint> constraint;
    private final Acceptance acceptance;
    private final boolean logProbabilities;
    private final long seed;
    private final List<String> stopStrings;
    private final boolean ignoreEndTokens;
    private final Speculation speculation;
    private final Optional<String> streams;
    private final boolean trace;
    private final int priority;
    private final Optional<Duration> timeout;

    private GenerationOptions(Builder builder) {
        maxTokens = builder.maxTokens;
        temperature = builder.temperature;
        topK = builder.topK;
        topP = builder.topP;
        minP = builder.minP;
        repetitionPenalty = builder.repetitionPenalty;
        presencePenalty = builder.presencePenalty;
        frequencyPenalty = builder.frequencyPenalty;
        logitBias = builder.logitBias;
        constraint = builder.constraint;
        acceptance = builder.acceptance;
        logProbabilities = builder.logProbabilities;
        seed = builder.seed;
        stopStrings = builder.stopStrings;
        ignoreEndTokens = builder.ignoreEndTokens;
        speculation = builder.speculation;
        streams = builder.streams;
        trace = builder.trace;
        priority = builder.priority;
        timeout = builder.timeout;
    }

    /** {@return greedy decoding of at most 256 tokens with adaptive speculation} */
    public static GenerationOptions defaults() {
        return DEFAULTS;
    }

    /** {@return a builder that holds the defaults} */
    public static Builder builder() {
        return new Builder();
    }

    /** {@return a builder that holds these options} */
    public Builder toBuilder() {
        Builder builder = new Builder();
        builder.maxTokens = maxTokens;
        builder.temperature = temperature;
        builder.topK = topK;
        builder.topP = topP;
        builder.minP = minP;
        builder.repetitionPenalty = repetitionPenalty;
        builder.presencePenalty = presencePenalty;
        builder.frequencyPenalty = frequencyPenalty;
        builder.logitBias = logitBias;
        builder.constraint = constraint;
        builder.acceptance = acceptance;
        builder.logProbabilities = logProbabilities;
        builder.seed = seed;
        builder.stopStrings = stopStrings;
        builder.ignoreEndTokens = ignoreEndTokens;
        builder.speculation = speculation;
        builder.streams = streams;
        builder.trace = trace;
        builder.priority = priority;
        builder.timeout = timeout;
        return builder;
    }

    /** {@return greatest number of generated tokens} */
    public int maxTokens() {
        return maxTokens;
    }

    /** {@return sampling temperature; 0 = greedy} */
    public float temperature() {
        return temperature;
    }

    /** {@return tokens kept by top-k; 0 = all} */
    public int topK() {
        return topK;
    }

    /** {@return probability mass kept by top-p; 1 = all} */
    public float topP() {
        return topP;
    }

    /** {@return least probability kept, as a fraction of the greatest; 0 = all} */
    public float minP() {
        return minP;
    }

    /** {@return what logits of tokens that the text or the prompt has are divided by; 1 = off} */
    public float repetitionPenalty() {
        return repetitionPenalty;
    }

    /** {@return what is taken from logits of tokens that the text has; 0 = off} */
    public float presencePenalty() {
        return presencePenalty;
    }

    /** {@return what is taken from logits for each occurrence in the text; 0 = off} */
    public float frequencyPenalty() {
        return frequencyPenalty;
    }

    /** {@return what is added to logits, by token id} */
    public Map<Integer, Float> logitBias() {
        return logitBias;
    }

    /** {@return what says which tokens may come next} */
    public Optional<TokenConstraint> constraint() {
        return constraint;
    }

    /** {@return when a drafted token becomes part of the text} */
    public Acceptance acceptance() {
        return acceptance;
    }

    /** {@return whether the log-probability of each token is kept} */
    public boolean logProbabilities() {
        return logProbabilities;
    }

    /** {@return seed of the sampling noise} */
    public long seed() {
        return seed;
    }

    /** {@return strings that end the text; they are not part of it} */
    public List<String> stopStrings() {
        return stopStrings;
    }

    /** {@return whether end tokens are ordinary tokens} */
    public boolean ignoreEndTokens() {
        return ignoreEndTokens;
    }

    /** {@return how the generation speculates} */
    public Speculation speculation() {
        return speculation;
    }

    /** {@return the named streams adapter that drafts; empty = the model's own} */
    public Optional<String> streams() {
        return streams;
    }

    /** {@return whether the token tree of each pass is kept} */
    public boolean trace() {
        return trace;
    }

    /** {@return levels of priority over others; 0 is usual} */
    public int priority() {
        return priority;
    }

    /** {@return how long the generation may take from its submission, if that is limited} */
    public Optional<Duration> timeout() {
        return timeout;
    }

    /** Collects options; each setter checks its range. Not thread-safe. */
    public static final class Builder {
        private int maxTokens = 256;
        private float temperature;
        private int topK;
        private float topP = 1f;
        private float minP;
        private float repetitionPenalty = 1f;
        private float presencePenalty;
        private float frequencyPenalty;
        private Map<Integer, Float> logitBias = Map.of();
        private Optional<TokenConstraint> constraint = Optional.empty();
        private Acceptance acceptance = new Acceptance.Exact();
        private boolean logProbabilities;
        private long seed;
        private List<String> stopStrings = List.of();
        private boolean ignoreEndTokens;
        private Speculation speculation = Speculation.adaptive();
        private Optional<String> streams = Optional.empty();
        private boolean trace;
        private int priority;
        private Optional<Duration> timeout = Optional.empty();

        private Builder() {}

        /**
         * Greatest number of generated tokens; the text also ends at the model's context limit.
         *
         * @param value at least 1
         * @return this
         */
        public Builder maxTokens(int value) {
            require(value >= 1, "maxTokens", value, "at least 1");
            maxTokens = value;
            return this;
        }

        /**
         * Sampling temperature.
         *
         * @param value 0 (greedy), or 0.01 to 100
         * @return this
         */
        public Builder temperature(float value) {
            require(value == 0f || (value >= 0.01f && value <= 100f), "temperature", value, "0, or 0.01 to 100");
            temperature = value;
            return this;
        }

        /**
         * Keeps the most probable tokens only.
         *
         * @param value tokens kept; 0 = all
         * @return this
         */
        public Builder topK(int value) {
            require(value >= 0, "topK", value, "at least 0 (0 = off)");
            topK = value;
            return this;
        }

        /**
         * Keeps the fewest most probable tokens whose mass reaches this.
         *
         * @param value more than 0, at most 1 (1 = off)
         * @return this
         */
        public Builder topP(float value) {
            require(value > 0f && value <= 1f, "topP", value, "more than 0 and at most 1 (1 = off)");
            topP = value;
            return this;
        }

        /**
         * Keeps tokens of at least this fraction of the greatest probability.
         *
         * @param value at least 0 (off), less than 1
         * @return this
         */
        public Builder minP(float value) {
            require(value >= 0f && value < 1f, "minP", value, "at least 0 and less than 1 (0 = off)");
            minP = value;
            return this;
        }

        /**
         * Makes tokens that the prompt or the text has less probable: a positive logit is divided by this, a negative one
         * multiplied, as in transformers.
         *
         * @param value 0.1 to 10; 1 = off, less than 1 makes them more probable
         * @return this
         */
        public Builder repetitionPenalty(float value) {
            require(value >= 0.1f && value <= 10f, "repetitionPenalty", value, "0.1 to 10 (1 = off)");
            repetitionPenalty = value;
            return this;
        }

        /**
         * Takes this from the logits of tokens that the generated text has, however often.
         *
         * @param value −2 to 2; 0 = off
         * @return this
         */
        public Builder presencePenalty(float value) {
            require(value >= -2f && value <= 2f, "presencePenalty", value, "-2 to 2 (0 = off)");
            presencePenalty = value;
            return this;
        }

        /**
         * Takes this from a token's logit for each time that the generated text has it.
         *
         * @param value −2 to 2; 0 = off
         * @return this
         */
        public Builder frequencyPenalty(float value) {
            require(value >= -2f && value <= 2f, "frequencyPenalty", value, "-2 to 2 (0 = off)");
            frequencyPenalty = value;
            return this;
        }

        /**
         * Adds to logits before everything else. A bias of −100 all but bans a token, one of 100 all but forces it; a
         * {@link TokenConstraint} does so for certain.
         *
         * @param values −100 to 100, by token id; at most 1,024 tokens
         * @return this
         */
        public Builder logitBias(Map<Integer, Float> values) {
            Map<Integer, Float> copy = Map.copyOf(values);
            require(copy.size() <= MOST_BIASES, "logitBias", copy.size() + " tokens", "at most " + MOST_BIASES);
            copy.forEach((token, value) -> {
                require(token >= 0, "logitBias", "of token " + token, "token ids of at least 0");
                require(value >= -100f && value <= 100f, "logitBias of token " + token, value, "-100 to 100 (0 = off)");
            });
            logitBias = copy;
            return this;
        }

        /**
         * Allows only tokens that a constraint names. End tokens are tokens too: where it never allows one, the text runs
         * to its limit.
         *
         * @param value called on the device thread, once for each node of each token tree
         * @return this
         */
        public Builder constraint(TokenConstraint value) {
            constraint = Optional.of(Objects.requireNonNull(value, "constraint"));
            return this;
        }

        /**
         * When a drafted token becomes part of the text; {@link Acceptance.Exact} unless it is said otherwise.
         *
         * @param value {@link Acceptance.Typical} needs a temperature above 0
         * @return this
         */
        public Builder acceptance(Acceptance value) {
            acceptance = Objects.requireNonNull(value, "acceptance");
            return this;
        }

        /**
         * Keeps the log-probability of each token for {@link Generation#logProbabilities()}.
         *
         * @param value whether to
         * @return this
         */
        public Builder logProbabilities(boolean value) {
            logProbabilities = value;
            return this;
        }

        /**
         * Seed of the sampling noise; the same seed gives the same text, with speculation and without.
         *
         * @param value any
         * @return this
         */
        public Builder seed(long value) {
            seed = value;
            return this;
        }

        /**
         * Strings that end the text where they first occur; they are not part of it.
         *
         * @param values none empty, at most 16
         * @return this
         */
        public Builder stopStrings(List<String> values) {
            List<String> copy = List.copyOf(values);
            require(copy.size() <= 16, "stopStrings", copy.size() + " strings", "at most 16");
            for (String value : copy) {
                require(!value.isEmpty(), "stopStrings", "an empty string", "non-empty strings");
            }
            stopStrings = copy;
            return this;
        }

        /**
         * Treats end tokens as ordinary tokens, so that a generation runs to its token limit.
         *
         * @param value whether to
         * @return this
         */
        public Builder ignoreEndTokens(boolean value) {
            ignoreEndTokens = value;
            return this;
        }

        /**
         * How the generation speculates.
         *
         * @param value the speculation
         * @return this
         */
        public Builder speculation(Speculation value) {
            speculation = Objects.requireNonNull(value, "speculation");
            return this;
        }

        /**
         * Drafts with a further adapter of the model instead of its own. No adapter changes a text.
         *
         * @param name as it was given to {@link LoadOptions.Builder#streams(String, java.nio.file.Path)}
         * @return this
         */
        public Builder streams(String name) {
            streams = Optional.of(Objects.requireNonNull(name, "streams"));
            return this;
        }

        /**
         * Keeps the token tree and the times of each pass for {@link Generation#trace()} and
         * {@link Generation#timings()}.
         *
         * @param value whether to
         * @return this
         */
        public Builder trace(boolean value) {
            trace = value;
            return this;
        }

        /**
         * How urgent the generation is. A level is worth a second of waiting: among those that wait, a generation comes before
         * the ones that were submitted up to as many seconds earlier as it is levels above them. Where it would still have to
         * wait, one behind it in this order that runs already makes room and goes on later. So nobody waits for ever, and no
         * text changes.
         *
         * @param value −1000 to 1000; 0 is usual
         * @return this
         */
        public Builder priority(int value) {
            require(value >= -1000 && value <= 1000, "priority", value, "-1000 to 1000");
            priority = value;
            return this;
        }

        /**
         * How long the generation may take from its submission to its end, waiting included. When the time is over it ends
         * within one step: those who wait for it get a {@link GenerationTimeoutException}, and what it had generated can be
         * read part by part.
         *
         * @param value more than zero
         * @return this
         */
        public Builder timeout(Duration value) {
            require(value.isPositive(), "timeout", value, "more than zero");
            timeout = Optional.of(value);
            return this;
        }

        /**
         * Checks what depends on several options.
         *
         * @return the options
         * @throws ConfigurationException when acceptance is typical and the temperature 0
         */
        public GenerationOptions build() {
            if (acceptance instanceof Acceptance.Typical) {
                require(temperature > 0f, "temperature", temperature, "more than 0 with typical acceptance");
            }
            return new GenerationOptions(this);
        }

        private static void require(boolean holds, String option, Object given, String expected) {
            if (!holds) {
                throw new ConfigurationException(option + " is " + given + ", expected " + expected);
            }
        }
    }
}
