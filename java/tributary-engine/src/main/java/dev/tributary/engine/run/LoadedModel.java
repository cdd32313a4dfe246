// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConfigurationException;
import dev.tributary.GenerationOptions;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.LoadOptions;
import dev.tributary.ModelInfo;
import dev.tributary.TributaryException;
import dev.tributary.engine.cache.CacheMemory;
import dev.tributary.engine.cache.PagePool;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceMemory;
import dev.tributary.engine.device.DeviceSelection;
import dev.tributary.engine.device.KernelFailure;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.MeasuringDevice;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.ModelWeights;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.engine.model.WeightFiles;
import dev.tributary.engine.step.Decoder;
import dev.tributary.engine.step.DecoderWeights;
import dev.tributary.engine.step.StepCapacity;
import dev.tributary.engine.text.Tokenizer;
import dev.tributary.kernels.DType;
import dev.tributary.kernels.KernelException;
import dev.tributary.kernels.KvCache;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/** A model on a device, ready to be stepped. Created, used and closed on the device thread. */
public final class LoadedModel implements AutoCloseable {
    /** Prompt tokens that one step reads at most, over all sequences. */
    static final int PREFILL_ROWS = 256;

    private static final int MOST_TREE_ROWS = 512;
    private static final int CANDIDATES = 16;
    private static final int DEFAULT_CONTEXT = 4096;

    private final Device device;
    private final Arena arena;
    private final ModelConfig config;
    private final Optional<StreamsConfig> streams;
    private final List<String> adapterNames;
    private final Tokenizer tokenizer;
    private final boolean ownsTokenizer;
    private final Decoder decoder;
    private final StepCapacity capacity;
    private final PagePool pages;
    private final int contextTokens;
    private final SchedulingLimits limits;
    private final ModelInfo info;

    private LoadedModel(
            Device device,
            Arena arena,
            ModelConfig config,
            Optional<StreamsConfig> streams,
            List<String> adapterNames,
            Tokenizer tokenizer,
            boolean ownsTokenizer,
            Decoder decoder,
            StepCapacity capacity,
            PagePool pages,
            int contextTokens,
            SchedulingLimits limits,
            ModelInfo info) {
        this.device = device;
        this.arena = arena;
        this.config = config;
        this.streams = streams;
        this.adapterNames = adapterNames;
        this.tokenizer = tokenizer;
        this.ownsTokenizer = ownsTokenizer;
        this.decoder = decoder;
        this.capacity = capacity;
        this.pages = pages;
        this.contextTokens = contextTokens;
        this.limits = limits;
        this.info = info;
    }

    /**
     * Reads, checks and uploads a model. Everything that was opened is closed again when a step fails.
     *
     * @param directory the model
     * @param options how to load it
     * @return the model
     */
    public static LoadedModel load(Path directory, LoadOptions options) {
        return load(directory, options, DeviceSelection.ofThisProcess());
    }

    static LoadedModel load(Path directory, LoadOptions options, DeviceSelection devices) {
        ModelConfig config = ModelConfig.read(directory);
        Tokenizer tokenizer = Tokenizer.open(directory, config.vocabularySize());
        tokenizer.chat().problems().forEach(problem -> options.listener().notice("no chat: " + problem));
        try (WeightFiles files = WeightFiles.open(directory)) {
            ModelWeights weights = ModelWeights.of(config, files);
            if (weights.roundedFromFp32()) {
                options.listener().notice("the weights are fp32 and are rounded to bf16");
            }
            try (Adapters adapters = Adapters.open(directory, config, weights, options)) {
                return onDevice(devices, config, tokenizer, weights, adapters, options);
            }
        } catch (Throwable e) {
            tokenizer.close();
            throw e;
        }
    }

    private static LoadedModel onDevice(
            DeviceSelection devices,
            ModelConfig config,
            Tokenizer tokenizer,
            ModelWeights weights,
            Adapters adapters,
            LoadOptions options) {
        DeviceSelection.Choice choice = devices.open(options);
        String device = choice.device().description();
        try {
            return onDevice(choice, config, tokenizer, weights, adapters, options);
        } catch (InsufficientMemoryException e) {
            DeviceSelection.Choice host = devices.insteadOf(options, choice, device + ": " + e.getMessage())
                    .orElseThrow(() -> e);
            options.listener()
                    .notice("the host computes, since the GPU is too small: "
                            + host.note().orElse(""));
            return onDevice(host, config, tokenizer, weights, adapters, options);
        }
    }

    @SuppressWarnings("MustBeClosedChecker") // the result closes the arena
    private static LoadedModel onDevice(
            DeviceSelection.Choice choice,
            ModelConfig config,
            Tokenizer tokenizer,
            ModelWeights weights,
            Adapters adapters,
            LoadOptions options) {
        Arena arena = Arena.ofConfined();
        try {
            return upload(choice, arena, config, tokenizer, weights, adapters, options);
        } catch (KernelException e) {
            TributaryException failure = KernelFailure.of(e);
            closeAfter(failure, choice.device(), arena);
            throw failure;
        } catch (Throwable e) {
            closeAfter(e, choice.device(), arena);
            throw e;
        }
    }

