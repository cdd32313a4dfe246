// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_token_adjustment;
import java.lang.foreign.MemorySegment;

/**
 * Writes entries of the tables that {@link SamplingEntry#adjust} names: what happens to one token's logit before a
 * choice. A sequence's table has each token once.
 */
public final class TokenAdjustment {
    /** Size of an entry in bytes. */
    public static final long BYTES = trib_token_adjustment.layout().byteSize();

    private TokenAdjustment() {}

    /**
     * Writes an entry.
     *
     * @param table the table, in memory that Java can write
     * @param index index of the entry
     * @param token the token
     * @param promptCount occurrences in the prompt
     * @param generatedCount occurrences in the generated text before the tree's root
     * @param bias finite; 0 for none
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void write(
            MemorySegment table, long index, int token, int promptCount, int generatedCount, float bias) {
        MemorySegment entry = table.asSlice(index * BYTES, BYTES);
        trib_token_adjustment.token(entry, token);
        trib_token_adjustment.prompt_count(entry, promptCount);
        trib_token_adjustment.generated_count(entry, generatedCount);
        trib_token_adjustment.bias(entry, bias);
    }
}
