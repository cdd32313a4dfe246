// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

/**
 * Whether a sequence should draft at all. It begins by drafting; while drafting does not pay it pauses, for longer and
 * longer, and tries again. Only the sequence's own drafts count: what a neighbour's text was like says little.
 */
public final class DraftHabit {
    private static final int SHORTEST_PAUSE = 8;
    private static final int LONGEST_PAUSE = 128;
    private static final double MEMORY = 0.75;

    private double gain = 1;
    private boolean tried;
    private int pause;
    private int waiting;

    DraftHabit() {}

    /**
     * Notes what a draft was expected to gain.
     *
     * @param observed tokens per second with this draft over tokens per second without drafting
     */
    void observe(double observed) {
        gain = tried ? MEMORY * gain + (1 - MEMORY) * observed : observed;
        tried = true;
        if (gain >= 1) {
            pause = 0;
        } else if (waiting == 0) {
            pause = Math.clamp(2L * pause, SHORTEST_PAUSE, LONGEST_PAUSE);
            waiting = pause;
        }
    }

    /** {@return whether to draft after this pass} */
    boolean drafts() {
        if (waiting > 0) {
            waiting--;
            return waiting == 0;
        }
        return true;
    }
}
