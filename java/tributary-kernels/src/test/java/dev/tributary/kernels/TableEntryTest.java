// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_lora;
import dev.tributary.kernels.ffi.trib_sampling;
import dev.tributary.kernels.ffi.trib_token_adjustment;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** Entries of device tables: each is written whole, its neighbours not at all. */
class TableEntryTest {
    private static final byte POISON = (byte) 0xA5;

    @Test
    void loraEntry() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment table = poisoned(arena, LoraEntry.BYTES);
            LoraEntry.write(table, 1, 0x1000, 0x2000, 8, 0.5f, DType.BF16);
            MemorySegment entry = table.asSlice(LoraEntry.BYTES, LoraEntry.BYTES);
            assertEquals(0x1000, trib_lora.a(entry));
            assertEquals(0x2000, trib_lora.b(entry));
            assertEquals(8, trib_lora.rank(entry));
            assertEquals(0.5f, trib_lora.scale(entry));
            assertEquals(Tributary.TRIB_DTYPE_BF16(), trib_lora.dtype(entry));
            assertEquals(0, trib_lora.reserved(entry));
            assertNeighboursUntouched(table, LoraEntry.BYTES);

            LoraEntry.clear(table, 1);
            assertEquals(-1, entry.mismatch(arena.allocate(LoraEntry.BYTES)));
            assertNeighboursUntouched(table, LoraEntry.BYTES);
        }
    }

    @Test
    void loraEntryOfRankZeroIsClearedNotWritten() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment table = poisoned(arena, LoraEntry.BYTES);
            assertThrows(IllegalArgumentException.class, () -> LoraEntry.write(table, 1, 1, 1, 0, 1f, DType.BF16));
        }
    }

    @Test
    void samplingEntry() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment table = poisoned(arena, SamplingEntry.BYTES);
            SamplingEntry.write(table, 1, 0x123456789AL, 0.8f, 0.9f, 0.05f, 40, 3);
            MemorySegment entry = table.asSlice(SamplingEntry.BYTES, SamplingEntry.BYTES);
            assertEquals(0x123456789AL, trib_sampling.seed(entry));
            assertEquals(0.8f, trib_sampling.temperature(entry));
            assertEquals(0.9f, trib_sampling.top_p(entry));
            assertEquals(0.05f, trib_sampling.min_p(entry));
            assertEquals(40, trib_sampling.top_k(entry));
            assertEquals(3, trib_sampling.choice(entry));
            assertEquals(0, trib_sampling.generated(entry));
            assertEquals(1, trib_sampling.active(entry));
            assertEquals(0, trib_sampling.adjustments(entry));
            assertEquals(0, trib_sampling.adjustment(entry));
            assertEquals(0, trib_sampling.allowed(entry));
            assertEquals(1, trib_sampling.repetition_penalty(entry));
            assertEquals(0, trib_sampling.presence_penalty(entry));
            assertEquals(0, trib_sampling.frequency_penalty(entry));
            assertEquals(0, trib_sampling.typical_epsilon(entry));
            assertEquals(0, trib_sampling.typical_delta(entry));
            assertEquals(0, trib_sampling.reserved(entry));

            SamplingEntry.adjust(table, 1, 1.2f, 0.3f, 0.4f, 0x1234567890L, 9);
            SamplingEntry.allow(table, 1, 0x2345678901L);
            SamplingEntry.acceptTypical(table, 1, 0.09f, 0.3f);
            assertEquals(1.2f, trib_sampling.repetition_penalty(entry));
            assertEquals(0.3f, trib_sampling.presence_penalty(entry));
            assertEquals(0.4f, trib_sampling.frequency_penalty(entry));
            assertEquals(0x1234567890L, trib_sampling.adjustment(entry));
            assertEquals(9, trib_sampling.adjustments(entry));
            assertEquals(0x2345678901L, trib_sampling.allowed(entry));
            assertEquals(0.09f, trib_sampling.typical_epsilon(entry));
            assertEquals(0.3f, trib_sampling.typical_delta(entry));

            SamplingEntry.deactivate(table, 1);
            assertEquals(0, trib_sampling.active(entry));
            SamplingEntry.progress(table, 1, 17);
            assertEquals(17, trib_sampling.generated(entry));
            assertEquals(1, trib_sampling.active(entry));
            assertEquals(0.8f, trib_sampling.temperature(entry));
            assertNeighboursUntouched(table, SamplingEntry.BYTES);
        }
    }

    @Test
    void tokenAdjustment() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment table = poisoned(arena, TokenAdjustment.BYTES);
            TokenAdjustment.write(table, 1, 31999, 3, 2, -1.5f);
            MemorySegment entry = table.asSlice(TokenAdjustment.BYTES, TokenAdjustment.BYTES);
            assertEquals(31999, trib_token_adjustment.token(entry));
            assertEquals(3, trib_token_adjustment.prompt_count(entry));
            assertEquals(2, trib_token_adjustment.generated_count(entry));
            assertEquals(-1.5f, trib_token_adjustment.bias(entry));
            assertNeighboursUntouched(table, TokenAdjustment.BYTES);
            assertThrows(IndexOutOfBoundsException.class, () -> TokenAdjustment.write(table, 3, 1, 1, 1, 0f));
        }
    }

    @Test
    void entriesOutsideTheTableAreRefused() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment lora = arena.allocate(3 * LoraEntry.BYTES);
            MemorySegment sampling = arena.allocate(3 * SamplingEntry.BYTES);
            assertThrows(IndexOutOfBoundsException.class, () -> LoraEntry.write(lora, 3, 1, 1, 1, 1f, DType.BF16));
            assertThrows(IndexOutOfBoundsException.class, () -> LoraEntry.clear(lora, -1));
            assertThrows(IndexOutOfBoundsException.class, () -> SamplingEntry.write(sampling, 3, 1, 1f, 1f, 0f, 0, 0));
            assertThrows(IndexOutOfBoundsException.class, () -> SamplingEntry.progress(sampling, -1, 0));
        }
    }

    private static MemorySegment poisoned(Arena arena, long entry) {
        return arena.allocate(3 * entry, Long.BYTES).fill(POISON);
    }

    private static void assertNeighboursUntouched(MemorySegment table, long entry) {
        for (long i = 0; i < table.byteSize(); i++) {
            if (i < entry || i >= 2 * entry) {
                assertEquals(POISON, table.get(ValueLayout.JAVA_BYTE, i));
            }
        }
    }
}
