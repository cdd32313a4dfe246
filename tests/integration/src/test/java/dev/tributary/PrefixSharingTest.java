// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What texts have in common at their beginning is computed once, and no bit of any text changes by it. */
@Timeout(300)
class PrefixSharingTest {
    private static final int PREFIX_TOKENS = 1000;

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    private LoadOptions.Builder options() {
        return LoadOptions.builder().device(device());
    }

    /** A text of about so many tokens: worked examples, as one puts them before a question. */
    private static String examples(LanguageModel model, int tokens, long seed) {
        StringBuilder text = new StringBuilder();
        for (String prompt : DemoModel.prompts(200, seed)) {
            if (model.tokenize(text + prompt).length > tokens) {
                break;
            }
            text.append(prompt).append(" SELECT 1\n\n");
        }
        while (model.tokenize(text.toString()).length < tokens) {
            text.append('.').append(' ').append(text.length());
        }
        return text.toString();
    }

    /** Bits of the logits behind each token, and the tokens. */
    private static List<Integer> bits(LanguageModel model, String prompt, GenerationOptions options) {
        List<Integer> bits = new ArrayList<>();
        try (Generation generation = model.generate(prompt, options, LogitBits.into(bits))) {
            for (int token : generation.tokens()) {
                bits.add(token);
            }
        }
        return bits;
    }

    private static GenerationOptions greedy(int tokens) {
        return GenerationOptions.builder().maxTokens(tokens).build();
    }

    private static GenerationOptions sampled(int tokens, long seed) {
        return greedy(tokens).toBuilder().temperature(0.9f).seed(seed).build();
    }

    @Test
    void aSharedPrefixOfAThousandTokensIsReadOnce() {
        LanguageModel model = DemoModel.load(options().build());
        int firstTokens;
        int secondTokens;
        int sharedTokens;
        try (model;
                LanguageModel alone =
                        DemoModel.load(options().prefixSharing(false).build())) {
            String prefix = examples(model, PREFIX_TOKENS, 5);
            String first = prefix + " a";
            String second = prefix + " b";
            firstTokens = model.tokenize(first).length;
            secondTokens = model.tokenize(second).length;
            try (Generation generation = model.generate(first, greedy(1))) {
                generation.text();
                assertEquals(firstTokens, generation.stats().promptTokens());
                assertEquals(0, generation.stats().sharedPromptTokens());
            }
            try (Generation generation = model.generate(second, greedy(1))) {
                generation.text();
                assertEquals(secondTokens, generation.stats().promptTokens());
                sharedTokens = generation.stats().sharedPromptTokens();
            }
            int rows = secondTokens - sharedTokens;
            assertTrue(100 * rows <= firstTokens, rows + " rows of " + firstTokens);
            assertEquals(bits(alone, first, greedy(16)), bits(model, first, greedy(16)));
            assertEquals(bits(alone, second, greedy(16)), bits(model, second, greedy(16)));
        }
        // Steps are counted when they have ended, which may be behind the text's end.
        ModelStats stats = model.stats();
        assertEquals(2L * (firstTokens + secondTokens), stats.promptTokens() + stats.sharedPromptTokens());
        assertTrue(stats.sharedPromptTokens() >= 3L * sharedTokens, stats::toString);
        assertEquals(stats.sharedPromptTokens() / 2.0 / (firstTokens + secondTokens), stats.prefixHitRate(), 1e-9);
        assertTrue(stats.pagesCached() >= PREFIX_TOKENS / 64);
        assertEquals(0, stats.pagesInUse());
    }

    @Test
    void noTextAndNoLogitChangesByWhatWasSharedWhateverItsLength() {
        LanguageModel model = DemoModel.load(options().build());
        try (model;
                LanguageModel alone =
                        DemoModel.load(options().prefixSharing(false).build())) {
            // Prompts that end just before, at and behind the border of a page, and continue what others generated.
            String text = examples(model, 400, 7);
            for (int length = text.length(); length > text.length() / 2; length -= 61) {
                String prompt = text.substring(0, length);
                GenerationOptions options = length % 2 == 0 ? greedy(70) : sampled(70, length);
                assertEquals(bits(alone, prompt, options), bits(model, prompt, options), prompt);
                String longer = prompt + alone.generate(prompt, options).text() + " and";
                assertEquals(bits(alone, longer, greedy(8)), bits(model, longer, greedy(8)), longer);
            }
        }
        assertTrue(model.stats().prefixHitRate() > 0.7, model.stats().toString());
    }

    @Test
    void thoseWhoBeginTogetherShareToo() {
        LanguageModel model = DemoModel.load(options().build());
        int tokens = 0;
        try (model;
                LanguageModel alone =
                        DemoModel.load(options().prefixSharing(false).build())) {
            String prefix = examples(model, 700, 9);
            List<Generation> together = new ArrayList<>();
            List<String> expected = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                String prompt = prefix + " question " + i;
                tokens += model.tokenize(prompt).length;
                GenerationOptions options = i % 2 == 0 ? greedy(60) : sampled(60, i);
                expected.add(alone.generate(prompt, options).text());
                together.add(model.generate(prompt, options));
            }
            for (int i = 0; i < 8; i++) {
                assertEquals(expected.get(i), together.get(i).text());
            }
            together.forEach(Generation::close);
        }
        assertTrue(model.stats().promptTokens() < tokens / 3, model.stats().promptTokens() + " of " + tokens);
    }

    @Test
    void whatIsKeptGivesWayWhenMemoryIsWanted() {
        LoadOptions small = options()
                .maxSequences(2)
                .contextTokens(512)
                .cacheTokens(14 * 64)
                .build();
        try (LanguageModel model = DemoModel.load(small);
                LanguageModel alone =
                        DemoModel.load(options().prefixSharing(false).build())) {
            for (int round = 0; round < 2; round++) {
                for (int i = 0; i < 8; i++) {
                    String prompt = examples(model, 200, 100 + i);
                    assertEquals(
                            alone.generate(prompt, greedy(40)).text(),
                            model.generate(prompt, greedy(40)).text());
                }
            }
            assertTrue(model.stats().pagesCached() > 0, model.stats().toString());
            assertEquals(model.pages(), model.freePages());
        }
    }
}
