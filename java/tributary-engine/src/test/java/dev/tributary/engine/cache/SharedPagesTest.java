// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.device.Limits;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Sequences that begin alike hold the same pages, and nobody ever sees what another wrote. */
class SharedPagesTest {
    private static final int PAGE = Limits.PAGE_TOKENS;
    private static final int MOST_PAGES = 6;
    private static final int LAYERS = 2;

    /** A sequence with its tokens, and a memory in which each slot says which tokens led to it. */
    private static final class Text {
        final SequenceCache cache;
        final int[] tokens;

        Text(PagePool pool, int[] tokens) {
            cache = new SequenceCache(pool, MOST_PAGES + 1);
            this.tokens = tokens;
        }
    }

    private static long[] states(int[] tokens) {
        long[] states = new long[tokens.length];
        long state = 1;
        for (int i = 0; i < tokens.length; i++) {
            state = 0x9E37_79B9_7F4A_7C15L * (state + tokens[i] + 1);
            states[i] = state;
        }
        return states;
    }

    private static CacheMemory memory(int pages) {
        return new CacheMemory(
                Pools.memory((long) LAYERS * pages * PAGE * Long.BYTES), LAYERS, pages, (long) PAGE * Long.BYTES);
    }

    private static PagePool pool(int pages) {
        return new PagePool(memory(pages), true);
    }

    private static long at(CacheMemory memory, int layer, Text text, int slot) {
        return ((long) layer * memory.pages() + text.cache.page(slot / PAGE)) * memory.pageBytes()
                + (long) slot % PAGE * Long.BYTES;
    }

    /** As a pass does: reads what is committed, writes behind it. */
    private static void compute(Text text, int rows, CacheMemory memory) {
        long[] states = states(text.tokens);
        long[] word = new long[1];
        MemorySegment segment = MemorySegment.ofArray(word);
        for (int layer = 0; layer < LAYERS; layer++) {
            for (int slot = 0; slot < text.cache.length(); slot++) {
                memory.memory().read(at(memory, layer, text, slot), segment);
                assertEquals(states[slot] + layer, word[0], "slot " + slot);
            }
        }
        text.cache.reserve(rows);
        for (int layer = 0; layer < LAYERS; layer++) {
            for (int slot = text.cache.length(); slot < text.cache.length() + rows; slot++) {
                word[0] = states[slot] + layer;
                memory.memory().write(at(memory, layer, text, slot), segment);
            }
        }
    }

    private static int[] random(Random random, int count) {
        int[] tokens = new int[count];
        // Few choices, so that many texts begin alike and part at different places.
        for (int i = 0; i < count; i++) {
            tokens[i] = i % 24 == 0 ? random.nextInt(2) : i;
        }
        return tokens;
    }

    @Test
    void everySequenceReadsItsOwnTokensWhateverIsSharedAndForgotten() {
        int found = 0;
        for (long seed = 0; seed < 60; seed++) {
            Random random = new Random(seed);
            CacheMemory memory = memory(4 * MOST_PAGES);
            PagePool pool = new PagePool(memory, true);
            List<Text> running = new ArrayList<>();
            for (int step = 0; step < 400; step++) {
                if (running.size() < 3) {
                    running.add(new Text(pool, random(random, PAGE * MOST_PAGES)));
                }
                Text text = running.get(random.nextInt(running.size()));
                found += text.cache.adopt(text.tokens, text.tokens.length - 1, 99);
                int left = text.tokens.length - text.cache.length();
                if (left == 0 || random.nextInt(12) == 0) {
                    text.cache.close();
                    running.remove(text);
                } else {
                    int rows = 1 + random.nextInt(Math.min(left, 2 * PAGE));
                    compute(text, rows, memory);
                    text.cache.commit(text.tokens, text.cache.length(), random.nextInt(rows + 1));
                }
                Set<Integer> held = new HashSet<>();
                for (Text each : running) {
                    for (int i = 0; i < each.cache.pageCount(); i++) {
                        held.add(each.cache.page(i));
                    }
                }
                assertEquals(pool.capacity(), pool.available() + held.size(), "seed " + seed);
            }
            running.forEach(text -> text.cache.close());
            assertEquals(pool.capacity(), pool.available());
        }
        assertTrue(found > 10_000, found + " tokens found");
    }

    private static SequenceCache read(PagePool pool, int[] tokens) {
        SequenceCache cache = new SequenceCache(pool, 16);
        cache.adopt(tokens, tokens.length, 99);
        int left = tokens.length - cache.length();
        cache.reserve(left);
        cache.commit(tokens, cache.length(), left);
        return cache;
    }