    /** Frees what it can: a device that failed may refuse that too, which is not what went wrong. */
    private static void closeAfter(Throwable failure, Device device, Arena arena) {
        try {
            closeAll(device, arena);
        } catch (RuntimeException e) {
            failure.addSuppressed(e);
        }
    }

    private static void closeAll(Device device, Arena arena) {
        try {
            device.close();
        } finally {
            arena.close();
        }
    }

    private static LoadedModel upload(
            DeviceSelection.Choice choice,
            Arena arena,
            ModelConfig config,
            Tokenizer tokenizer,
            ModelWeights weights,
            Adapters adapters,
            LoadOptions options) {
        Device device = choice.device();
        int context = contextTokens(config, options);
        int gamma = adapters.config().map(StreamsConfig::gamma).orElse(0);
        int treeRows = Math.min(options.maxSequences() * Limits.MAX_TREE, MOST_TREE_ROWS);
        // Every node may carry streams, and so may the last row of every prompt.
        int streamRows = gamma * (treeRows + options.maxSequences());
        StepCapacity capacity = new StepCapacity(
                options.maxSequences(),
                PREFILL_ROWS + treeRows,
                streamRows,
                gamma,
                Limits.pages(context + Limits.MAX_TREE) + 1,
                gamma == 0 ? 0 : Math.min(CANDIDATES, config.vocabularySize()),
                adapters.all().size());

        DType dtype = switch (weights.dtype()) {
            case F16 -> DType.F16;
            default -> DType.BF16;
        };
        long limit = options.memoryLimit() > 0 ? options.memoryLimit() : device.availableBytes();
        // All is known, and refused where it does not fit, before anything is uploaded.
        DecoderWeights imagined = DecoderWeights.imagined(device, config, weights, adapters.all());
        KvCache onePage = new KvCache(
                MeasuringDevice.NO_ADDRESS, dtype, config.layers(), 1, config.keyValueHeads(), config.headDimension());
        long workspaceBytes = Decoder.requiredBytes(device, config, imagined, capacity, onePage, context);
        int most = mostPages(options, capacity);
        budget(limit, imagined.bytes(), workspaceBytes, onePage.byteSize(), capacity, most);
        DecoderWeights uploaded = DecoderWeights.load(device, config, weights, adapters.all(), options.listener());
        // A device that hands its memory out in blocks has less left than what was asked of it tells.
        long left = Math.min(limit, Math.addExact(uploaded.bytes(), device.availableBytes()));
        int cachePages = budget(left, uploaded.bytes(), workspaceBytes, onePage.byteSize(), capacity, most);
        KvCache shape =
                new KvCache(0, dtype, config.layers(), cachePages, config.keyValueHeads(), config.headDimension());
        DeviceMemory cacheMemory = device.allocate(shape.byteSize());
        KvCache cache = new KvCache(
                cacheMemory.address(),
                dtype,
                config.layers(),
                cachePages,
                config.keyValueHeads(),
                config.headDimension());
        Decoder decoder = new Decoder(device, arena, config, uploaded, capacity, cache, context);
        ModelInfo info = new ModelInfo(
                config.family().toString(),
                dtype == DType.F16 ? "fp16" : "bf16",
                config.layers(),
                config.hiddenSize(),
                config.attentionHeads(),
                config.keyValueHeads(),
                config.headDimension(),
                config.vocabularySize(),
                weights.parameters(),
                context,
                device.description(),
                choice.note(),
                uploaded.bytes(),
                cacheMemory.bytes(),
                workspaceBytes,
                adapters.own(),
                adapters.named());
        return new LoadedModel(
                device,
                arena,
                config,
                adapters.config(),
                adapters.names(),
                tokenizer,
                true,
                decoder,
                capacity,
                new PagePool(
                        new CacheMemory(cacheMemory, config.layers(), cachePages, shape.pageBytes()),
                        options.prefixSharing()),
                context,
                new SchedulingLimits(options.queueCapacity(), options.swapMemory()),
                info);
    }

    private static int contextTokens(ModelConfig config, LoadOptions options) {
        if (options.contextTokens() > config.maxPositions()) {
            throw new ConfigurationException("contextTokens is " + options.contextTokens()
                    + ", expected at most the model's " + config.maxPositions() + " positions");
        }
        return options.contextTokens() > 0 ? options.contextTokens() : Math.min(config.maxPositions(), DEFAULT_CONTEXT);
    }

