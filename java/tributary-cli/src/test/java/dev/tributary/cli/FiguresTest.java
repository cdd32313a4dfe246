// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import org.junit.jupiter.api.Test;

final class FiguresTest {
    @Test
    void figuresAreWrittenForPeople() {
        assertEquals("1 token", Figures.count(1, "token"));
        assertEquals("1,234 passes", Figures.count(1234, "pass"));
        assertEquals("8.2 ms", Figures.time(Duration.ofNanos(8_200_000)));
        assertEquals("120 ms", Figures.time(Duration.ofMillis(120)));
        assertEquals("2.50 s", Figures.time(Duration.ofMillis(2500)));
        assertEquals("99.5", Figures.rate(99.5));
        assertEquals("1,235", Figures.rate(1234.6));
        assertEquals("17.4 MB", Figures.bytes(17_400_000));
        assertEquals("0.0122 %", Figures.percent(0.000122));
        assertEquals("0.0 %", Figures.percent(0));
        assertEquals("52.3 %", Figures.percent(0.5234));
    }
}
