// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

/**
 * Whether a sequence should draft at all. While drafting does not pay it pauses, for longer and longer, and tries again.
 */
public final class DraftHabit {
    private static final int SHORTEST_PAUSE = 8;
    private static final int LONGEST_PAUSE = 128;
    private static final double MEMORY = 0.75;

    private double gain;
    private int pause;
    private int waiting;

    DraftHabit(double gain) {
        this.gain = gain;
        if (gain < 1) {
            pause = SHORTEST_PAUSE;
            waiting = SHORTEST_PAUSE;
        }
    }

    /**
     * Notes what a draft was expected to gain.
     *
     * @param observed tokens per second with this draft over tokens per second without drafting
     */
    void observe(double observed) {
        gain = MEMORY * gain + (1 - MEMORY) * observed;
        if (gain >= 1) {
            pause = 0;
        } else if (waiting == 0) {
            pause = Math.clamp(2L * pause, SHORTEST_PAUSE, LONGEST_PAUSE);
            waiting = pause;
        }
    }

    double gain() {
        return gain;
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
