// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.InsufficientMemoryException;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceMemory;
import dev.tributary.engine.device.DeviceWork;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.MeasuringDevice;
import dev.tributary.engine.model.ModelConfig;
import dev.tributary.engine.model.RopeTable;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.kernels.CommitPathParams;
import dev.tributary.kernels.DType;
import dev.tributary.kernels.EmbedParams;
import dev.tributary.kernels.Epilogue;
import dev.tributary.kernels.GatherRowsParams;
import dev.tributary.kernels.InsertStreamsParams;
import dev.tributary.kernels.KernelContext;
import dev.tributary.kernels.KvCache;
import dev.tributary.kernels.LinearParams;
import dev.tributary.kernels.LmHeadParams;
import dev.tributary.kernels.MultiStreamAttentionParams;
import dev.tributary.kernels.RmsNormParams;
import dev.tributary.kernels.RopeAppendParams;
import dev.tributary.kernels.Rows;
import dev.tributary.kernels.Tensor;
import dev.tributary.kernels.VerifyTreeParams;
import dev.tributary.kernels.WorkspaceParams;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A decoder as launches of kernels, prepared once for one capacity: a <em>verifying pass</em> over the main rows
 * of a plan and the streams on them, and a <em>drafting pass</em> over deferred streams alone.
 *
 * <p>Layers below N − N_s run main rows. Before layer N − N_s the main states are kept and the streams inserted; the top
 * N_s layers run both. Everything that differs from pass to pass is data of the plan.
 */
public final class Decoder {
    /** Shapes that are kept: more than a server meets in one period of its day. A graph takes about a megabyte. */
    private static final int MOST_WORKS = 96;

    private final Device device;
    private final KernelContext kernels;
    private final Arena arena;
    private final ModelConfig config;
    private final DecoderWeights weights;
    private final StepCapacity capacity;
    private final KvCache cache;
    private final StepPlan plan;
    private final StepPlan draftPlan;
    private final StepResults results;
    private final List<WorkspaceParams> workspaceUsers = new ArrayList<>();

    private final Tensor x;
    private final Tensor normed;
    private final Tensor qkv;
    private final Tensor queries;
    private final Tensor attended;
    private final Tensor gated;
    private final Tensor kept;
    private final Tensor streamK;
    private final Tensor streamV;
    private final Tensor cosSin;
    private final DeviceMemory workspace;

    private final EmbedParams embed;
    private final List<LayerLaunches> mainLayers = new ArrayList<>();
    private final List<LayerLaunches> plainLayers = new ArrayList<>();
    private final List<LayerLaunches> jointLayers = new ArrayList<>();
    private final List<LayerLaunches> draftLayers = new ArrayList<>();
    private final GatherRowsParams keep;
    private final @Nullable InsertStreamsParams insert;
    private final @Nullable InsertStreamsParams insertDeferred;
    private final RmsNormParams mainNorm;
    private final RmsNormParams jointNorm;
    private final @Nullable RmsNormParams draftNorm;
    private final LmHeadParams mainHead;
    private final @Nullable LmHeadParams jointHead;
    private final @Nullable LmHeadParams streamHead;
    private final @Nullable LmHeadParams draftHead;
    private final VerifyTreeParams verifyGreedy;
    private final CommitPathParams commit;
    private final int contextTokens;
    // Their logits and workspace are taken when somebody needs them: greedy decoding never does.
    private final LmHeadParams fullHead;
    private final VerifyTreeParams verifyFull;
    private final VerifyTreeParams verifyAdjusted;
    private @Nullable FullLogits fullLogits;
    private @Nullable DeviceMemory adjustedWorkspace;
    private @Nullable SamplingTables samplingTables;
    /** What was run lately, by shape; the shape that was not run for the longest time comes first. */
    private final Map<PassShape, DeviceWork> works = new LinkedHashMap<>(16, 0.75f, true);

    private boolean prepared;
    private long walked;
    private long forwardNanos;
    private long verifyNanos;

