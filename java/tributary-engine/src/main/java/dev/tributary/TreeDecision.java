// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** Why the token tree of a pass has its size. */
public enum TreeDecision {
    /** The generation does not speculate. */
    OFF,
    /** The size, or its greatest extent, was asked for. */
    FIXED,
    /** The size is the one that promised the most tokens per second, drafting included. */
    PAYS,
    /** Drafting did not pay; once the draft was there, these of its nodes were worth their rows. */
    NODES_PAY,
    /** A draft was there, and no node of it was worth its row. */
    DECLINED,
    /** Nothing was drafted, since drafts had not paid: drafting pauses and is tried again later. */
    PAUSED,
    /** Nothing was drafted though it might have been: the accepted node had no streams. */
    UNDRAFTED
}
