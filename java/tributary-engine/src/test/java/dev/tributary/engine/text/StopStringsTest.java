// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.ConfigurationException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class StopStringsTest {
    /** The rule, written plainly: the first end of any stop string; there, the earliest beginning. */
    private static int cut(String text, List<String> stops) {
        for (int end = 1; end <= text.length(); end++) {
            int begin = Integer.MAX_VALUE;
            for (String stop : stops) {
                if (text.substring(0, end).endsWith(stop)) {
                    begin = Math.min(begin, end - stop.length());
                }
            }
            if (begin < Integer.MAX_VALUE) {
                return begin;
            }
        }
        return -1;
    }

    @Test
    void cutsAtTheFirstOccurrenceHoweverTheTextArrives() {
        Random random = new Random(11);
        for (int round = 0; round < 20_000; round++) {
            String text = word(random, 30);
            List<String> stops = new ArrayList<>();
            for (int i = random.nextInt(4); i > 0; i--) {
                stops.add(word(random, 5));
            }
            StopStrings filter = new StopStrings(stops);
            StringBuilder got = new StringBuilder();
            int at = 0;
            while (at < text.length()) {
                int next = Math.min(text.length(), at + random.nextInt(4));
                got.append(filter.append(text.substring(at, next)));
                at = next;
                String soFar = got.toString();
                assertTrue(text.startsWith(soFar), soFar);
            }
            got.append(filter.flush());
            int cut = cut(text, stops);
            String message = "seed 11, round " + round + ": " + text + " " + stops;
            assertEquals(cut >= 0, filter.stopped(), message);
            assertEquals(cut >= 0 ? text.substring(0, cut) : text, got.toString(), message);
        }
    }

    private static String word(Random random, int max) {
        StringBuilder word = new StringBuilder();
        for (int i = 1 + random.nextInt(max); i > 0; i--) {
            word.append((char) ('a' + random.nextInt(3)));
        }
        return word.toString();
    }

    @Test
    void holdsBackNoMoreThanCouldBelongToAStop() {
        StopStrings filter = new StopStrings(List.of("\n\n", "</s>"));
        assertEquals("a", filter.append("a\n"));
        assertEquals("\nb", filter.append("b<"));
        assertEquals("</", filter.append("/</"));
        assertEquals("", filter.append("s"));
        assertEquals("", filter.append("> more"));
        assertTrue(filter.stopped());
        assertEquals("", filter.append("more"));
        assertEquals("", filter.flush());
    }

    @Test
    void withoutStopsNothingWaits() {
        StopStrings filter = new StopStrings(List.of());
        assertEquals("any 😀", filter.append("any 😀"));
        assertFalse(filter.stopped());
    }

    @Test
    void emptyOrBrokenStopsAreRefused() {
        assertThrows(ConfigurationException.class, () -> new StopStrings(List.of("a", "")));
        assertThrows(ConfigurationException.class, () -> new StopStrings(List.of("\uDE00")));
    }
}
