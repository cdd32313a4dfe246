// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.run.PassFigures;
import dev.tributary.engine.run.StepFigures;

/** What a model's statistics add up. Times are nanoseconds. Not thread-safe. */
final class Totals {
    long completed;
    long cancelled;
    long failed;
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
    final long[] draftedPerDepth;
    final long[] acceptedPerDepth;

    /** Nothing yet. */
    Totals(int depths) {
        draftedPerDepth = new long[depths];
        acceptedPerDepth = new long[depths];
    }

    /** A copy. */
    Totals(Totals other) {
        completed = other.completed;
        cancelled = other.cancelled;
        failed = other.failed;
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
        stepNanos += step.totalNanos;
        forwardNanos += step.forwardNanos;
        verifyNanos += step.verifyNanos;
        draftNanos += step.draftNanos;
    }
}
