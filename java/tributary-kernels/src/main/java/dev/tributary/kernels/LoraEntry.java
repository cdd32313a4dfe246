// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_lora;
import java.lang.foreign.MemorySegment;

/**
 * Writes entries of a LoRA table, which {@link LinearParams#lora} names: one adapter's update of one output part,
 * {@code y_part += scale · B (A x)}. The table is [adapters, parts]; adapter a's part p is entry {@code a · parts + p}.
 */
public final class LoraEntry {
    /** Size of an entry in bytes. */
    public static final long BYTES = trib_lora.layout().byteSize();

    private LoraEntry() {}

    /**
     * Writes an entry.
     *
     * @param table the table, in memory that Java can write
     * @param index index of the entry
     * @param a address of A, packed [rank, K]
     * @param b address of B, packed [columns of the part, rank]
     * @param rank rank, positive
     * @param scale alpha / rank
     * @param dtype type of A and B: {@link DType#BF16} or {@link DType#F16}
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void write(MemorySegment table, long index, long a, long b, int rank, float scale, DType dtype) {
        if (rank < 1) {
            throw new IllegalArgumentException("the rank of a LoRA update is positive, given " + rank);
        }
        MemorySegment entry = table.asSlice(index * BYTES, BYTES);
        trib_lora.a(entry, a);
        trib_lora.b(entry, b);
        trib_lora.rank(entry, rank);
        trib_lora.scale(entry, scale);
        trib_lora.dtype(entry, dtype.code);
        trib_lora.reserved(entry, 0);
    }

    /**
     * Writes an entry without an update: its part is left as it is.
     *
     * @param table the table, in memory that Java can write
     * @param index index of the entry
     * @throws IndexOutOfBoundsException if the table has no such entry
     */
    public static void clear(MemorySegment table, long index) {
        table.asSlice(index * BYTES, BYTES).fill((byte) 0);
    }
}