    /**
     * Prepares all launches and allocates row buffers and workspace.
     *
     * @param device where to compute
     * @param arena where native descriptions live; must outlive the decoder
     * @param config the architecture
     * @param weights on the device
     * @param capacity of a step
     * @param cache the KV cache
     * @param contextTokens tokens that one sequence may hold
     */
    public Decoder(
            Device device,
            Arena arena,
            ModelConfig config,
            DecoderWeights weights,
            StepCapacity capacity,
            KvCache cache,
            int contextTokens) {
        this.device = device;
        this.kernels = device.kernels();
        this.arena = arena;
        this.config = config;
        this.weights = weights;
        this.capacity = capacity;
        this.cache = cache;
        this.contextTokens = contextTokens;
        Optional<DecoderWeights.Streams> streams = weights.streams();
        StreamsConfig.Position position =
                streams.map(s -> s.config().position()).orElse(StreamsConfig.Position.OFFSET);
        OptionalInt window =
                config.slidingWindow().map(w -> OptionalInt.of(w.tokens())).orElseGet(OptionalInt::empty);
        plan = new StepPlan(device, arena, capacity, position, window);
        draftPlan = new StepPlan(device, arena, capacity, position, window);
        results = new StepResults(device, capacity);

        Allocation allocation = new Allocation();
        int rows = capacity.rows();
        x = allocation.floats(rows, config.hiddenSize());
        normed = allocation.operands(rows, config.hiddenSize());
        qkv = allocation.floats(rows, (config.attentionHeads() + 2L * config.keyValueHeads()) * config.headDimension());
        queries = allocation.rows(cache.dtype(), rows, (long) config.attentionHeads() * config.headDimension());
        attended = allocation.operands(rows, (long) config.attentionHeads() * config.headDimension());
        gated = allocation.operands(rows, config.intermediateSize());
        kept = allocation.floats(capacity.mainRows(), config.hiddenSize());
        streamK = allocation.streamScratch();
        streamV = allocation.streamScratch();
        // The last token's streams stand up to γ positions behind it.
        cosSin = allocation.ropeTable(
                RopeTable.of(config.rope(), config.rotaryDimension(), contextTokens), contextTokens + Limits.MAX_GAMMA);

        int firstStreamLayer =
                config.layers() - streams.map(s -> s.config().streamLayers()).orElse(0);
        embed = new EmbedParams(arena)
                .step(plan.step())
                .tokens(plan.tokens())
                .table(weights.embedding())
                .y(x);
        for (int layer = 0; layer < config.layers(); layer++) {
            if (layer < firstStreamLayer) {
                mainLayers.add(launches(layer, plan, Rows.MAIN));
            } else {
                // A pass without streams is spared what only streams need.
                plainLayers.add(launches(layer, plan, Rows.MAIN));
                jointLayers.add(launches(layer, plan, Rows.ALL));
                draftLayers.add(launches(layer, draftPlan, Rows.STREAM));
            }
        }
        keep = new GatherRowsParams(arena)
                .index(plan.identity(), capacity.mainRows())
                .count(plan.mainRowCount())
                .x(x)
                .y(kept);
        mainNorm = norm(plan, Rows.MAIN, weights.finalNorm());
        jointNorm = norm(plan, Rows.ALL, weights.finalNorm());
        mainHead = head(plan, plan.jointLogitRows(), plan.mainLogitCount(), capacity.mainRows(), 0);
        if (streams.isPresent()) {
            Tensor embeddings = streams.get().embeddings();
            insert = insertion(plan, x, embeddings);
            insertDeferred = insertion(draftPlan, kept, embeddings);
            draftNorm = norm(draftPlan, Rows.STREAM, weights.finalNorm());
            int k = capacity.candidates();
            int q = capacity.streamRows();
            jointHead = head(plan, plan.jointLogitRows(), plan.jointLogitCount(), rows, k);
            streamHead = head(plan, plan.streamLogitRows(), plan.streamLogitCount(), q, k);
            draftHead = head(draftPlan, draftPlan.streamLogitRows(), draftPlan.streamLogitCount(), q, k);
        } else {
            insert = null;
            insertDeferred = null;
            draftNorm = null;
            jointHead = null;
            streamHead = null;
            draftHead = null;
        }
        verifyGreedy = verification(Tensor.NONE);
        commit = using(new CommitPathParams(arena)
                .step(plan.step())
                .cache(cache)
                .accepted(results.acceptedCount(), results.acceptedNode()));

        workspace = device.allocate(Math.max(1, greatestWorkspace(workspaceUsers)));
        for (WorkspaceParams user : workspaceUsers) {
            user.workspace(workspace.address(), workspace.bytes());
        }
        Tensor untaken = fullRows(MeasuringDevice.NO_ADDRESS, capacity.mainRows());
        fullHead = head(plan, plan.jointLogitRows(), plan.mainLogitCount(), capacity.mainRows(), 0)
                .logits(untaken);
        verifyFull = verification(untaken).logProbability(results.logSumExp(), results.logProbability());
        // Nodes are adjusted, and one row of each sequence that ends its prompt.
        verifyAdjusted = verification(untaken)
                .logProbability(results.logSumExp(), results.logProbability())
                .maxAdjustedRows(capacity.mainRows());
    }

