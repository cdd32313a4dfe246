// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.engine.device.Limits;

/**
 * Which launches a pass has, and the bounds that they are sized by: rounded up to powers of two, so that few shapes serve
 * all passes. Passes of one shape differ in data only, and a device may keep their launches as one graph.
 *
 * @param drafts whether it is a drafting pass: deferred streams alone
 * @param mainRows bound of main rows, at least 1
 * @param streamRows bound of stream rows; 0 = the pass has none
 * @param context bound of positions
 * @param logits whether full logits are kept
 * @param adjusts whether logits are adjusted before a choice
 * @param keepsStates whether main states are kept for a drafting pass
 */
record PassShape(
        boolean drafts,
        int mainRows,
        int streamRows,
        int context,
        boolean logits,
        boolean adjusts,
        boolean keepsStates) {
    private static final int LEAST_CONTEXT = 256;

    /** Bounds of a verifying pass with these rows and greatest positions. */
    static PassShape verifying(
            StepCapacity capacity,
            int mainRows,
            int streamRows,
            int context,
            boolean logits,
            boolean adjusts,
            boolean keepsStates) {
        return new PassShape(
                false,
                mainBound(capacity, mainRows),
                streamBound(capacity, streamRows),
                contextBound(capacity, context),
                logits,
                adjusts,
                keepsStates);
    }

    /** Bounds of a drafting pass. */
    static PassShape drafting(StepCapacity capacity, int streamRows, int context) {
        return new PassShape(
                true, 1, streamBound(capacity, streamRows), contextBound(capacity, context), false, false, false);
    }

    static int mainBound(StepCapacity capacity, int rows) {
        return Math.min(capacity.mainRows(), powerOfTwo(rows));
    }

    /** Streams come in groups of γ. */
    static int streamBound(StepCapacity capacity, int rows) {
        return rows == 0 ? 0 : Math.min(capacity.streamRows(), capacity.gamma() * powerOfTwo(rows / capacity.gamma()));
    }

    private static int contextBound(StepCapacity capacity, int positions) {
        return Math.min(capacity.pages() * Limits.PAGE_TOKENS, Math.max(LEAST_CONTEXT, powerOfTwo(positions)));
    }

    private static int powerOfTwo(int least) {
        int rounded = Integer.highestOneBit(Math.max(1, least));
        return rounded < least ? 2 * rounded : rounded;
    }

    /** {@return rows of results that the pass can have} */
    int results() {
        return (drafts ? 0 : mainRows) + streamRows;
    }
}
