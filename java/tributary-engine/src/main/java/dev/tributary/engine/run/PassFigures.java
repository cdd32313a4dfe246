// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.Speculation;
import dev.tributary.TreeDecision;
import dev.tributary.engine.device.Limits;

/** What a step did for one sequence; reused from one to the next, owned by the device thread. */
public final class PassFigures {
    /** Number of the request. */
    public long request;
    /** Whether the step read the end of the prompt: there was no tree, and the token is the text's first. */
    public boolean prefill;
    /** Tokens committed before. */
    public int contextTokens;
    /** Nodes of the tree, the root left out. */
    public int drafted;
    /** Drafted tokens that were accepted and became text. */
    public int accepted;
    /** Tokens that became text. */
    public int tokens;
    /** Why the tree has its size. */
    public TreeDecision decision = TreeDecision.OFF;
    /** Whether the pass drafts the next tree. */
    public boolean drafts;
    /** Where its streams run, when it drafts. */
    public Speculation.Placement placement = Speculation.Placement.AUTOMATIC;
    /** Drafted nodes at each depth; element 0, the root's, is 0. */
    public final int[] draftedPerDepth = new int[Limits.MAX_DEPTH + 1];

    PassFigures() {}
}