    @Test
    void whatIsSharedIsPagesOfEqualTokens() {
        PagePool pool = pool(16);
        int[] tokens = new int[3 * PAGE + 10];
        Arrays.setAll(tokens, i -> i);
        try (SequenceCache first = read(pool, tokens);
                SequenceCache second = new SequenceCache(pool, 16)) {
            assertEquals(2 * PAGE, second.adopt(tokens, 2 * PAGE + 7, 99));
            assertEquals(PAGE, second.adopt(tokens, 3 * PAGE, 99));
            assertEquals(0, second.adopt(tokens, tokens.length, 99));
            assertEquals(first.page(2), second.page(2));
            int[] other = tokens.clone();
            other[PAGE + 3]++;
            try (SequenceCache third = read(pool, other)) {
                assertEquals(first.page(0), third.page(0));
                assertNotEquals(first.page(1), third.page(1));
                // Equal tokens behind a different prefix are another page.
                assertNotEquals(first.page(2), third.page(2));
            }
        }
    }

    @Test
    void whatBeginsInTheMiddleOfAPageIsCopied() {
        PagePool pool = pool(8);
        int[] tokens = new int[PAGE + 20];
        Arrays.setAll(tokens, i -> i);
        read(pool, tokens).close();
        assertEquals(2, pool.cached());
        int[] parts = tokens.clone();
        parts[PAGE + 12] = -1;
        try (SequenceCache first = new SequenceCache(pool, 8);
                SequenceCache second = new SequenceCache(pool, 8);
                SequenceCache third = new SequenceCache(pool, 8)) {
            assertEquals(PAGE + 12, first.adopt(parts, parts.length, 99));
            assertEquals(PAGE + 20, second.adopt(tokens, tokens.length, 99));
            assertEquals(first.page(0), second.page(0));
            assertNotEquals(first.page(1), second.page(1));
            first.reserve(8);
            second.reserve(8);
            // From a full page that goes on otherwise, too.
            parts[40] = -1;
            assertEquals(40, third.adopt(parts, parts.length, 99));
            third.reserve(1);
        }
        assertEquals(8, pool.available());
    }

    @Test
    void twoThatComputedTheSameEndUpWithOnePage() {
        PagePool pool = pool(8);
        int[] tokens = new int[PAGE];
        try (SequenceCache first = new SequenceCache(pool, 8);
                SequenceCache second = new SequenceCache(pool, 8)) {
            first.reserve(PAGE);
            second.reserve(PAGE);
            assertEquals(6, pool.available());
            first.commit(tokens, 0, PAGE);
            second.commit(tokens, 0, PAGE);
            assertEquals(first.page(0), second.page(0));
            assertEquals(7, pool.available());
        }
        assertEquals(8, pool.available());
        assertEquals(1, pool.cached());
    }

    @Test
    void whatWasNotUsedForTheLongestTimeGoesFirst() {
        PagePool pool = pool(4);
        int[] old = new int[PAGE];
        int[] recent = new int[2 * PAGE];
        Arrays.fill(recent, 1);
        read(pool, old).close();
        read(pool, recent).close();
        assertEquals(3, pool.cached());
        try (SequenceCache third = new SequenceCache(pool, 4)) {
            third.reserve(3 * PAGE);
            assertEquals(1, pool.cached());
            try (SequenceCache again = new SequenceCache(pool, 4)) {
                assertEquals(0, again.adopt(old, PAGE, 99));
                // Of a prefix the end goes before the beginning.
                assertEquals(PAGE, again.adopt(recent, 2 * PAGE, 99));
                var refusal = assertThrows(IllegalStateException.class, () -> again.reserve(1));
                assertTrue(String.valueOf(refusal.getMessage()).contains("no page left of 4"));
            }
        }
    }

    @Test
    void aSharedPageIsNeverWritten() {
        PagePool pool = pool(4);
        int[] tokens = new int[PAGE];
        try (SequenceCache first = read(pool, tokens)) {
            int page = first.page(0);
            assertThrows(IllegalStateException.class, () -> pool.requireOwn(page));
        }
        int page = pool.take();
        pool.requireOwn(page);
        pool.giveBack(page);
        assertThrows(IllegalStateException.class, () -> pool.requireOwn(page));
        assertThrows(IllegalStateException.class, () -> pool.giveBack(page));
    }

    @Test
    void withoutSharingNothingIsFoundAndNothingKept() {
        PagePool pool = Pools.alone(4);
        int[] tokens = new int[PAGE];
        try (SequenceCache _ = read(pool, tokens);
                SequenceCache second = new SequenceCache(pool, 4)) {
            assertEquals(0, second.adopt(tokens, PAGE, 99));
        }
        assertEquals(0, pool.cached());
        assertEquals(4, pool.available());
    }
}
