// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/** What one generation may do. Immutable; built with {@link #builder()}. */
public final class GenerationOptions {
    private static final GenerationOptions DEFAULTS = builder().build();

    private final int maxTokens;
    private final float temperature;
    private final int topK;
    private final float topP;
    private final float minP;
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

        /** {@return the options} */
        public GenerationOptions build() {
            return new GenerationOptions(this);
        }

        private static void require(boolean holds, String option, Object given, String expected) {
            if (!holds) {
                throw new ConfigurationException(option + " is " + given + ", expected " + expected);
            }
        }
    }
}