    /** {@return the plan of the next verifying pass} */
    public StepPlan plan() {
        return plan;
    }

    /** {@return the plan of the next drafting pass; its sources are rows of the verifying pass before it} */
    public StepPlan draftPlan() {
        return draftPlan;
    }

    /** {@return the results of the last pass} */
    public StepResults results() {
        return results;
    }

    /** {@return the weights} */
    public DecoderWeights weights() {
        return weights;
    }

    /**
     * Bytes that a decoder takes from its device: row buffers, workspace, plans, results, and what the first requests ask
     * for that are sampled, or whose logits are adjusted.
     *
     * @param device the device; nothing is allocated on it
     * @param config the architecture
     * @param weights on the device
     * @param capacity of a step
     * @param cache the KV cache, of which the address does not matter
     * @param contextTokens tokens that one sequence may hold
     * @return bytes
     */
    public static long requiredBytes(
            Device device,
            ModelConfig config,
            DecoderWeights weights,
            StepCapacity capacity,
            KvCache cache,
            int contextTokens) {
        try (MeasuringDevice measuring = new MeasuringDevice(device);
                Arena scratch = Arena.ofConfined()) {
            Decoder decoder = new Decoder(measuring, scratch, config, weights, capacity, cache, contextTokens);
            decoder.takeForAdjusted();
            return measuring.bytes();
        }
    }

    /**
     * Nanoseconds of the last pass.
     *
     * @return those of the layers and the head; where a device is not synchronous, of the whole pass: by its own clock if
     *     it has one, so that what the host took for launching and waiting is not among them
     */
    public long forwardNanos() {
        return forwardNanos;
    }

    /**
     * Nanoseconds of verification and commit in the last pass.
     *
     * @return nanoseconds; 0 where a device is not synchronous, and they are part of {@link #forwardNanos}
     */
    public long verifyNanos() {
        return verifyNanos;
    }

    /** {@return whether the last pass took what passes of its shape take: nothing was prepared in it} */
    public boolean wasPrepared() {
        return prepared;
    }

    /**
     * Runs the plan: all layers, the head, verification, commit. The plan must be finished.
     *
     * @param keepStates whether a drafting pass may follow
     */
    public void verify(boolean keepStates) {
        try {
            // Memory is taken before launches are recorded, and mostly before the requests that need it begin.
            if (plan.adjusts()) {
                takeForAdjusted();
            } else if (plan.needsLogits()) {
                takeForLogits();
            }
            run(plan.verifying(keepStates));
        } catch (InsufficientMemoryException e) {
            throw afterWhatWasBegun(e);
        }
    }

