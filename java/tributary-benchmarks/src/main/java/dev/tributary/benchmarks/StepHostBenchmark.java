// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.Speculation;
import dev.tributary.engine.cache.CacheMemory;
import dev.tributary.engine.cache.PagePool;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.HostDevice;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.MeasuringDevice;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.engine.step.Sampling;
import dev.tributary.engine.step.StepCapacity;
import dev.tributary.engine.step.StepPlan;
import dev.tributary.engine.step.StepResults;
import dev.tributary.engine.tree.Candidates;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.engine.tree.TreeBuilder;
import dev.tributary.kernels.DType;
import dev.tributary.kernels.KernelContext;
import dev.tributary.kernels.Layout;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What Java does for a step on any device, with nothing computed: growing trees, writing the plan with streams on every
 * node, reading the results; and one downcall. The copies of a plan to a GPU and of its results back are not in it.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class StepHostBenchmark {
    private static final int STREAMS = 4;
    private static final int WIDTH = 16;
    private static final int PROMPT = 512;
    private static final int PAGES = 128;
    private static final int PREFILL_ROWS = 256;
    private static final Speculation.Shape SHAPE = new Speculation.Shape.BestFirst();

    /** Sequences of the step. */
    @Param({"1", "8", "32"})
    public int sequences;

    /** Nodes of each tree, the root included. */
    @Param({"1", "16"})
    public int nodes;

    private final TreeBuilder builder = new TreeBuilder();
    private final List<TokenTree> trees = new ArrayList<>();
    private final List<Candidates> candidates = new ArrayList<>();
    private final List<SequenceCache> caches = new ArrayList<>();

    @SuppressWarnings("NullAway.Init") // set by open()
    private Arena arena;

    @SuppressWarnings("NullAway.Init")
    private HostDevice host;

    @SuppressWarnings("NullAway.Init")
    private MeasuringDevice device;

    @SuppressWarnings("NullAway.Init")
    private StepPlan plan;

    @SuppressWarnings("NullAway.Init")
    private StepResults results;

    /** Opens a plan as the engine does, and draws candidates. */
    @Setup
    @SuppressWarnings("MustBeClosedChecker") // closed by close()
    public void open() {
        arena = Arena.ofConfined();
        host = new HostDevice(1);
        device = new MeasuringDevice(host);
        int treeRows = Math.min(sequences * Limits.MAX_TREE, 512);
        StepCapacity capacity = new StepCapacity(
                sequences, PREFILL_ROWS + treeRows, STREAMS * (treeRows + sequences), STREAMS, PAGES, WIDTH, 1);
        plan = new StepPlan(device, arena, capacity, StreamsConfig.Position.OFFSET, OptionalInt.empty());
        results = new StepResults(device, capacity);
        PagePool pool = new PagePool(new CacheMemory(device.allocate(1), 1, sequences * PAGES, 1), false);
        Random random = new Random(1);
        for (int i = 0; i < sequences; i++) {
            SequenceCache cache = new SequenceCache(pool, PAGES);
            cache.reserve(PROMPT);
            cache.commit(PROMPT);
            caches.add(cache);
            trees.add(new TokenTree());
            candidates.add(drawn(random));
        }
    }

    private static Candidates drawn(Random random) {
        Candidates drawn = new Candidates(STREAMS, WIDTH);
        for (int stream = 0; stream < STREAMS; stream++) {
            drawn.addStream();
            float probability = 1;
            for (int rank = 0; rank < WIDTH; rank++) {
                probability *= 0.4f + 0.3f * random.nextFloat();
                drawn.set(rank, 100 * stream + rank, probability);
            }
        }
        return drawn;
    }

    /** Frees everything. */
    @TearDown
    public void close() {
        device.close();
        host.close();
        arena.close();
    }

    /**
     * Grows the trees and writes the plan.
     *
     * @return the plan
     */
    @Benchmark
    public StepPlan plan() {
        plan.begin();
        for (int i = 0; i < sequences; i++) {
            TokenTree tree = trees.get(i);
            SequenceCache cache = caches.get(i);
            tree.reset(7);
            builder.grow(tree, candidates.get(i), SHAPE, nodes, STREAMS, 0, token -> false, TreeBuilder.Admission.ALL);
            cache.reserve(tree.size());
            int index = plan.openSequence(cache);
            int first = plan.addTree(tree);
            plan.choose(index, Sampling.GREEDY, 0);
            for (int node = 0; nodes > 1 && node < tree.size(); node++) {
                plan.addStreams(index, first + node, node, cache.length() + tree.depth(node), 0);
            }
        }
        plan.finish();
        for (SequenceCache cache : caches) {
            cache.rollback();
        }
        return plan;
    }

    /**
     * Plans a step, then reads the accepted path and the candidates of every sequence, as they lie in the results.
     *
     * @return a sum over what was read
     */
    @Benchmark
    public double planAndTakeResults() {
        plan();
        double sum = 0;
        for (int i = 0; i < sequences; i++) {
            sum += results.acceptedCount(i) + results.bonus(i);
            for (int depth = 0; depth <= STREAMS; depth++) {
                sum += results.acceptedNode(i, depth);
            }
            Candidates taken = candidates.get(i);
            for (int j = 0; nodes > 1 && j < STREAMS; j++) {
                int result = plan.streamResult(j);
                for (int rank = 0; rank < WIDTH; rank++) {
                    sum += results.candidate(result, rank) + results.probability(result, rank) * taken.depth();
                }
            }
        }
        return sum;
    }

    /**
     * One downcall that computes next to nothing.
     *
     * @return bytes of a packed weight
     */
    @Benchmark
    public long downcall() {
        KernelContext kernels = device.kernels();
        return kernels.packedSize(DType.BF16, Layout.PACKED, 4096, 4096);
    }
}
