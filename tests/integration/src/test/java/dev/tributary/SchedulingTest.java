// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Who runs when, who waits, who is refused, and who makes room. No text depends on it. */
@Timeout(300)
class SchedulingTest {
    private static final GenerationOptions ENDLESS =
            GenerationOptions.builder().maxTokens(1900).ignoreEndTokens(true).build();
    private static final GenerationOptions SHORT =
            GenerationOptions.builder().maxTokens(8).ignoreEndTokens(true).build();

    private final List<String> prompts = DemoModel.prompts(40, 33);

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    private LoadOptions.Builder options() {
        return LoadOptions.builder().device(device());
    }

    private static void awaitAllPagesFree(LanguageModel model) throws InterruptedException {
        for (int i = 0; i < 4000 && model.freePages() != model.pages(); i++) {
            Thread.sleep(5);
        }
        assertEquals(model.pages(), model.freePages());
    }

    /** Ends of requests in their order, as listeners hear of them. */
    private static List<Long> ends(LanguageModel model) {
        List<Long> ends = new CopyOnWriteArrayList<>();
        model.addListener(new ModelListener() {
            @Override
            public void ended(RequestOutcome outcome) {
                ends.add(outcome.request());
            }
        });
        return ends;
    }

    @Test
    void aFullQueueRefusesWithFigures() throws InterruptedException {
        try (LanguageModel model =
                DemoModel.load(options().maxSequences(1).queueCapacity(3).build())) {
            Generation running = model.generate(prompts.get(0), ENDLESS);
            assertTrue(running.iterator().hasNext());
            List<Generation> waiting = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                waiting.add(model.generate(prompts.get(i), SHORT));
            }
            var refusal = assertThrows(QueueFullException.class, () -> model.generate(prompts.get(4), SHORT));
            String message = String.valueOf(refusal.getMessage());
            assertTrue(message.contains("3 requests wait") && message.contains("queueCapacity"), message);
            assertEquals(1, model.stats().refusedRequests());
            assertEquals(4, model.stats().submittedRequests());
            waiting.getFirst().close();
            for (int i = 0; i < 2000 && model.stats().queuedRequests() == 3; i++) {
                Thread.sleep(1);
            }
            waiting.add(model.generate(prompts.get(4), SHORT));
            running.close();
            assertThrows(GenerationCancelledException.class, waiting.getFirst()::text);
            for (Generation generation : waiting.subList(1, 4)) {
                assertEquals(8, generation.tokens().length);
            }
        }
    }

    @Test
    void whoHasPriorityComesFirstAndTheOthersGoOnAsIfNothingHadBeen() {
        try (LanguageModel model = DemoModel.load(options().maxSequences(1).build());
                LanguageModel alone = DemoModel.load(options().build())) {
            List<Long> ends = ends(model);
            GenerationOptions longer = ENDLESS.toBuilder().maxTokens(600).build();
            Generation running = model.generate(prompts.get(0), longer); // 1
            assertTrue(running.iterator().hasNext());
            List<Generation> usual = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                usual.add(model.generate(prompts.get(i), SHORT)); // 2 to 5
            }
            Generation urgent = model.generate(
                    prompts.get(7), SHORT.toBuilder().priority(100).build()); // 6
            Generation unimportant = model.generate(
                    prompts.get(8), SHORT.toBuilder().priority(-100).build()); // 7
            Generation last = model.generate(prompts.get(9), SHORT); // 8
            assertEquals(8, urgent.tokens().length);
            assertEquals(List.of(6L), ends, "the urgent one runs before all, the running one included");
            assertEquals(alone.generate(prompts.get(0), longer).text(), running.text());
            assertTrue(running.stats().preemptions() >= 1);
            unimportant.text();
            last.text();
            assertEquals(List.of(6L, 1L, 2L, 3L, 4L, 5L, 8L, 7L), ends);
            assertEquals(1, model.stats().preemptions());
            assertEquals(0, model.stats().preemptedRequests());
            assertEquals(0, model.stats().swappedBytes());
            usual.forEach(Generation::close);
        }
    }

    @Test
    void aTimeoutEndsWhoRunsAndWhoWaits() throws InterruptedException {
        try (LanguageModel model = DemoModel.load(options().maxSequences(1).build())) {
            Generation running = model.generate(
                    prompts.get(0),
                    ENDLESS.toBuilder().timeout(Duration.ofMillis(40)).build());
            Generation waiting = model.generate(
                    prompts.get(1),
                    ENDLESS.toBuilder().timeout(Duration.ofMillis(1)).build());
            Generation patient = model.generate(
                    prompts.get(2),
                    SHORT.toBuilder().timeout(Duration.ofMinutes(5)).build());
            var late = assertThrows(GenerationTimeoutException.class, waiting::text);
            assertTrue(String.valueOf(late.getMessage()).contains("timeout of 1 ms"), late::getMessage);
            assertThrows(GenerationTimeoutException.class, running::text);
            assertThrows(GenerationTimeoutException.class, () -> running.forEach(part -> {}));
            assertEquals(8, patient.tokens().length);
            assertEquals(2, model.stats().timedOutRequests());
            assertEquals(0, model.stats().failedRequests());
            awaitAllPagesFree(model);
        }
    }

    /** Tokens, and bits of the logits behind each. */
    private record Bits(int[] tokens, List<Integer> logits) {
        static Bits of(LanguageModel model, String prompt, GenerationOptions options) {
            List<Integer> logits = new ArrayList<>();
            try (Generation generation = model.generate(prompt, options, LogitBits.into(logits))) {
                return new Bits(generation.tokens(), logits);
            }
        }
    }

    private GenerationOptions any(int i) {
        GenerationOptions.Builder options =
                GenerationOptions.builder().maxTokens(300).ignoreEndTokens(true);
        if (i % 2 == 1) {
            options.temperature(0.8f).seed(i);
        }
        return switch (i % 4) {
            case 0 -> options.speculation(Speculation.tree(16)).build();
            case 1 -> options.speculation(Speculation.off()).build();
            default -> options.build();
        };
    }

    /** A model of eight sequences whose cache holds little more than one at full length. */
    private LanguageModel cramped(LoadOptions.Builder how) {
        return DemoModel.load(
                how.maxSequences(8).contextTokens(448).cacheTokens(12 * 64).build());
    }

    private void oversubscribe(LoadOptions.Builder how, boolean recomputes) {
        try (LanguageModel model = cramped(how);
                LanguageModel alone =
                        DemoModel.load(options().prefixSharing(false).build())) {
            List<List<Integer>> logits = new ArrayList<>();
            List<Generation> together = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                logits.add(new ArrayList<>());
                together.add(model.generate(prompts.get(i), any(i), LogitBits.into(logits.get(i))));
            }
            for (int i = 0; i < 12; i++) {
                int[] tokens = together.get(i).tokens();
                Bits expected = Bits.of(alone, prompts.get(i), any(i));
                assertTrue(java.util.Arrays.equals(expected.tokens(), tokens), prompts.get(i));
                assertEquals(expected.logits(), logits.get(i), prompts.get(i));
            }
            ModelStats stats = model.stats();
            assertTrue(stats.preemptions() > 0, stats::toString);
            assertTrue(together.getFirst().stats().preemptions() == 0, "the first is never preempted");
            assertEquals(recomputes, stats.recomputedTokens() > 0, stats.recomputedTokens() + " tokens recomputed");
            assertEquals(0, stats.swappedBytes());
            assertEquals(0, stats.preemptedRequests());
            assertEquals(model.pages(), model.freePages());
            together.forEach(Generation::close);
        }
    }

    /** What one that made room would compute anew, others have computed: all of it, up to its pending token. */
    @Test
    void whoMakesRoomGoesOnFromWhatOthersComputed() {
        GenerationOptions same =
                GenerationOptions.builder().maxTokens(300).ignoreEndTokens(true).build();
        try (LanguageModel model = cramped(options().swapMemory(0))) {
            String expected = model.generate(prompts.getFirst(), same).text();
            List<Generation> together = new ArrayList<>();
            for (int i = 0; i < 24; i++) {
                GenerationOptions like = i % 3 == 0
                        ? same.toBuilder().speculation(Speculation.off()).build()
                        : same;
                together.add(model.generate(prompts.get(i % 4 == 3 ? 1 : 0), like));
            }
            for (int i = 0; i < 24; i++) {
                if (i % 4 != 3) {
                    assertEquals(expected, together.get(i).text());
                }
            }
            together.forEach(Generation::close);
            assertTrue(model.stats().preemptions() > 0);
        }
    }

    @Test
    void whoMakesRoomIsSwappedAndGoesOnWithTheSameBits() {
        oversubscribe(options().prefixSharing(false), false);
    }

    @Test
    void withoutHostMemoryItIsComputedAnewWithTheSameBits() {
        oversubscribe(options().prefixSharing(false).swapMemory(0), true);
    }

    @Test
    void whoMakesRoomFindsWhatIsStillCached() {
        oversubscribe(options(), false);
    }

    @Test
    void cancellingPreemptedOnesFreesTheHostMemory() throws InterruptedException {
        try (LanguageModel model = cramped(options().prefixSharing(false))) {
            List<Generation> together = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                together.add(model.generate(prompts.get(i), any(i)));
            }
            for (int i = 0; i < 4000 && model.stats().swappedBytes() == 0; i++) {
                Thread.sleep(1);
            }
            together.forEach(Generation::close);
            awaitAllPagesFree(model);
            for (int i = 0; i < 1000 && model.stats().runningRequests() > 0; i++) {
                Thread.sleep(1);
            }
            assertEquals(0, model.stats().swappedBytes());
            assertEquals(0, model.stats().preemptedRequests());
        }
    }

    @Test
    void aFloodHoldsNobodyUp() throws Exception {
        try (LanguageModel model = DemoModel.load(options().maxSequences(2).build())) {
            List<Long> ends = ends(model);
            List<Generation> flood = new ArrayList<>();
            for (int i = 0; i < 60; i++) {
                flood.add(model.generate(prompts.get(i % 40), SHORT));
            }
            Generation one = model.generate(prompts.get(3), SHORT);
            for (int i = 0; i < 60; i++) {
                flood.add(model.generate(prompts.get(i % 40), SHORT));
            }
            flood.forEach(Generation::text);
            one.text();
            // Two run at a time: whoever came later cannot have ended before, but for those beside it.
            for (int i = 0; i < ends.size(); i++) {
                assertTrue(Math.abs(ends.get(i) - (i + 1)) <= 2, ends.toString());
            }
        }
    }
}