    /** Runs the drafting plan: the stream layers and the head, over deferred streams. The plan must be finished. */
    public void draft() {
        if (draftHead == null) {
            throw new IllegalStateException("a drafting pass needs a streams adapter");
        }
        try {
            run(draftPlan.drafting());
        } catch (InsufficientMemoryException e) {
            throw afterWhatWasBegun(e);
        }
    }

    /** A plan is on its way to the device, and launches that read it may be; it is written anew when they are over. */
    private InsufficientMemoryException afterWhatWasBegun(InsufficientMemoryException failure) {
        results.pull(false);
        return failure;
    }

    private void run(PassShape shape) {
        long begin = System.nanoTime();
        results.arrange(shape.results());
        DeviceWork work = works.get(shape);
        if (work == null) {
            work = device.record(() -> launch(shape));
            works.put(shape, work);
            forgetTheEldest();
        }
        prepared = work.isPrepared();
        walked = begin;
        work.run();
        results.pull(shape.streamRows() > 0);
        long end = System.nanoTime();
        long forward = device.isSynchronous() && !shape.drafts() ? walked : end;
        OptionalLong onDevice = work.deviceNanos();
        forwardNanos = onDevice.orElse(forward - begin);
        verifyNanos = onDevice.isPresent() ? 0 : end - forward;
    }

    private void forgetTheEldest() {
        if (works.size() > MOST_WORKS) {
            Iterator<DeviceWork> eldest = works.values().iterator();
            eldest.next().close();
            eldest.remove();
        }
    }

    /** Launches a pass, and nothing else: no memory is taken, nothing is waited for. */
    private void launch(PassShape shape) {
        if (shape.drafts()) {
            launchDraft(shape);
            return;
        }
        plan.bound(shape);
        kernels.embed(embed);
        run(mainLayers);
        if (shape.keepsStates()) {
            kernels.gatherRows(keep.index(plan.identity(), shape.mainRows()));
        }
        boolean inPassStreams = shape.streamRows() > 0;
        if (insert != null && inPassStreams) {
            kernels.insertStreams(insert);
            run(jointLayers);
            kernels.rmsNorm(jointNorm);
        } else {
            run(plainLayers);
            kernels.rmsNorm(mainNorm);
        }
        VerifyTreeParams verification = verifyGreedy;
        if (shape.logits()) {
            FullLogits full = requireLogits();
            run(fullHead.logits(fullRows(full.memory.address(), shape.mainRows())), shape.mainRows(), 0, 0);
            verification = shape.adjusts() ? verifyAdjusted : verifyFull;
            if (inPassStreams && streamHead != null) {
                run(streamHead, shape.streamRows(), capacity.candidates(), shape.mainRows());
            }
        } else if (inPassStreams && jointHead != null) {
            run(jointHead, shape.results(), capacity.candidates(), 0);
        } else {
            run(mainHead, shape.mainRows(), 0, 0);
        }
        walked = System.nanoTime();
        kernels.verifyTree(verification);
        kernels.commitPath(commit);
    }

    private void launchDraft(PassShape shape) {
        if (insertDeferred == null || draftNorm == null || draftHead == null) {
            throw new IllegalStateException("a drafting pass needs a streams adapter");
        }
        draftPlan.bound(shape);
        kernels.insertStreams(insertDeferred);
        run(draftLayers);
        kernels.rmsNorm(draftNorm);
        run(draftHead, shape.streamRows(), capacity.candidates(), 0);
    }

    private void run(List<LayerLaunches> layers) {
        for (LayerLaunches layer : layers) {
            layer.run(kernels);
        }
    }

    /** Runs the head over at most so many rows, with results where those of this pass stand. */
    private void run(LmHeadParams head, int rows, int k, int firstResult) {
        long row = (long) firstResult * Integer.BYTES;
        place(head, rows, k, row);
        kernels.lmHead(head);
    }

