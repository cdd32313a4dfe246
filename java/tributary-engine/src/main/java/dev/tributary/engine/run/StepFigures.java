// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.TreeDecision;

/** What one step did; reused from one to the next, owned by the device thread. Times are nanoseconds. */
public final class StepFigures {
    /** Sequences in the step. */
    public int sequences;
    /** Those that verified a tree. */
    public int decoding;
    /** Tokens of prompts that were read. */
    public int promptTokens;
    /** Tokens of prompts that were found computed already. */
    public int sharedTokens;
    /** Drafted nodes of all trees. */
    public int drafted;
    /** Drafted tokens that were accepted and became text. */
    public int accepted;
    /** Tokens that became text. */
    public int tokens;
    /** Tokens that the adaptive trees promised each sequence on average; 0 when there were none. */
    public double promisedTokens;
    /** What they cost with their draft, over a plain pass; 0 when there were none. */
    public double relativeCost;
    /** Trees by why they have their size, the roots alone among them. */
    public final EnumCounts<TreeDecision> decisions = new EnumCounts<>(TreeDecision.class);
    /** Tree nodes and prompt tokens. */
    public int mainRows;
    /** Rows of streams inside the verifying pass. */
    public int streamRows;
    /** Requests that waited when it began. */
    public int queued;
    /** Pages that sequences hold after it. */
    public int pagesInUse;
    /** Pages that nobody holds and that keep a known prefix. */
    public int pagesCached;
    /** Sequences that have made room for others and wait to go on. */
    public int parked;
    /** Sequences that made room since the step before. */
    public int preemptions;
    /** Bytes of host memory that keep their pages. */
    public long savedBytes;
    /** Tokens that were computed before and had to be computed anew, since their pages were given up. */
    public int recomputedTokens;
    /** Pages in all. */
    public int pages;
    /** From its beginning to its end. */
    public long totalNanos;
    /** Layers and head of the verifying pass. */
    public long forwardNanos;
    /** Target choice, walk and commit. */
    public long verifyNanos;
    /** The drafting pass behind it. */
    public long draftNanos;

    StepFigures() {}

    void reset() {
        decoding = 0;
        promptTokens = 0;
        sharedTokens = 0;
        recomputedTokens = 0;
        drafted = 0;
        accepted = 0;
        tokens = 0;
        decisions.clear();
        draftNanos = 0;
    }
}
