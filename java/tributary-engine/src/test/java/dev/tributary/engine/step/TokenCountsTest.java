// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.tributary.engine.tree.TokenTree;
import dev.tributary.kernels.TokenAdjustment;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** A table's entries are the occurrences in prompt and text, each token once, and those of the pass's tree. */
class TokenCountsTest {
    private record Entry(int inPrompt, int inText, float bias) {}

    private static Map<Integer, Entry> entries(TokenCounts counts) {
        Map<Integer, Entry> entries = new HashMap<>();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment table = arena.allocate(counts.size() * TokenAdjustment.BYTES, Integer.BYTES);
            counts.write(table);
            for (long at = 0; at < table.byteSize(); at += TokenAdjustment.BYTES) {
                Entry entry = new Entry(
                        table.get(JAVA_INT, at + 4), table.get(JAVA_INT, at + 8), table.get(JAVA_FLOAT, at + 12));
                assertNull(entries.put(table.get(JAVA_INT, at), entry), "a token has one entry");
            }
        }
        return entries;
    }

    @Test
    void countsPromptAndText() {
        Random random = new Random(7);
        for (int round = 0; round < 20; round++) {
            int vocabulary = 10 + random.nextInt(20_000);
            int[] prompt = random.ints(random.nextInt(3000), 0, vocabulary).toArray();
            Map<Integer, Float> biases = new HashMap<>();
            random.ints(random.nextInt(50), 0, vocabulary).forEach(token -> biases.put(token, random.nextFloat()));
            TokenCounts counts = new TokenCounts(prompt, biases, true);
            Map<Integer, Entry> expected = new HashMap<>();
            biases.forEach((token, bias) -> expected.put(token, new Entry(0, 0, bias)));
            for (int token : prompt) {
                expected.merge(token, new Entry(1, 0, 0), (a, b) -> new Entry(a.inPrompt + 1, a.inText, a.bias));
            }
            for (int pass = 0; pass < 300; pass++) {
                int token = random.nextInt(vocabulary);
                counts.add(token);
                expected.merge(token, new Entry(0, 1, 0), (a, b) -> new Entry(a.inPrompt, a.inText + 1, a.bias));
                TokenTree tree = new TokenTree();
                tree.reset(random.nextInt(vocabulary));
                for (int node = 1; node < 32; node++) {
                    tree.add(random.nextInt(node), random.nextInt(vocabulary), 0.5f);
                }
                counts.prepare(tree);
                if (pass % 50 == 0) {
                    Map<Integer, Entry> withDraft = new HashMap<>(expected);
                    for (int node = 0; node < tree.size(); node++) {
                        withDraft.putIfAbsent(tree.token(node), new Entry(0, 0, 0));
                    }
                    assertEquals(withDraft, entries(counts));
                }
            }
        }
    }

    @Test
    void biasesAloneCountNothing() {
        TokenCounts counts = new TokenCounts(new int[] {1, 2, 3}, Map.of(2, 1.5f), false);
        counts.add(9);
        TokenTree tree = new TokenTree();
        tree.reset(4);
        counts.prepare(tree);
        assertEquals(Map.of(2, new Entry(0, 0, 1.5f)), entries(counts));
    }
}