    private void place(LmHeadParams head, int rows, int k, long row) {
        head.maxRows(rows).argmax(results.argmax() + row).logSumExp(results.logSumExp() + row);
        if (k > 0) {
            head.top(results.topIds() + row * k, results.topLogits() + row * k);
        }
    }

    /**
     * Full logits of a main row of the last pass, which must have kept them.
     *
     * @param row a row whose logits were wanted
     * @return [V] floats, valid until the next call
     */
    public MemorySegment logits(int row) {
        FullLogits full = requireLogits();
        full.memory.read(plan.logitIndex(row) * full.host.byteSize(), full.host);
        return full.host;
    }

    private FullLogits requireLogits() {
        if (fullLogits == null) {
            throw new IllegalStateException("no memory was taken for the logits of this pass");
        }
        return fullLogits;
    }

    /**
     * Takes the memory of passes that keep full logits, once: for sampling, and to tell what tokens were worth.
     *
     * @throws InsufficientMemoryException when the device has none; it can be tried again, and nothing of it is held
     */
    public void takeForLogits() {
        if (fullLogits != null) {
            return;
        }
        int rows = capacity.mainRows();
        DeviceMemory memory = device.allocate((long) rows * config.vocabularySize() * Float.BYTES);
        try {
            long needed = greatestWorkspace(List.of(fullHead, verifyFull));
            DeviceMemory space = needed <= workspace.bytes() ? workspace : device.allocate(needed);
            fullHead.workspace(space.address(), space.bytes());
            verifyFull.logits(fullRows(memory.address(), rows)).workspace(space.address(), space.bytes());
            verifyAdjusted.logits(fullRows(memory.address(), rows));
        } catch (InsufficientMemoryException e) {
            memory.close();
            throw e;
        }
        MemorySegment host =
                arena.allocate((long) config.vocabularySize() * Float.BYTES, ValueLayout.JAVA_FLOAT.byteAlignment());
        fullLogits = new FullLogits(memory, host);
    }

    /**
     * Likewise of passes in which logits are adjusted before a choice, or acceptance is typical.
     *
     * @throws InsufficientMemoryException when the device has none; what was taken is kept and is not taken again
     */
    public void takeForAdjusted() {
        takeForLogits();
        if (samplingTables == null) {
            samplingTables = new SamplingTables(device, capacity, config.vocabularySize(), contextTokens);
        }
        if (adjustedWorkspace == null) {
            DeviceMemory space = device.allocate(Math.max(1, greatestWorkspace(List.of(verifyAdjusted))));
            verifyAdjusted.workspace(space.address(), space.bytes());
            adjustedWorkspace = space;
        }
    }

    /** {@return what adjusts logits in the next verifying pass} */
    public SamplingTables samplingTables() {
        takeForAdjusted();
        return Objects.requireNonNull(samplingTables);
    }

    /** The most that any of the launches needs at any bounds: a small pass may split its work where a large does not. */
    private long greatestWorkspace(List<WorkspaceParams> users) {
        long needed = 0;
        for (int anchors = 1; ; anchors *= 2) {
            int streamRows = PassShape.streamBound(capacity, anchors * capacity.gamma());
            for (int rows = 1; ; rows *= 2) {
                PassShape shape =
                        PassShape.verifying(capacity, rows, streamRows, Integer.MAX_VALUE / 2, false, false, false);
                plan.bound(shape);
                draftPlan.bound(shape);
                for (WorkspaceParams user : users) {
                    needed = Math.max(needed, kernels.workspaceSize(user));
                }
                if (rows >= capacity.mainRows()) {
                    break;
                }
            }
            if (streamRows >= capacity.streamRows()) {
                break;
            }
        }
        return needed;
    }

