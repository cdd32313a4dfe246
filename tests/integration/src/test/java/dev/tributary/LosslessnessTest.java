// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Speculation changes no token and no bit of the logits behind it. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class LosslessnessTest {
    private static final int PROMPTS = 24;
    private static final int TOKENS = 64;
    private static final int BATCH = 8;

    private final List<String> prompts = DemoModel.prompts(PROMPTS, 11);

    @SuppressWarnings("NullAway.Init") // before the first test
    private LanguageModel model;

    /** {@return where the model computes; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    @BeforeAll
    void load() {
        model = DemoModel.load(LoadOptions.builder().device(device()).build());
        assertTrue(model.info().streams().isPresent());
    }

    @AfterAll
    @SuppressWarnings("NullAway") // null when loading was skipped
    void close() {
        if (model != null) {
            assertEquals(model.pages(), model.freePages());
            model.close();
        }
    }

    static Stream<Speculation> speculations() {
        List<Speculation> all = new ArrayList<>();
        for (Speculation shape :
                List.of(Speculation.chain(), Speculation.tree(16), Speculation.tree(32), Speculation.cartesian(2))) {
            for (Speculation.Placement placement : Speculation.Placement.values()) {
                all.add(shape.withPlacement(placement));
            }
        }
        all.add(Speculation.adaptive());
        return all.stream();
    }

    private static GenerationOptions greedy(Speculation speculation) {
        return GenerationOptions.builder()
                .maxTokens(TOKENS)
                .speculation(speculation)
                .build();
    }

    private static GenerationOptions sampled(Speculation speculation, long seed) {
        return greedy(speculation).toBuilder()
                .temperature(0.8f)
                .topP(0.95f)
                .seed(seed)
                .build();
    }

    private static GenerationOptions options(Speculation speculation, int prompt, boolean greedy) {
        return greedy ? greedy(speculation) : sampled(speculation, 1000 + prompt);
    }

    @ParameterizedTest
    @MethodSource("speculations")
    void textsAndTokensEqualPlainDecoding(Speculation speculation) {
        for (boolean greedy : new boolean[] {true, false}) {
            for (int i = 0; i < PROMPTS; i++) {
                try (Generation plain = model.generate(prompts.get(i), options(Speculation.off(), i, greedy));
                        Generation drafted = model.generate(prompts.get(i), options(speculation, i, greedy))) {
                    assertEquals(plain.text(), drafted.text(), prompts.get(i));
                    assertArrayEquals(plain.tokens(), drafted.tokens(), prompts.get(i));
                    assertEquals(plain.finishReason(), drafted.finishReason(), prompts.get(i));
                }
            }
        }
    }

    @Test
    void textsEqualPlainDecodingInMixedBatches() {
        List<Speculation> mixed = speculations().toList();
        for (boolean greedy : new boolean[] {true, false}) {
            List<String> plain = new ArrayList<>();
            for (int i = 0; i < PROMPTS; i++) {
                plain.add(model.generate(prompts.get(i), options(Speculation.off(), i, greedy))
                        .text());
            }
            for (int round = 0; round < mixed.size(); round += 4) {
                for (int first = 0; first < PROMPTS; first += BATCH) {
                    List<Generation> together = new ArrayList<>();
                    for (int i = first; i < first + BATCH; i++) {
                        Speculation speculation =
                                i % 5 == 4 ? Speculation.off() : mixed.get((round + i) % mixed.size());
                        together.add(model.generate(prompts.get(i), options(speculation, i, greedy)));
                    }
                    for (int i = 0; i < BATCH; i++) {
                        assertEquals(plain.get(first + i), together.get(i).text(), prompts.get(first + i));
                    }
                }
            }
        }
    }

    @Test
    void aGreedyTextIsDraftedAlikeBesideSampledOnes() {
        for (Speculation.Placement placement :
                List.of(Speculation.Placement.ALL_NODES, Speculation.Placement.DEFERRED)) {
            GenerationOptions traced = greedy(Speculation.tree(16).withPlacement(placement)).toBuilder()
                    .trace(true)
                    .build();
            for (int first = 0; first < PROMPTS; first += BATCH) {
                List<List<PassTrace>> alone = new ArrayList<>();
                for (int i = first; i < first + BATCH; i += 2) {
                    alone.add(model.generate(prompts.get(i), traced).trace());
                }
                List<Generation> together = new ArrayList<>();
                for (int i = first; i < first + BATCH; i++) {
                    GenerationOptions options =
                            i % 2 == 0 ? traced : sampled(Speculation.tree(8).withPlacement(placement), i);
                    together.add(model.generate(prompts.get(i), options));
                }
                for (int i = 0; i < BATCH; i += 2) {
                    assertEquals(alone.get(i / 2), together.get(i).trace(), prompts.get(first + i));
                }
            }
        }
    }

    @Test
    void logitsOfAcceptedNodesAreBitEqualToPlainDecoding() {
        for (int i = 0; i < 8; i++) {
            List<Integer> plain = LogitBits.of(model, prompts.get(i), greedy(Speculation.off()));
            for (Speculation speculation : speculations().toList()) {
                assertEquals(plain, LogitBits.of(model, prompts.get(i), greedy(speculation)), speculation.toString());
            }
        }
    }

    @Test
    void placementChangesNoDraft() {
        for (String prompt : prompts.subList(0, 8)) {
            List<List<PassTrace>> traces = new ArrayList<>();
            for (Speculation.Placement placement :
                    List.of(Speculation.Placement.ALL_NODES, Speculation.Placement.DEFERRED)) {
                GenerationOptions options = greedy(Speculation.tree(16).withPlacement(placement)).toBuilder()
                        .trace(true)
                        .build();
                traces.add(model.generate(prompt, options).trace());
            }
            assertEquals(traces.get(0), traces.get(1), prompt);
        }
    }

    @Test
    void draftsAreAccepted() {
        int tokens = 0;
        int passes = 0;
        for (String prompt : prompts) {
            try (Generation generation = model.generate(prompt, greedy(Speculation.tree(16)))) {
                generation.text();
                tokens += generation.stats().tokens() - 1;
                passes += generation.stats().passes();
            }
        }
        assertTrue(tokens > 1.5 * passes, tokens + " tokens in " + passes + " passes");
    }

    @Test
    void endsAreWherePlainDecodingEnds() {
        for (String prompt : prompts.subList(0, 8)) {
            String whole = model.generate(prompt, greedy(Speculation.off())).text();
            for (int limit = 1; limit < 12; limit++) {
                for (Speculation speculation : List.of(Speculation.off(), Speculation.tree(32))) {
                    GenerationOptions options = GenerationOptions.builder()
                            .maxTokens(limit)
                            .speculation(speculation)
                            .build();
                    try (Generation generation = model.generate(prompt, options)) {
                        assertTrue(whole.startsWith(generation.text()), prompt);
                        assertTrue(generation.tokens().length <= limit, prompt);
                        if (generation.finishReason() == FinishReason.MAX_TOKENS) {
                            assertEquals(limit, generation.tokens().length, prompt);
                        }
                    }
                }
            }
            int middle = whole.length() / 2;
            String stop = whole.substring(middle, Math.min(whole.length(), middle + 3));
            String expected = whole.substring(0, whole.indexOf(stop));
            for (Speculation speculation : List.of(Speculation.off(), Speculation.chain(), Speculation.tree(32))) {
                GenerationOptions options = greedy(speculation).toBuilder()
                        .stopStrings(List.of(stop))
                        .build();
                try (Generation generation = model.generate(prompt, options)) {
                    assertEquals(expected, generation.text(), prompt);
                    assertEquals(FinishReason.STOP_STRING, generation.finishReason(), prompt);
                }
            }
        }
    }

    @Test
    void theContextLimitEndsTheText() {
        LoadOptions small = LoadOptions.builder()
                .device(device())
                .contextTokens(96)
                .maxSequences(2)
                .build();
        try (LanguageModel limited = DemoModel.load(small)) {
            for (String prompt : prompts.subList(0, 8)) {
                int room = 96 - limited.tokenize(prompt).length;
                List<int[]> tokens = new ArrayList<>();
                for (Speculation speculation : List.of(Speculation.off(), Speculation.tree(32))) {
                    GenerationOptions options = GenerationOptions.builder()
                            .maxTokens(1000)
                            .ignoreEndTokens(true)
                            .speculation(speculation)
                            .build();
                    try (Generation generation = limited.generate(prompt, options)) {
                        assertEquals(FinishReason.CONTEXT_LIMIT, generation.finishReason());
                        tokens.add(generation.tokens());
                    }
                }
                assertEquals(room, tokens.getFirst().length, prompt);
                assertArrayEquals(tokens.get(0), tokens.get(1), prompt);
            }
        }
    }
}
