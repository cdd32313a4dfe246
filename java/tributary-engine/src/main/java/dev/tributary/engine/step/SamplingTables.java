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

    private final TransferBlock adjustments;
    private final TransferBlock masks;
    private long adjustmentBytes;
    private long maskBytes;

    /**
     * Takes memory for the most that a pass can need.
     *
     * @param device whose memory holds it
     * @param capacity of a step
     * @param vocabulary tokens that there are
     * @param contextTokens tokens that one sequence may hold
     */
    SamplingTables(Device device, StepCapacity capacity, int vocabulary, int contextTokens) {
        adjustments = device.allocateBlock(
                capacity.sequences() * mostEntries(vocabulary, contextTokens) * TokenAdjustment.BYTES);
        masks = device.allocateBlock(
                capacity.mainRows() * (long) maskWords(vocabulary) * Integer.BYTES + capacity.sequences() * ALIGNMENT);
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
        adjustmentBytes = 0;
        maskBytes = 0;
    }

    /** Appends a sequence's adjustments and returns their address. */
    long append(TokenCounts counts) {
        long begin = adjustmentBytes;
        adjustmentBytes += counts.size() * TokenAdjustment.BYTES;
        counts.write(adjustments.host().asSlice(begin, adjustmentBytes - begin));
        return adjustments.address() + begin;
    }

    /** Appends a sequence's masks and returns their address. */
    long append(int[] words, int count) {
        long begin = maskBytes;
        MemorySegment.copy(words, 0, masks.host(), JAVA_INT, begin, count);
        maskBytes = (begin + (long) count * Integer.BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return masks.address() + begin;
    }

    /** Sends to the device what this pass has. */
    void push() {
        if (adjustmentBytes > 0) {
            adjustments.push(adjustmentBytes);
        }
        if (maskBytes > 0) {
            masks.push(maskBytes);
        }
    }
}
