// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.policy.PassCosts;
import dev.tributary.engine.step.Decoder;
import dev.tributary.engine.step.Sampling;
import dev.tributary.engine.step.StepPlan;
import dev.tributary.engine.tree.TokenTree;
import java.util.Arrays;

/**
 * Measures what passes cost before the first request, on a scratch sequence, so that the first decisions are informed.
 * Also the warm-up of everything that a pass touches.
 */
final class Calibration {
    private static final int[] MAIN_ROWS = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
    private static final int REPETITIONS = 8;
    /** A model so large that this is not enough is measured at fewer sizes. */
    private static final long BUDGET_NANOS = 1_500_000_000L;

    private Calibration() {}

    static PassCosts measure(LoadedModel model) {
        PassCosts costs = new PassCosts(model.streamRowFraction());
        Decoder decoder = model.decoder();
        long begin = System.nanoTime();
        long[] times = new long[REPETITIONS];
        TokenTree tree = new TokenTree();
        try (SequenceCache scratch =
                new SequenceCache(model.pages(), model.capacity().pages())) {
            for (int rows : MAIN_ROWS) {
                tree.reset(0);
                while (tree.size() < Math.min(rows, model.treeRows())) {
                    // A star: siblings differ in token.
                    tree.add(0, Math.floorMod(tree.size(), model.config().vocabularySize()), 0.5f);
                }
                for (int i = 0; i < REPETITIONS; i++) {
                    long start = System.nanoTime();
                    scratch.reserve(tree.size());
                    StepPlan plan = decoder.plan();
                    plan.begin();
                    int sequence = plan.openSequence(scratch);
                    plan.addTree(tree);
                    plan.choose(sequence, new Sampling(true, 0f, 0, 1f, 0f, 0, 0), 0);
                    plan.finish();
                    decoder.verify(model.gamma() > 0);
                    times[i] = System.nanoTime() - start;
                    scratch.rollback();
                }
                costs.observeVerify(rows, 0, quickest(times));
                if (System.nanoTime() - begin > BUDGET_NANOS) {
                    break;
                }
            }
            if (model.gamma() > 0) {
                measureDraft(model, scratch, costs, times);
            }
        }
        return costs;
    }

    private static void measureDraft(LoadedModel model, SequenceCache scratch, PassCosts costs, long[] times) {
        Decoder decoder = model.decoder();
        scratch.reserve(1);
        scratch.commit(1);
        for (int i = 0; i < REPETITIONS; i++) {
            long start = System.nanoTime();
            StepPlan plan = decoder.draftPlan();
            plan.begin();
            int sequence = plan.openSequence(scratch);
            plan.addStreams(sequence, 0, -1, 0);
            plan.finish();
            decoder.draft();
            times[i] = System.nanoTime() - start;
        }
        costs.observeDraft(model.gamma(), quickest(times));
    }

    /** The quickest: whatever else happened can only have made a pass slower. */
    private static long quickest(long[] times) {
        return Arrays.stream(times).min().orElseThrow();
    }
}
