// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.Speculation;
import dev.tributary.engine.tree.Candidates;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.engine.tree.TreeBuilder;
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
import org.openjdk.jmh.annotations.Warmup;

/** What growing a best-first token tree and writing its masks costs a pass. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class TreeBuilderBenchmark {
    private static final int STREAMS = 4;
    private static final int WIDTH = 16;

    /** Nodes of the tree, the root included. */
    @Param({"5", "16", "64"})
    public int nodes;

    private final Candidates candidates = new Candidates(STREAMS, WIDTH);
    private final TreeBuilder builder = new TreeBuilder();
    private final TokenTree tree = new TokenTree();
    private final long[] masks = new long[256];

    /** Draws candidates. */
    @Setup
    public void draw() {
        Random random = new Random(1);
        candidates.clear();
        for (int stream = 0; stream < STREAMS; stream++) {
            candidates.addStream();
            float probability = 1;
            for (int rank = 0; rank < WIDTH; rank++) {
                probability *= 0.4f + 0.3f * random.nextFloat();
                candidates.set(rank, 100 * stream + rank, probability);
            }
        }
    }

    /**
     * Grows a tree.
     *
     * @return its masks
     */
    @Benchmark
    public long[] grow() {
        tree.reset(7);
        builder.grow(
                tree,
                candidates,
                new Speculation.Shape.BestFirst(),
                nodes,
                STREAMS,
                0,
                token -> false,
                TreeBuilder.Admission.ALL);
        tree.writeMasks(masks, 0);
        return masks;
    }
}
