// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.Speculation;
import dev.tributary.TreeDecision;
import dev.tributary.engine.device.Limits;

/** Figures of one request as they are counted; guarded by the request. Times are nanoseconds. */
public final class RequestCounters {
    public int promptTokens;
    public int sharedTokens;
    public int preemptions;
    public int tokens;
    public int passes;
    public long draftedTokens;
    public final int[] acceptedLengths = new int[Limits.MAX_PATH];
    public final long[] draftedPerDepth = new long[Limits.MAX_DEPTH];
    public final long[] acceptedPerDepth = new long[Limits.MAX_DEPTH];
    /** Passes by nodes of the tree, the root among them. */
    public final int[] treeSizes = new int[Limits.MAX_TREE + 1];
    /** Passes by why the tree has its size. */
    public final EnumCounts<TreeDecision> decisions = new EnumCounts<>(TreeDecision.class);
    /** Passes that drafted, by where the streams ran. */
    public final EnumCounts<Speculation.Placement> placements = new EnumCounts<>(Speculation.Placement.class);

    public long queuedNanos;
    public long prefillNanos;
    public long decodeNanos;
    public long draftNanos;
    public long forwardNanos;
    public long verifyNanos;
    public long hostNanos;
}
