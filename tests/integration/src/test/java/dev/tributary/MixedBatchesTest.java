// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.IntBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Everything at once that must not change a text: 300 prompts, greedy and seeded, with penalties, biases and constraints,
 * drafted in every way, in batches that requests join and leave at any time, are cancelled in, and whose cache is so small
 * that they make room for one another, some in host memory and some to be computed anew. Tokens, log-probabilities and all
 * bits of the logits that chose them are those of plain decoding, alone and with memory enough.
 */
class MixedBatchesTest {
    private static final int PROMPTS = 300;
    private static final int SLOTS = 8;
    private static final int AHEAD = 12;
    private static final int CONTEXT = 320;
    private static final List<Speculation> SPECULATIONS = List.of(
            Speculation.adaptive(),
            Speculation.chain(),
            Speculation.tree(16).withPlacement(Speculation.Placement.ALL_NODES),
            Speculation.off(),
            Speculation.tree(32).withPlacement(Speculation.Placement.DEFERRED),
            Speculation.cartesian(2).withPlacement(Speculation.Placement.CHOSEN_NODES),
            Speculation.tree(8).withPlacement(Speculation.Placement.DEFERRED));

    private final List<String> prompts = DemoModel.prompts(PROMPTS, 4711);

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    private static void noRepeats(IntBuffer tokens, TokenMask allowed) {
        allowed.allowAll();
        if (tokens.hasRemaining()) {
            allowed.forbid(tokens.get(tokens.limit() - 1));
        }
    }

    /** What is asked for: each prompt has its own mixture, and every fourth a long text. */
    private static GenerationOptions options(int i, boolean greedy) {
        GenerationOptions.Builder options = GenerationOptions.builder()
                .maxTokens(i % 4 == 0 ? 110 : 12 + i % 13)
                .ignoreEndTokens(i % 4 == 0)
                .logProbabilities(i % 2 == 0)
                .speculation(Speculation.off());
        if (!greedy) {
            options.temperature(0.8f)
                    .topP(i % 2 == 0 ? 0.95f : 1f)
                    .topK(i % 5 == 0 ? 40 : 0)
                    .seed(9000 + i);
        }
        if (i % 4 != 3) {
            options.repetitionPenalty(1.05f + i % 4 * 0.1f)
                    .presencePenalty(i % 5 * 0.2f)
                    .frequencyPenalty(0.3f);
        }
        if (i % 5 == 1) {
            options.logitBias(Map.of(i, 3f, 40, -100f));
        }
        if (i % 7 == 4) {
            options.stopStrings(List.of("WHERE ", "pencils"));
        }
        if (i % 6 == 2) {
            options.constraint(MixedBatchesTest::noRepeats);
        }
        return options.build();
    }

    /** A text as plain decoding gives it. */
    private record Plain(int[] tokens, float[] logProbabilities, List<Integer> logits) {}

    private static final class Run {
        final int prompt;
        final Generation generation;
        final List<Integer> logits;

        Run(int prompt, Generation generation, List<Integer> logits) {
            this.prompt = prompt;
            this.generation = generation;
            this.logits = logits;
        }
    }

    private LoadOptions.Builder load() {
        return LoadOptions.builder().device(device()).maxSequences(SLOTS).contextTokens(CONTEXT);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void textsAreThoseOfPlainDecodingAlone(boolean greedy) {
        Map<Integer, Plain> plain = new HashMap<>();
        long page;
        try (LanguageModel alone = DemoModel.load(load().prefixSharing(false).build())) {
            page = alone.info().cacheBytes() / alone.pages();
            for (int i = 0; i < PROMPTS; i++) {
                List<Integer> logits = new ArrayList<>();
                try (Generation text = generate(alone, i, options(i, greedy), logits)) {
                    plain.put(i, new Plain(text.tokens(), text.logProbabilities(), logits));
                }
            }
        }
        Random random = new Random(greedy ? 1 : 2);
        int cancelled = 0;
        LoadOptions cramped = load().cacheTokens(9 * 64)
                .prefixSharing(greedy)
                .swapMemory(greedy ? 3 * page : 0)
                .build();
        try (LanguageModel model = DemoModel.load(cramped)) {
            Deque<Run> running = new ArrayDeque<>();
            for (int i = 0; i < PROMPTS; i++) {
                if (i % 4 == 1) {
                    // One that does not live to its end.
                    Generation doomed = model.generate(
                            prompts.get(random.nextInt(PROMPTS)),
                            options(0, greedy).toBuilder()
                                    .maxTokens(200)
                                    .speculation(SPECULATIONS.get(i % SPECULATIONS.size()))
                                    .priority(random.nextInt(3))
                                    .build());
                    if (i % 8 == 1) {
                        doomed.iterator().next();
                    }
                    doomed.close();
                    cancelled++;
                }
                GenerationOptions drafted = options(i, greedy).toBuilder()
                        .speculation(SPECULATIONS.get(random.nextInt(SPECULATIONS.size())))
                        .priority(random.nextInt(4) == 0 ? random.nextInt(-2, 3) : 0)
                        .build();
                List<Integer> logits = new ArrayList<>();
                running.add(new Run(i, generate(model, i, drafted, logits), logits));
                if (running.size() == AHEAD) {
                    requireEqual(plain, running.remove());
                }
            }
            while (!running.isEmpty()) {
                requireEqual(plain, running.remove());
            }
            ModelStats stats = model.stats();
            assertEquals(PROMPTS, stats.completedRequests());
            assertEquals(0, stats.failedRequests());
            assertEquals(model.pages(), model.freePages());
            assertEquals(0, stats.swappedBytes());
            assertTrue(cancelled > PROMPTS / 5);
            assertTrue(stats.preemptions() > 5, stats.preemptions() + " preemptions");
            assertTrue(greedy || stats.recomputedTokens() > 0, "without host memory nothing was computed anew");
        }
    }

    /** Every third is watched: a pass that nobody watches keeps no logits where all its choices are greedy. */
    private Generation generate(LanguageModel model, int i, GenerationOptions options, List<Integer> logits) {
        return i % 3 == 0
                ? model.generate(prompts.get(i), options, LogitBits.into(logits))
                : model.generate(prompts.get(i), options);
    }

    private void requireEqual(Map<Integer, Plain> plain, Run run) {
        Plain expected = java.util.Objects.requireNonNull(plain.get(run.prompt));
        String prompt = run.prompt + ": " + prompts.get(run.prompt);
        try (Generation generation = run.generation) {
            assertArrayEquals(expected.tokens, generation.tokens(), prompt);
            float[] given = generation.logProbabilities();
            assertEquals(expected.logProbabilities.length, given.length, prompt);
            for (int i = 0; i < given.length; i++) {
                assertEquals(
                        Float.floatToRawIntBits(expected.logProbabilities[i]),
                        Float.floatToRawIntBits(given[i]),
                        prompt);
            }
            assertEquals(expected.logits, run.logits, prompt);
        }
    }
}
