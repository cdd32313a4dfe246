// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

class Bfloat16Test {
    private static float value(short bf16) {
        return Float.intBitsToFloat(bf16 << 16);
    }

    /** The nearest of the two neighbours, measured in fp64; at equal distance the even one. */
    @Test
    void roundsToTheNearest() {
        Random random = new Random(5);
        for (int i = 0; i < 2_000_000; i++) {
            int bits = i < 70_000 ? (i << 15) | (0x4000 & random.nextInt()) : random.nextInt();
            float x = Float.intBitsToFloat(bits);
            short got = Bfloat16.round(bits);
            if (Float.isNaN(x)) {
                assertTrue(Float.isNaN(value(got)));
                continue;
            }
            short down = (short) (bits >>> 16);
            short up = (short) (down + 1);
            if (Float.isInfinite(value(up)) || Float.isInfinite(value(down)) || Float.isNaN(value(up))) {
                continue;
            }
            double toDown = Math.abs((double) x - value(down));
            double toUp = Math.abs((double) value(up) - x);
            short expected = toDown < toUp || (toDown == toUp && (down & 1) == 0) ? down : up;
            assertEquals(expected, got, () -> Integer.toHexString(bits));
        }
    }

    @Test
    void extremes() {
        assertEquals(Float.POSITIVE_INFINITY, value(Bfloat16.round(Float.floatToIntBits(Float.MAX_VALUE))));
        assertEquals(Float.NEGATIVE_INFINITY, value(Bfloat16.round(Float.floatToIntBits(Float.NEGATIVE_INFINITY))));
        assertTrue(Float.isNaN(value(Bfloat16.round(0x7f80_0001))));
        assertTrue(Float.isNaN(value(Bfloat16.round(0xffff_ffff))));
        assertEquals((short) 0x8000, Bfloat16.round(0x8000_0000));
    }

    @Test
    void roundsSegments() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment from = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, -2.5f, 3.14159f);
            MemorySegment to = arena.allocate(6);
            Bfloat16.round(from, to);
            assertEquals(1f, value(to.getAtIndex(ValueLayout.JAVA_SHORT, 0)));
            assertEquals(-2.5f, value(to.getAtIndex(ValueLayout.JAVA_SHORT, 1)));
            assertEquals(3.140625f, value(to.getAtIndex(ValueLayout.JAVA_SHORT, 2)));
        }
    }
}
