// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;

/** How a model is loaded. Immutable; built with {@link #builder()}. */
public final class LoadOptions {
    private static final LoadOptions DEFAULTS = builder().build();

    private final String device;
    private final int threads;
    private final int contextTokens;
    private final int maxSequences;
    private final long memoryLimit;
    private final int cacheTokens;
    private final Optional<Path> streams;
    private final boolean streamsDisabled;
    private final Map<String, Path> namedStreams;
    private final boolean prefixSharing;
    private final int queueCapacity;
    private final long swapMemory;
    private final LoadListener listener;

    private LoadOptions(Builder builder) {
        device = builder.device;
        threads = builder.threads;
        contextTokens = builder.contextTokens;
        maxSequences = builder.maxSequences;
        memoryLimit = builder.memoryLimit;
        cacheTokens = builder.cacheTokens;
        streams = builder.streams;
        streamsDisabled = builder.streamsDisabled;
        namedStreams = Collections.unmodifiableMap(new LinkedHashMap<>(builder.namedStreams));
        prefixSharing = builder.prefixSharing;
        queueCapacity = builder.queueCapacity;
        swapMemory = builder.swapMemory;
        listener = builder.listener;
    }

    /** {@return the best device found, the model's own streams, its own context up to 4096 tokens, 8 sequences} */
    public static LoadOptions defaults() {
        return DEFAULTS;
    }

    /** {@return a builder that holds the defaults} */
    public static Builder builder() {
        return new Builder();
    }

    /** {@return {@code auto}, {@code host}, {@code cuda} or {@code cuda:N}} */
    public String device() {
        return device;
    }

    /** {@return threads of the host backend; 0 = one per core} */
    public int threads() {
        return threads;
    }

    /** {@return tokens that one sequence may hold; 0 = the model's own limit, at most 4096} */
    public int contextTokens() {
        return contextTokens;
    }

    /** {@return sequences that one step may hold} */
    public int maxSequences() {
        return maxSequences;
    }

    /** {@return bytes that weights, cache and workspace may take together; 0 = what the device has free} */
    public long memoryLimit() {
        return memoryLimit;
    }

    /** {@return tokens that the KV cache holds at most; 0 = as many as the memory allows} */
    public int cacheTokens() {
        return cacheTokens;
    }

    /** {@return the adapter directory, when one was named} */
    public Optional<Path> streams() {
        return streams;
    }

    /** {@return whether the model's own adapter is left out} */
    public boolean streamsDisabled() {
        return streamsDisabled;
    }

    /** {@return further adapters that requests may name, in the order in which they were given} */
    public Map<String, Path> namedStreams() {
        return namedStreams;
    }

    /** {@return whether texts that begin alike share what was computed of it} */
    public boolean prefixSharing() {
        return prefixSharing;
    }

    /** {@return requests that may wait; more are refused} */
    public int queueCapacity() {
        return queueCapacity;
    }

    /** {@return bytes of host memory for generations that had to make room for others} */
    public long swapMemory() {
        return swapMemory;
    }

    /** {@return who hears of progress} */
    public LoadListener listener() {
        return listener;
    }

    /** Collects options; each setter checks its range. Not thread-safe. */
    public static final class Builder {
        private static final Pattern NAME = Pattern.compile("[A-Za-z0-9._-]{1,64}");
        private static final int MOST_ADAPTERS = 64;
        private static final Pattern DEVICE = Pattern.compile("auto|host|cuda(:(0|[1-9][0-9]{0,3}))?");

        private String device = "auto";
        private int threads;
        private int contextTokens;
        private int maxSequences = 8;
        private long memoryLimit;
        private int cacheTokens;
        private Optional<Path> streams = Optional.empty();
        private boolean streamsDisabled;
        private final Map<String, Path> namedStreams = new LinkedHashMap<>();
        private boolean prefixSharing = true;
        private int queueCapacity = 4096;
        private long swapMemory = 1L << 30;
        private LoadListener listener = LoadListener.SILENT;

        private Builder() {}

        /**
         * Where to compute.
         *
         * @param value {@code auto} (a GPU where one can be used and holds the model, else the host), {@code host}, {@code cuda} (the
         *     first GPU) or {@code cuda:N} (GPU number N, from 0)
         * @return this
         */
        public Builder device(String value) {
            require(DEVICE.matcher(value).matches(), "device", value, "auto, host, cuda or cuda:N");
            device = value;
            return this;
        }

        /**
         * Threads of the host backend. Only the host has threads: with {@code auto} the host computes when they are given,
         * and a GPU that is named refuses them.
         *
         * @param value 1 to 256; 0 = one per core
         * @return this
         */
        public Builder threads(int value) {
            require(value >= 0 && value <= 256, "threads", value, "0 to 256 (0 = one per core)");
            threads = value;
            return this;
        }