    private LayerLaunches launches(int index, StepPlan steps, Rows rows) {
        DecoderWeights.Layer layer = weights.layers().get(index);
        int d = config.headDimension();
        int qHeads = config.attentionHeads();
        int kvHeads = config.keyValueHeads();
        long qkvColumns = (long) (qHeads + 2 * kvHeads) * d;
        Tensor q = heads(qkv, 0, qHeads, qkvColumns);
        Tensor rotatedQ = heads(queries, 0, qHeads, (long) qHeads * d);
        Tensor k = heads(qkv, (long) qHeads * d, kvHeads, qkvColumns);
        Tensor v = heads(qkv, (long) (qHeads + kvHeads) * d, kvHeads, qkvColumns);
        Tensor y = heads(attended, 0, qHeads, (long) qHeads * d);
        List<RmsNormParams> headNorms = new ArrayList<>();
        layer.queryNorm().ifPresent(weight -> headNorms.add(norm(steps, rows, q, weight, q)));
        layer.keyNorm().ifPresent(weight -> headNorms.add(norm(steps, rows, k, weight, k)));
        return new LayerLaunches(
                norm(steps, rows, layer.inputNorm()),
                linear(steps, rows, layer.qkv(), normed, qkv, Epilogue.NONE),
                List.copyOf(headNorms),
                new RopeAppendParams(arena)
                        .step(steps.step())
                        .rows(rows)
                        .q(q)
                        .k(k)
                        .v(v)
                        .cosSin(cosSin)
                        .cache(cache)
                        .streamK(streamK)
                        .streamV(streamV)
                        .layer(index)
                        .rotaryDimension(config.rotaryDimension())
                        .rotatedQ(rotatedQ),
                using(new MultiStreamAttentionParams(arena)
                        .step(config.hasWindow(index) ? steps.windowedStep() : steps.step())
                        .rows(rows)
                        .q(rotatedQ)
                        .y(y)
                        .cache(cache)
                        .streamK(streamK)
                        .streamV(streamV)
                        .layer(index)
                        .scale((float) (1 / Math.sqrt(d)))
                        .nextRead(
                                layer.output().weight().address(),
                                packedBytes(layer.output().weight()))),
                linear(steps, rows, layer.output(), attended, x, Epilogue.RESIDUAL),
                norm(steps, rows, layer.postAttentionNorm()),
                linear(steps, rows, layer.gateUp(), normed, gated, Epilogue.SILU_GATE),
                linear(steps, rows, layer.down(), gated, x, Epilogue.RESIDUAL));
    }

    private long packedBytes(Tensor weight) {
        return device.kernels().packedSize(weight.dtype(), weight.layout(), weight.size1(), weight.size2());
    }

    private Tensor heads(Tensor buffer, long firstColumn, int count, long rowColumns) {
        return Tensor.cube(
                        buffer.dtype(),
                        buffer.address() + firstColumn * buffer.dtype().byteSize(),
                        capacity.rows(),
                        count,
                        config.headDimension())
                .withStride(rowColumns);
    }

    private RmsNormParams norm(StepPlan steps, Rows rows, Tensor weight) {
        return norm(steps, rows, oneGroup(x), weight, oneGroup(normed));
    }

    private RmsNormParams norm(StepPlan steps, Rows rows, Tensor input, Tensor weight, Tensor output) {
        return new RmsNormParams(arena)
                .step(steps.step())
                .rows(rows)
                .x(input)
                .weight(weight)
                .y(output)
                .epsilon(config.rmsNormEpsilon());
    }

    private Tensor oneGroup(Tensor buffer) {
        return Tensor.cube(buffer.dtype(), buffer.address(), capacity.rows(), 1, config.hiddenSize());
    }

    private LinearParams linear(
            StepPlan steps, Rows rows, DecoderWeights.Linear linear, Tensor input, Tensor output, Epilogue epilogue) {
        LinearParams params = new LinearParams(arena)
                .step(steps.step())
                .rows(rows)
                .x(input)
                .weight(linear.weight())
                .bias(linear.bias())
                .y(output)
                .epilogue(epilogue)
                .partColumns(linear.partColumns());
        if (linear.loraTable() != 0 && rows != Rows.MAIN) {
            params.lora(linear.loraTable(), capacity.adapters(), linear.rank())
                    .segments(steps.segments(), capacity.segments(), steps.segmentCount());
        }
        return using(params);
    }

