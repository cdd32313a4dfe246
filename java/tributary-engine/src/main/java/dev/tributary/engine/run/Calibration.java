// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.policy.PassCosts;
import dev.tributary.engine.step.Sampling;
import dev.tributary.engine.step.StepPlan;
import dev.tributary.engine.tree.TokenTree;
import java.util.Arrays;

/**
 * Measures what passes cost before the first request, on a scratch sequence, so that the first decisions are informed.
 * Also the warm-up of everything that a pass touches.
 */
final class Calibration {
    private static final int[] MAIN_ROWS = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
    /** Sizes of these that a synchronous device runs: on a processor more rows never pay, and take long to measure. */
    private static final int FEW_SIZES = 10;

    private static final long WARM_UP_NANOS = 50_000_000L;
    private static final int STREAM_ANCHORS = 4;
    private static final int MANY_STREAM_ANCHORS = 32;
    /** Rows and tokens of context of the passes that tell what attention costs. */
    private static final int ATTENTION_ROWS = 8;

    private static final int MANY_ATTENTION_ROWS = 32;
    private static final int LONG_CONTEXT = 512;
    private static final int LONGER_CONTEXT = 4096;
    private static final int ROUNDS = 12;
    private static final int FEW = 5;
    /** Repetitions of one observation that make it count in full. */
    private static final int CONVINCED = 50;

    private static final long BUDGET_NANOS = 1_500_000_000L;

    private final LoadedModel model;
    private final SequenceCache scratch;
    private final TokenTree tree = new TokenTree();
    private final boolean synchronous;
    private final int longContext;

    private Calibration(LoadedModel model) {
        this.model = model;
        synchronous = model.device().isSynchronous();
        scratch = new SequenceCache(model.pages(), model.capacity().pages());
        scratch.reserve(1);
        scratch.commit(1);
        longContext = Math.clamp(model.contextTokens() - 1, 1, synchronous ? LONG_CONTEXT : LONGER_CONTEXT);
    }

    static PassCosts measure(LoadedModel model) {
        Calibration calibration = new Calibration(model);
        try (calibration.scratch) {
            return calibration.costs();
        }
    }

    private PassCosts costs() {
        long begin = System.nanoTime();
        // The first passes run in Java's interpreter.
        while (System.nanoTime() - begin < WARM_UP_NANOS) {
            verify(1, 0);
        }
        // Round after round, so that what disturbs the machine for a moment disturbs no size in all of them.
        int sizes = synchronous ? FEW_SIZES : MAIN_ROWS.length;
        int anchors = model.gamma() == 0 ? 0 : synchronous ? STREAM_ANCHORS : MANY_STREAM_ANCHORS;
        long[] quickest = new long[sizes];
        Arrays.fill(quickest, Long.MAX_VALUE);
        long withStreams = Long.MAX_VALUE;
        long withFewStreams = Long.MAX_VALUE;
        long draft = Long.MAX_VALUE;
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < sizes; i++) {
                // A model so large that the time is up keeps what it has, the smallest sizes in any case.
                if (System.nanoTime() - begin < BUDGET_NANOS || quickest[Math.min(i, 1)] == Long.MAX_VALUE) {
                    quickest[i] = Math.min(quickest[i], typical(MAIN_ROWS[i], 0));
                }
            }
            if (anchors > 0 && (round == 0 || System.nanoTime() - begin < BUDGET_NANOS)) {
                withStreams = Math.min(withStreams, typical(anchors, anchors));
                withFewStreams = synchronous ? withFewStreams : Math.min(withFewStreams, typical(1, 1));
                draft = Math.min(draft, typicalDraft());
            }
        }
        int repetitions = System.nanoTime() - begin < BUDGET_NANOS ? FEW : 1;
        PassCosts.Context attention = attention(repetitions);

        // On a processor a call costs nothing beside its work; on a GPU a launch does.
        double launches = withFewStreams == Long.MAX_VALUE ? 0 : Math.max(0, withFewStreams - quickest[0]);
        PassCosts costs = new PassCosts(model.streamRowFraction(), model.streamLayerFraction(), launches, attention);
        for (int i = 0; i < sizes; i++) {
            if (quickest[i] < Long.MAX_VALUE) {
                costs.observeVerify(MAIN_ROWS[i], 0, 0, quickest[i]);
            }
        }
        if (anchors > 0) {
            costs.observeDraft(model.gamma(), 0, draft);
            for (int i = 0; i < CONVINCED; i++) {
                costs.observeVerify(anchors, anchors * model.gamma(), 0, withStreams);
            }
        }
        return costs;
    }

    /** What attention takes: on a processor each row reads the context anew, on a GPU all rows may share it. */
    private PassCosts.Context attention(int repetitions) {
        int rows = synchronous ? ATTENTION_ROWS : MANY_ATTENTION_ROWS;
        long shortMany = quickest(rows, repetitions);
        long shortOne = synchronous ? 0 : quickest(1, repetitions);
        scratch.reserve(longContext - 1);
        // What stands in these slots does not matter: attention takes as long over zeros.
        scratch.commit(longContext - 1);
        double many = Math.max(0, quickest(rows, repetitions) - shortMany) / (double) longContext;
        if (synchronous) {
            return new PassCosts.Context(0, many / rows);
        }
        double one = Math.max(0, quickest(1, repetitions) - shortOne) / (double) longContext;
        double perRow = Math.max(0, many - one) / (rows - 1);
        return new PassCosts.Context(Math.max(0, one - perRow), perRow);
    }

    /** Nanoseconds of the quickest of a few passes; what disturbs a pass can only make it slower. */
    private long quickest(int rows, int repetitions) {
        long least = Long.MAX_VALUE;
        for (int i = 0; i < repetitions; i++) {
            least = Math.min(least, typical(rows, 0));
        }
        return least;
    }

    /** Likewise of one that prepares nothing: a device may record a pass when it meets it for the second time. */
    private long typical(int rows, int anchors) {
        long nanos;
        do {
            nanos = verify(rows, anchors);
        } while (!model.decoder().wasPrepared());
        return nanos;
    }

    private long typicalDraft() {
        long nanos;
        do {
            nanos = draft();
        } while (!model.decoder().wasPrepared());
        return nanos;
    }

    /** Nanoseconds of a pass over a tree of so many nodes, the first of which carry streams. */
    private long verify(int rows, int anchors) {
        tree.reset(0);
        while (tree.size() < rows) {
            // A star: siblings differ in token.
            tree.add(0, tree.size() % model.config().vocabularySize(), 0.5f);
        }
        long start = System.nanoTime();
        StepPlan plan = model.decoder().plan();
        scratch.reserve(rows);
        plan.begin();
        int sequence = plan.openSequence(scratch);
        plan.addTree(tree);
        for (int node = 0; node < anchors; node++) {
            plan.addStreams(sequence, node, node, scratch.length() + tree.depth(node), 0);
        }
        plan.choose(sequence, Sampling.GREEDY, 0);
        plan.finish();
        model.decoder().verify(model.gamma() > 0);
        scratch.rollback();
        return System.nanoTime() - start;
    }

    /** Nanoseconds of a drafting pass behind the one token of the scratch sequence. */
    private long draft() {
        long start = System.nanoTime();
        StepPlan plan = model.decoder().draftPlan();
        plan.begin();
        int sequence = plan.openSequence(scratch);
        plan.addStreams(sequence, 0, -1, scratch.length() - 1, 0);
        plan.finish();
        model.decoder().draft();
        return System.nanoTime() - start;
    }
}
