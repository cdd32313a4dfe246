// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.TransferBlock;
import dev.tributary.kernels.TokenAdjustment;
import java.lang.foreign.MemorySegment;

/**
 * What choices of one pass need beside the plan: adjustments of tokens and masks of allowed ones, of all sequences one
 * behind the other. Sequences name theirs by address, so a pass sends no more than it uses.
 */
public final class SamplingTables {
    private static final long ALIGNMENT = 16;

    private final TransferBlock block;
    private long bytes;

    /**
     * Takes memory for the most that a pass can need.
     *
     * @param device whose memory holds it
     * @param capacity of a step
     * @param vocabulary tokens that there are
     * @param contextTokens tokens that one sequence may hold
     */
    SamplingTables(Device device, StepCapacity capacity, int vocabulary, int contextTokens) {
        long adjustments = capacity.sequences() * mostEntries(vocabulary, contextTokens) * TokenAdjustment.BYTES;
        long masks = capacity.mainRows() * (long) maskWords(vocabulary) * Integer.BYTES;
        block = device.allocateBlock(adjustments + masks + 2L * capacity.sequences() * ALIGNMENT);
    }

    /** Every token of text and tree, and of the biases; a token has one entry. */
    private static long mostEntries(int vocabulary, int contextTokens) {
        return Math.min(vocabulary, (long) contextTokens + Limits.MAX_TREE + Limits.MAX_BIASES);
    }

    /** Words of one mask. */
    static int maskWords(int vocabulary) {
        return (vocabulary + Integer.SIZE - 1) / Integer.SIZE;
    }

    /** Begins a new pass. */
    void reset() {
        bytes = 0;
    }

    /** Appends a sequence's adjustments and returns their address. */
    long append(TokenCounts counts) {
        long begin = reserve(counts.size() * TokenAdjustment.BYTES);
        counts.write(block.host().asSlice(begin, counts.size() * TokenAdjustment.BYTES));
        return block.address() + begin;
    }

    /** Appends a sequence's masks and returns their address. */
    long append(int[] words, int count) {
        long begin = reserve((long) count * Integer.BYTES);
        MemorySegment.copy(words, 0, block.host(), JAVA_INT, begin, count);
        return block.address() + begin;
    }

    private long reserve(long size) {
        long begin = bytes;
        bytes += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return begin;
    }

    /** Sends to the device what this pass has. */
    void push() {
        if (bytes > 0) {
            block.push(bytes);
        }
    }
}
