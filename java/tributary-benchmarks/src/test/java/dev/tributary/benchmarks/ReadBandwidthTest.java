// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

final class ReadBandwidthTest {
    @Test
    void everyLineOfTheBufferIsRead() {
        try (ReadBandwidth memory = new ReadBandwidth(3)) {
            double speed = memory.gigabytesPerSecond();
            // Three threads, each in eight places of whole lines.
            long lines = (1L << 30) / 3 / (64 * 8) * 8 * 3;
            assertTrue(speed > 0);
            assertEquals(lines * 0x0101_0101_0101_0101L, memory.sum());
        }
    }
}
