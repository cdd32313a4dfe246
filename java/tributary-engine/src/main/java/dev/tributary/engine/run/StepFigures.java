// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

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
        drafted = 0;
        accepted = 0;
        tokens = 0;
        draftNanos = 0;
    }
}
