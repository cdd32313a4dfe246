// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** fp32 to bf16, round to nearest, ties to even. */
public final class Bfloat16 {
    private static final ValueLayout.OfInt FP32_BITS =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort BF16_BITS =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Bfloat16() {}

    /**
     * {@return bits of the nearest bf16; a NaN stays one}
     *
     * @param bits of an fp32
     */
    public static short round(int bits) {
        if ((bits & 0x7fff_ffff) > 0x7f80_0000) {
            return (short) ((bits >>> 16) | 0x40); // quiet, so that cutting the payload cannot make it infinite
        }
        return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }

    /**
     * Rounds a tensor.
     *
     * @param fp32 the elements, 4 bytes each
     * @param bf16 where they go, 2 bytes each
     */
    public static void round(MemorySegment fp32, MemorySegment bf16) {
        long n = fp32.byteSize() / Float.BYTES;
        if (fp32.byteSize() % Float.BYTES != 0 || bf16.byteSize() != n * Short.BYTES) {
            throw new IllegalArgumentException(
                    "cannot round " + fp32.byteSize() + " bytes of fp32 into " + bf16.byteSize() + " bytes of bf16");
        }
        for (long i = 0; i < n; i++) {
            bf16.set(BF16_BITS, i * Short.BYTES, round(fp32.get(FP32_BITS, i * Float.BYTES)));
        }
    }
}
