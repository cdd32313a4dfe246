// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Models of every family with random weights and random streams, whole: memory, types, and that speculation changes
 * nothing. Texts grow far beyond the windows of those that have one, and trees stand across their borders.
 */
class FamiliesTest {
    private static final String CHARACTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!";
    private static final int PROMPTS = 4;
    private static final int CONTEXT = 128;

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    /** {@return bytes that a device takes beside what a model reports} */
    long slack() {
        return 0;
    }

    private LoadOptions.Builder options() {
        return LoadOptions.builder().device(device()).contextTokens(CONTEXT).maxSequences(4);
    }

    private static Path directory(String name) {
        return Path.of(System.getProperty("tributary.root"), "tests", "fixtures", "models", name);
    }

    private static List<String> prompts() {
        Random random = new Random(5);
        List<String> prompts = new ArrayList<>();
        for (int i = 0; i < PROMPTS; i++) {
            StringBuilder prompt = new StringBuilder();
            for (int length = 5 + 18 * i; length > 0; length--) {
                prompt.append(CHARACTERS.charAt(random.nextInt(CHARACTERS.length())));
            }
            prompts.add(prompt.toString());
        }
        return prompts;
    }

    private static List<Speculation> speculations() {
        return List.of(
                Speculation.chain().withPlacement(Speculation.Placement.ALL_NODES),
                Speculation.tree(24).withPlacement(Speculation.Placement.CHOSEN_NODES),
                Speculation.tree(24).withPlacement(Speculation.Placement.DEFERRED),
                Speculation.cartesian(2).withPlacement(Speculation.Placement.ALL_NODES));
    }

    /** Every second prompt is sampled. */
    private static GenerationOptions options(Speculation speculation, int prompt) {
        GenerationOptions.Builder options =
                GenerationOptions.builder().maxTokens(60).ignoreEndTokens(true).speculation(speculation);
        return (prompt % 2 == 0
                        ? options
                        : options.temperature(0.9f).topP(0.95f).seed(prompt))
                .build();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "tiny-mistral",
                "tiny-mistral-whole",
                "tiny-qwen2",
                "tiny-qwen2-window",
                "tiny-qwen3",
                "tiny-qwen3-fp32",
                "tiny-phi3",
                "tiny-phi3-classic"
            })
    void speculationChangesNoToken(String name) {
        try (LanguageModel model = LanguageModel.load(directory(name), options().build())) {
            List<String> prompts = prompts();
            int fewerPasses = 0;
            List<int[]> plain = new ArrayList<>();
            for (int i = 0; i < PROMPTS; i++) {
                try (Generation generation = model.generate(prompts.get(i), options(Speculation.off(), i))) {
                    plain.add(generation.tokens());
                }
            }
            for (Speculation speculation : speculations()) {
                List<Generation> together = new ArrayList<>();
                for (int i = 0; i < PROMPTS; i++) {
                    together.add(model.generate(prompts.get(i), options(speculation, i)));
                }
                for (int i = 0; i < PROMPTS; i++) {
                    try (Generation generation = together.get(i)) {
                        assertArrayEquals(plain.get(i), generation.tokens(), speculation + ": " + prompts.get(i));
                        fewerPasses +=
                                generation.stats().tokens() - generation.stats().passes();
                    }
                }
            }
            assertTrue(fewerPasses > 20, "drafts of random streams are accepted now and then, got " + fewerPasses);
            assertEquals(model.pages(), model.freePages());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-mistral", "tiny-qwen2-window", "tiny-qwen3", "tiny-phi3"})
    void logitsOfAcceptedNodesAreBitEqualToPlainDecoding(String name) {
        try (LanguageModel model = LanguageModel.load(directory(name), options().build())) {
            String prompt = prompts().get(2);
            List<Integer> plain = LogitBits.of(model, prompt, options(Speculation.off(), 0));
            for (Speculation speculation : speculations()) {
                assertEquals(plain, LogitBits.of(model, prompt, options(speculation, 0)), speculation.toString());
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-mistral, mistral, bf16",
        "tiny-mistral-whole, mistral, fp16",
        "tiny-qwen2, qwen2, bf16",
        "tiny-qwen2-window, qwen2, fp16",
        "tiny-qwen3, qwen3, bf16",
        "tiny-qwen3-fp32, qwen3, bf16",
        "tiny-phi3, phi3, bf16",
        "tiny-phi3-classic, phi3, fp16"
    })
    void memoryIsBudgetedBeforeAnythingIsUploaded(String name, String family, String type) {
        List<String> notices = new ArrayList<>();
        List<Long> uploaded = new ArrayList<>();
        LoadListener listener = new LoadListener() {
            @Override
            public void notice(String text) {
                notices.add(text);
            }

            @Override
            public void progress(long done, long total) {
                uploaded.add(done);
            }
        };
        LoadOptions.Builder options = options().maxSequences(1).listener(listener);
        ModelInfo info;
        try (LanguageModel model = LanguageModel.load(directory(name), options.build())) {
            info = model.info();
        }
        assertEquals(family, info.architecture());
        assertEquals(type, info.weightType());
        assertEquals(
                name.endsWith("fp32"),
                notices.contains("the weights are fp32 and are rounded to bf16"),
                notices::toString);
        assertFalse(uploaded.isEmpty());

        uploaded.clear();
        long needed = info.weightBytes() + info.cacheBytes() + info.workspaceBytes();
        LoadOptions less = options.memoryLimit(needed - 1).build();
        var refusal = assertThrows(InsufficientMemoryException.class, () -> LanguageModel.load(directory(name), less));
        for (long figure : new long[] {info.weightBytes(), info.cacheBytes(), info.workspaceBytes(), needed - 1}) {
            String megabytes = String.format(Locale.ROOT, "%.1f MB", figure / 1e6);
            assertTrue(String.valueOf(refusal.getMessage()).contains(megabytes), refusal::getMessage);
        }
        assertTrue(uploaded.isEmpty(), "it was refused after an upload had begun");

        LoadOptions enough = options.memoryLimit(needed + slack()).build();
        try (LanguageModel model = LanguageModel.load(directory(name), enough)) {
            assertEquals(info.cacheBytes(), model.info().cacheBytes());
            assertEquals(
                    10,
                    model.generate(
                                    "Is it enough?",
                                    options(Speculation.tree(16), 1).toBuilder()
                                            .maxTokens(10)
                                            .build())
                            .tokens()
                            .length);
        }
    }
}