    private InsertStreamsParams insertion(StepPlan steps, Tensor source, Tensor embeddings) {
        return new InsertStreamsParams(arena)
                .step(steps.step())
                .source(source)
                .rowSource(steps.rowSource())
                .embeddings(embeddings)
                .rowEmbedding(steps.rowEmbedding())
                .x(x);
    }

    /** Over the rows of an index; each pass says anew where the results go. */
    private LmHeadParams head(StepPlan steps, long index, long count, int maxRows, int k) {
        LmHeadParams params = new LmHeadParams(arena)
                .step(steps.step())
                .rows(Rows.ALL)
                .x(normed)
                .weight(weights.head())
                .rowIndex(index, count)
                .k(k);
        place(params, maxRows, k, 0);
        return using(params);
    }

    private VerifyTreeParams verification(Tensor logits) {
        return using(new VerifyTreeParams(arena)
                .step(plan.step())
                .sampling(plan.sampling())
                .rowLogits(plan.rowLogits())
                .argmax(results.argmax())
                .logits(logits)
                .accepted(results.acceptedCount(), results.acceptedNode(), results.acceptedRow())
                .bonus(results.bonus()));
    }

    private <P extends WorkspaceParams> P using(P params) {
        workspaceUsers.add(params);
        return params;
    }

    /** Full logits stay on the device; the host's memory holds one row, when it is asked for. */
    private record FullLogits(DeviceMemory memory, MemorySegment host) {}

    private Tensor fullRows(long address, int count) {
        return Tensor.matrix(DType.F32, address, count, config.vocabularySize());
    }

    private record LayerLaunches(
            RmsNormParams inputNorm,
            LinearParams qkv,
            List<RmsNormParams> headNorms,
            RopeAppendParams rope,
            MultiStreamAttentionParams attention,
            LinearParams output,
            RmsNormParams postAttentionNorm,
            LinearParams gateUp,
            LinearParams down) {
        void run(KernelContext kernels) {
            kernels.rmsNorm(inputNorm);
            kernels.linear(qkv);
            for (RmsNormParams headNorm : headNorms) {
                kernels.rmsNorm(headNorm);
            }
            kernels.ropeAppend(rope);
            kernels.multiStreamAttention(attention);
            kernels.linear(output);
            kernels.rmsNorm(postAttentionNorm);
            kernels.linear(gateUp);
            kernels.linear(down);
        }
    }

    /** Row buffers. */
    private final class Allocation {
        Tensor floats(long rows, long columns) {
            return rows(DType.F32, rows, columns);
        }

        /** What only feeds matrix products has the type that they take it in: the same bits in half the bytes. */
        Tensor operands(long rows, long columns) {
            return rows(weights.dtype(), rows, columns);
        }

        Tensor streamScratch() {
            if (capacity.streamRows() == 0) {
                return Tensor.NONE;
            }
            long rows = capacity.streamRows();
            long size = rows
                    * config.keyValueHeads()
                    * config.headDimension()
                    * cache.dtype().byteSize();
            return Tensor.cube(cache.dtype(), take(size), rows, config.keyValueHeads(), config.headDimension());
        }

        Tensor ropeTable(RopeTable rope, int positions) {
            DeviceMemory memory = device.allocate(rope.bytes(positions));
            try (Arena scratch = Arena.ofConfined()) {
                MemorySegment table = scratch.allocate(rope.bytes(positions), ValueLayout.JAVA_FLOAT.byteAlignment());
                rope.write(table);
                memory.write(0, table);
            }
            return Tensor.matrix(DType.F32, memory.address(), positions, rope.rotaryDimension());
        }

        Tensor rows(DType dtype, long rows, long columns) {
            return Tensor.matrix(dtype, take(rows * columns * dtype.byteSize()), rows, columns);
        }

        private long take(long size) {
            return device.allocate(size).address();
        }
    }
}