    /** Pages that the cache has use for, and may have: those of all sequences at full length, and always those of one. */
    private static int mostPages(LoadOptions options, StepCapacity capacity) {
        int all = Math.multiplyExact(capacity.sequences(), capacity.pages());
        return options.cacheTokens() == 0
                ? all
                : Math.clamp(Limits.pages(options.cacheTokens()), capacity.pages(), all);
    }

    /** Pages of the cache: the most if the memory allows, at least those of one sequence, else a refusal. */
    private static int budget(long limit, long weights, long rows, long pageBytes, StepCapacity capacity, int most) {
        long affordable = (limit - weights - rows) / pageBytes;
        if (affordable < capacity.pages()) {
            throw new InsufficientMemoryException("the model needs " + megabytes(weights) + " for weights, "
                    + megabytes(rows) + " for rows and workspace, and " + megabytes(capacity.pages() * pageBytes)
                    + " for the KV cache of one sequence, together more than the "
                    + megabytes(limit) + " it may take; a smaller contextTokens or maxSequences needs less");
        }
        return (int) Math.min(most, affordable);
    }

    private static String megabytes(long bytes) {
        return String.format(java.util.Locale.ROOT, "%.1f MB", bytes / 1e6);
    }

    /** {@return what is loaded} */
    public ModelInfo info() {
        return info;
    }

    /** {@return the tokenizer; any thread may use it} */
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** {@return tokens that one sequence may hold} */
    public int contextTokens() {
        return contextTokens;
    }

    /** {@return tokens that end a text} */
    public Set<Integer> endTokens() {
        return config.endTokens();
    }

    ModelConfig config() {
        return config;
    }

    Optional<StreamsConfig> streams() {
        return streams;
    }

    /**
     * The adapter that drafts for a request.
     *
     * @param options the request's
     * @return its index; empty where the model has no streams of its own and the request names none
     * @throws ConfigurationException when it names one that is not loaded
     */
    OptionalInt adapterOf(GenerationOptions options) {
        String name = options.streams().orElse(Adapters.OWN);
        int index = adapterNames.indexOf(name);
        if (index < 0 && options.streams().isPresent()) {
            throw new ConfigurationException("streams is \"" + name + "\", expected "
                    + (info.namedStreams().isEmpty()
                            ? "none: no adapter was loaded by name (LoadOptions.streams)"
                            : "one of " + String.join(", ", info.namedStreams().keySet())));
        }
        return index < 0 ? OptionalInt.empty() : OptionalInt.of(index);
    }

    int gamma() {
        return capacity.gamma();
    }

    Decoder decoder() {
        return decoder;
    }

    Device device() {
        return device;
    }

    StepCapacity capacity() {
        return capacity;
    }

    int treeRows() {
        return capacity.mainRows() - PREFILL_ROWS;
    }

    SchedulingLimits limits() {
        return limits;
    }

    /** {@return the pages of the KV cache} */
    public PagePool pages() {
        return pages;
    }

    /** Arithmetic of a stream row over that of a main row: its layers and the head. */
    double streamRowFraction() {
        if (streams.isEmpty()) {
            return 0;
        }
        double head = (double) config.vocabularySize() * config.hiddenSize();
        double layer = (double) config.hiddenSize()
                        * config.headDimension()
                        * (2 * config.attentionHeads() + 2 * config.keyValueHeads())
                + 3.0 * config.hiddenSize() * config.intermediateSize();
        return (streams.get().streamLayers() * layer + head) / (config.layers() * layer + head);
    }

    /** This model on another device, where nothing is computed; whoever closes it closes nothing of this one. */
    @SuppressWarnings("MustBeClosedChecker") // the result closes the arena
    LoadedModel on(Device nothing) {
        Arena scratch = Arena.ofConfined();
        try {
            KvCache imagined = new KvCache(
                    MeasuringDevice.NO_ADDRESS,
                    decoder.weights().dtype(),
                    config.layers(),
                    1,
                    config.keyValueHeads(),
                    config.headDimension());
            Decoder rehearsing =
                    new Decoder(nothing, scratch, config, decoder.weights(), capacity, imagined, contextTokens);
            CacheMemory imaginedMemory =
                    new CacheMemory(nothing.allocate(1), config.layers(), capacity.pages(), imagined.pageBytes());
            return new LoadedModel(
                    nothing,
                    scratch,
                    config,
                    streams,
                    adapterNames,
                    tokenizer,
                    false,
                    rehearsing,
                    capacity,
                    new PagePool(imaginedMemory, pages.sharing()),
                    contextTokens,
                    limits,
                    info);
        } catch (Throwable e) {
            closeAfter(e, nothing, scratch);
            throw e;
        }
    }

    /** Layers that hold streams over all layers. */
    double streamLayerFraction() {
        return streams.map(s -> (double) s.streamLayers() / config.layers()).orElse(0.0);
    }

    @Override
    public void close() {
        try {
            if (ownsTokenizer) {
                tokenizer.close();
            }
        } finally {
            closeAll(device, arena);
        }
    }
}
