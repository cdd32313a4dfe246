// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.time.Clock;
import java.time.ZoneId;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** How a conversation becomes a prompt, and how its answer is generated. Immutable; built with {@link #builder()}. */
public final class ChatOptions {
    private static final Set<String> RESERVED = Set.of("messages", "tools", "add_generation_prompt");
    private static final ChatOptions DEFAULTS = builder().build();

    private final GenerationOptions generation;
    private final Optional<List<Tool>> tools;
    private final Map<String, @Nullable Object> variables;
    private final Optional<String> template;
    private final boolean generationPrompt;
    private final Clock clock;

    private ChatOptions(Builder builder) {
        generation = builder.generation;
        tools = builder.tools;
        variables = Collections.unmodifiableMap(new LinkedHashMap<>(builder.variables));
        template = builder.template;
        generationPrompt = builder.generationPrompt;
        clock = builder.clock;
    }

    /** {@return no tools, the model's default template, greedy decoding} */
    public static ChatOptions defaults() {
        return DEFAULTS;
    }

    /**
     * {@return the defaults with other options of generation}
     *
     * @param generation how the answer is generated
     */
    public static ChatOptions of(GenerationOptions generation) {
        return builder().generation(generation).build();
    }

    /** {@return a builder that holds the defaults} */
    public static Builder builder() {
        return new Builder();
    }

    /** {@return how the answer is generated} */
    public GenerationOptions generation() {
        return generation;
    }

    /** {@return the tools that the model may call; empty: none were given} */
    public Optional<List<Tool>> tools() {
        return tools;
    }

    /** {@return the name of the template; empty: the model's choice} */
    public Optional<String> template() {
        return template;
    }

    /** {@return whether the prompt ends with the beginning of the model's turn} */
    public boolean generationPrompt() {
        return generationPrompt;
    }

    /** {@return what the template reads the date from} */
    public Clock clock() {
        return clock;
    }

    /** {@return further variables of the template} */
    Map<String, @Nullable Object> variables() {
        return variables;
    }

    /** Collects options. Not thread-safe. */
    public static final class Builder {
        private GenerationOptions generation = GenerationOptions.defaults();
        private Optional<List<Tool>> tools = Optional.empty();
        private final Map<String, @Nullable Object> variables = new LinkedHashMap<>();
        private Optional<String> template = Optional.empty();
        private boolean generationPrompt = true;
        private Clock clock = Clock.system(ZoneId.systemDefault());

        private Builder() {}

        /**
         * How the answer is generated.
         *
         * @param value the options
         * @return this
         */
        public Builder generation(GenerationOptions value) {
            generation = Objects.requireNonNull(value, "generation");
            return this;
        }

        /**
         * Tools that the model may call; its template describes them to it. Calls come as text, in the model's own form.
         *
         * @param values the tools, in order
         * @return this
         */
        public Builder tools(List<Tool> values) {
            tools = Optional.of(List.copyOf(values));
            return this;
        }

        /**
         * A variable that the model's template knows, such as {@code enable_thinking} or {@code documents}.
         *
         * @param name the variable
         * @param value what JSON can hold: Boolean, Number, String, List or Map
         * @return this
         * @throws ConfigurationException when the value is something else, or the name is one that is always set
         */
        public Builder variable(String name, Object value) {
            if (RESERVED.contains(name)) {
                throw new ConfigurationException(
                        "the variable " + name + " is set by the conversation, expected another name");
            }
            variables.put(name, Json.copyOf("the variable " + name, Objects.requireNonNull(value, "value")));
            return this;
        }

        /**
         * Takes one of a model's named templates.
         *
         * @param name its name
         * @return this
         */
        public Builder template(String name) {
            template = Optional.of(name);
            return this;
        }

        /**
         * Whether the prompt ends with the beginning of the model's turn, as it must for the model to answer.
         *
         * @param value whether to; true unless set
         * @return this
         */
        public Builder generationPrompt(boolean value) {
            generationPrompt = value;
            return this;
        }

        /**
         * What the template reads the date from, when it does.
         *
         * @param value the clock; the system's in its own zone unless set
         * @return this
         */
        public Builder clock(Clock value) {
            clock = Objects.requireNonNull(value, "clock");
            return this;
        }

        /** {@return the options} */
        public ChatOptions build() {
            return new ChatOptions(this);
        }
    }
}
