// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

/**
 * Whether a sequence should draft at all. While what drafts promise does not repay what they cost, it pauses, for longer
 * and longer, and tries again. It begins with what recent drafts of all sequences promised; the first pass of its own
 * counts as much. What a pass of several sequences promises, it promises all of them alike.
 */
final class DraftHabit {
    private static final int SHORT_PAUSE = 32;
    private static final int LONG_PAUSE = 128;
    /** A gain so far below 1 will not soon be above it. */
    private static final double HOPELESS = 0.85;

    private static final double FIRST_WEIGHT = 0.5;
    private static final double WEIGHT = 0.2;

    private boolean tried;
    private double tokens;
    private double cost;
    private int pause;
    private int waiting;

    /**
     * Notes what a draft promises.
     *
     * @param expectedTokens tokens of the pass that verifies it
     * @param relativeCost time of that pass and of drafting, over the time of a plain pass
     * @param usualTokens likewise, of recent drafts of all sequences
     * @param usualCost likewise
     */
    void observe(double expectedTokens, double relativeCost, double usualTokens, double usualCost) {
        if (!tried) {
            tokens = usualTokens;
            cost = usualCost;
        }
        double weight = tried ? WEIGHT : FIRST_WEIGHT;
        tried = true;
        tokens += weight * (expectedTokens - tokens);
        cost += weight * (relativeCost - cost);
        double gain = tokens / cost;
        if (gain >= 1) {
            pause = 0;
        } else if (waiting == 0) {
            pause = Math.clamp(2L * pause, gain < HOPELESS ? 2 * SHORT_PAUSE : SHORT_PAUSE, LONG_PAUSE);
            waiting = pause;
        }
    }

    /**
     * {@return whether to draft after this pass}
     *
     * @param trials whether a draft that may not pay may be made after this pass; if not, it waits for one after which it may
     */
    boolean drafts(boolean trials) {
        if (waiting > 1) {
            waiting--;
            return false;
        }
        if (waiting == 1 || !tried) {
            if (trials) {
                waiting = 0;
            }
            return trials;
        }
        return true;
    }
}