        /**
         * Tokens that one sequence may hold, prompt included; memory for the KV cache follows from it.
         *
         * @param value at least 16; 0 = the model's own limit, at most 4096
         * @return this
         */
        public Builder contextTokens(int value) {
            require(value == 0 || value >= 16, "contextTokens", value, "at least 16 (0 = the model's own)");
            contextTokens = value;
            return this;
        }

        /**
         * Sequences that one step may hold; further requests wait.
         *
         * @param value 1 to 256
         * @return this
         */
        public Builder maxSequences(int value) {
            require(value >= 1 && value <= 256, "maxSequences", value, "1 to 256");
            maxSequences = value;
            return this;
        }

        /**
         * Bytes that weights, cache and workspace may take together; a model that needs more is refused with figures.
         *
         * @param value bytes; 0 = what the device has free
         * @return this
         */
        public Builder memoryLimit(long value) {
            require(value >= 0, "memoryLimit", value, "at least 0 bytes");
            memoryLimit = value;
            return this;
        }

        /**
         * Tokens that the KV cache holds at most, of all sequences together, rounded up to whole pages: for a device that others
         * use too. One sequence at full length always has room, and all of them at full length need no more.
         *
         * @param value at least 0; 0 = as many as the memory allows
         * @return this
         */
        public Builder cacheTokens(int value) {
            require(value >= 0, "cacheTokens", value, "at least 0 (0 = as many as the memory allows)");
            cacheTokens = value;
            return this;
        }

        /**
         * Uses this adapter instead of the model's own {@code streams/}.
         *
         * @param value an adapter directory
         * @return this
         */
        public Builder streams(Path value) {
            streams = Optional.of(Objects.requireNonNull(value, "streams"));
            streamsDisabled = false;
            return this;
        }

        /**
         * Loads a further adapter, for requests that name it ({@link GenerationOptions.Builder#streams}): one base, many
         * adapters, mixed in one batch. All adapters of a model have the same γ, stream layers, position rule and type.
         *
         * @param name what requests call it: 1 to 64 letters, digits, {@code . _ -}
         * @param directory an adapter directory
         * @return this
         */
        public Builder streams(String name, Path directory) {
            require(
                    NAME.matcher(name).matches(),
                    "streams",
                    '"' + name + '"',
                    "a name of 1 to 64 letters, digits, . _ -");
            namedStreams.put(name, Objects.requireNonNull(directory, "directory"));
            require(
                    namedStreams.size() <= MOST_ADAPTERS,
                    "streams",
                    namedStreams.size() + " adapters",
                    "at most " + MOST_ADAPTERS);
            return this;
        }

        /**
         * Loads no adapter of its own: a generation that names none of {@link #streams(String, Path)} is plain decoding.
         *
         * @return this
         */
        public Builder withoutStreams() {
            streams = Optional.empty();
            streamsDisabled = true;
            return this;
        }

        /**
         * Whether generations whose prompts or texts begin alike share what was computed of the common part. It changes no
         * text, and what is kept beyond its generation gives way as soon as memory is wanted. How long a prompt takes then
         * tells whether another began like it: turn it off where that must not be known.
         *
         * @param value whether; true is the default
         * @return this
         */
        public Builder prefixSharing(boolean value) {
            prefixSharing = value;
            return this;
        }

        /**
         * Requests that may wait. One more is refused with a {@link QueueFullException}, so that who cannot be served in time
         * hears of it at once.
         *
         * @param value 1 to 1,000,000; 4096 is the default
         * @return this
         */
        public Builder queueCapacity(int value) {
            require(value >= 1 && value <= 1_000_000, "queueCapacity", value, "1 to 1000000");
            queueCapacity = value;
            return this;
        }

        /**
         * Host memory for what generations have computed that had to make room for others. It is taken when it is needed. A
         * generation for which none is left is computed anew when its turn comes; its text is the same.
         *
         * @param value bytes; 0 = always compute anew; 1 GiB is the default
         * @return this
         */
        public Builder swapMemory(long value) {
            require(value >= 0, "swapMemory", value, "at least 0 bytes");
            swapMemory = value;
            return this;
        }

        /**
         * Who hears of progress.
         *
         * @param value the listener
         * @return this
         */
        public Builder listener(LoadListener value) {
            listener = Objects.requireNonNull(value, "listener");
            return this;
        }

        /**
         * Ends the collection.
         *
         * @return the options
         * @throws ConfigurationException when options contradict each other
         */
        public LoadOptions build() {
            require(
                    threads == 0 || !device.startsWith("cuda"),
                    "threads",
                    threads,
                    "0 where the device is " + device + ": only the host has threads");
            return new LoadOptions(this);
        }

        private static void require(boolean holds, String option, Object given, String expected) {
            if (!holds) {
                throw new ConfigurationException(option + " is " + given + ", expected " + expected);
            }
        }
    }
}
