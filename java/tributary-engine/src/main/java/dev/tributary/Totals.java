// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.device.Limits;
import dev.tributary.engine.run.EnumCounts;
import dev.tributary.engine.run.PassFigures;
import dev.tributary.engine.run.StepFigures;

/** What a model's statistics add up. Times are nanoseconds. Not thread-safe. */
final class Totals {
    long completed;
    long cancelled;
    long timedOut;
    long failed;
    long preemptions;
    long recomputedTokens;
    long promptTokens;
    long sharedTokens;
    long tokens;
    long passTokens;
    long steps;
    long passes;
    long drafted;
    long accepted;
    long stepNanos;
    long forwardNanos;
    long verifyNanos;
    long draftNanos;
    final long[] treeSizes = new long[Limits.MAX_TREE + 1];
    final EnumCounts<TreeDecision> decisions;
    final EnumCounts<Speculation.Placement> placements;
    final long[] draftedPerDepth;
    final long[] acceptedPerDepth;

    /** Nothing yet. */
    Totals(int depths) {
        decisions = new EnumCounts<>(TreeDecision.class);
        placements = new EnumCounts<>(Speculation.Placement.class);
        draftedPerDepth = new long[depths];
        acceptedPerDepth = new long[depths];
    }

    /** A copy. */
    Totals(Totals other) {
        completed = other.completed;
        cancelled = other.cancelled;
        timedOut = other.timedOut;
        failed = other.failed;
        preemptions = other.preemptions;
        recomputedTokens = other.recomputedTokens;
        promptTokens = other.promptTokens;
        sharedTokens = other.sharedTokens;
        tokens = other.tokens;
        passTokens = other.passTokens;
        steps = other.steps;
        passes = other.passes;
        drafted = other.drafted;
        accepted = other.accepted;
        stepNanos = other.stepNanos;
        forwardNanos = other.forwardNanos;
        verifyNanos = other.verifyNanos;
        draftNanos = other.draftNanos;
        System.arraycopy(other.treeSizes, 0, treeSizes, 0, treeSizes.length);
        decisions = other.decisions.copy();
        placements = other.placements.copy();
        draftedPerDepth = other.draftedPerDepth.clone();
        acceptedPerDepth = other.acceptedPerDepth.clone();
    }

    void add(PassFigures pass) {
        tokens += pass.tokens;
        if (pass.prefill) {
            return;
        }
        passes++;
        passTokens += pass.tokens;
        drafted += pass.drafted;
        treeSizes[pass.drafted + 1]++;
        decisions.add(pass.decision);
        if (pass.drafts) {
            placements.add(pass.placement);
        }
        accepted += pass.accepted;
        for (int depth = 1; depth <= draftedPerDepth.length; depth++) {
            draftedPerDepth[depth - 1] += pass.draftedPerDepth[depth];
        }
        for (int depth = 1; depth <= pass.accepted; depth++) {
            acceptedPerDepth[depth - 1]++;
        }
    }

    void add(StepFigures step) {
        steps++;
        promptTokens += step.promptTokens;
        sharedTokens += step.sharedTokens;
        preemptions += step.preemptions;
        recomputedTokens += step.recomputedTokens;
        stepNanos += step.totalNanos;
        forwardNanos += step.forwardNanos;
        verifyNanos += step.verifyNanos;
        draftNanos += step.draftNanos;
    }
}
