// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.engine.device.Limits;

/** Figures of one request as they are counted; guarded by the request. Times are nanoseconds. */
public final class RequestCounters {
    public int promptTokens;
    public int sharedTokens;
    public int tokens;
    public int passes;
    public long draftedTokens;
    public final int[] acceptedLengths = new int[Limits.MAX_PATH];
    public final long[] draftedPerDepth = new long[Limits.MAX_DEPTH];
    public final long[] acceptedPerDepth = new long[Limits.MAX_DEPTH];
    public long queuedNanos;
    public long prefillNanos;
    public long decodeNanos;
    public long draftNanos;
    public long forwardNanos;
    public long verifyNanos;
    public long hostNanos;
}
