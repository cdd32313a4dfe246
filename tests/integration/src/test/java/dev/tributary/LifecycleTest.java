// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Closing, cancelling and losing generations and models, in every state. */
@Timeout(120)
class LifecycleTest {
    private static final String PROMPT = DemoModel.prompts(1, 5).getFirst();
    private static final GenerationOptions ENDLESS =
            GenerationOptions.builder().maxTokens(1500).ignoreEndTokens(true).build();

    /** {@return where models compute; a subclass may have another device, or skip where there is none} */
    String device() {
        return "host";
    }

    /** {@return bytes beyond what a model needs that its device must be granted} */
    long slack() {
        return 0;
    }

    private LoadOptions.Builder options() {
        return LoadOptions.builder().device(device());
    }

    private LanguageModel load() {
        return DemoModel.load(options().build());
    }

    private static void awaitAllPagesFree(LanguageModel model) throws InterruptedException {
        for (int i = 0; i < 2000 && model.freePages() != model.pages(); i++) {
            Thread.sleep(5);
        }
        assertEquals(model.pages(), model.freePages());
    }

    @Test
    void breakingOutAndClosingGivesThePagesBack() throws InterruptedException {
        try (LanguageModel model = load()) {
            try (Generation generation = model.generate(PROMPT, ENDLESS)) {
                int parts = 0;
                for (String part : generation) {
                    assertFalse(part.isEmpty());
                    if (++parts == 3) {
                        break;
                    }
                }
                assertTrue(model.freePages() < model.pages());
            }
            awaitAllPagesFree(model);
        }
    }

    @Test
    void cancellingEndsThoseWhoWait() throws Exception {
        try (LanguageModel model = load();
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            Generation generation = model.generate(PROMPT, ENDLESS);
            Future<String> text = threads.submit((Callable<String>) generation::text);
            Future<String> future = threads.submit(() -> generation.future().get());
            Iterator<String> parts = generation.iterator();
            parts.next();
            generation.cancel();
            assertThrows(GenerationCancelledException.class, () -> parts.forEachRemaining(part -> {}));
            assertThrows(GenerationCancelledException.class, generation::finishReason);
            for (Future<String> waiting : List.of(text, future)) {
                Throwable cause = assertThrows(ExecutionException.class, waiting::get);
                while (cause instanceof ExecutionException && cause.getCause() != null) {
                    cause = cause.getCause();
                }
                assertTrue(cause instanceof GenerationCancelledException, String.valueOf(cause));
            }
            awaitAllPagesFree(model);
            generation.cancel();
            generation.close();
            generation.close();
        }
    }

    @Test
    void aGenerationThatNobodyCanReachIsCancelled() throws InterruptedException {
        try (LanguageModel model = load()) {
            startAndForget(model);
            for (int i = 0; i < 400 && model.freePages() != model.pages(); i++) {
                System.gc();
                Thread.sleep(5);
            }
            assertEquals(model.pages(), model.freePages());
        }
    }

    private static void startAndForget(LanguageModel model) {
        for (int i = 0; i < 4; i++) {
            assertFalse(model.generate(PROMPT, ENDLESS).iterator().next().isEmpty());
        }
    }

    @Test
    void aFutureOutlivesItsGeneration() throws Exception {
        try (LanguageModel model = load()) {
            var future = model.generate(
                            PROMPT,
                            GenerationOptions.builder()
                                    .maxTokens(400)
                                    .ignoreEndTokens(true)
                                    .build())
                    .future();
            for (int i = 0; i < 10; i++) {
                System.gc();
                Thread.sleep(2);
            }
            assertFalse(future.get(60, TimeUnit.SECONDS).isEmpty());
        }
    }

    @Test
    void closingTheModelCancelsRunningAndWaitingRequests() {
        LanguageModel model = DemoModel.load(options().maxSequences(2).build());
        List<Generation> generations = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            generations.add(model.generate(PROMPT, ENDLESS));
        }
        assertTrue(generations.getFirst().iterator().hasNext());
        model.close();
        for (Generation generation : generations) {
            assertThrows(GenerationCancelledException.class, generation::text);
        }
        assertThrows(ModelClosedException.class, () -> model.generate(PROMPT));
        assertThrows(ModelClosedException.class, () -> model.tokenize(PROMPT));
        model.close();
    }

    /** What a listener or a constraint must not do, since the device's thread would wait for itself. */
    private static List<Runnable> waits(LanguageModel model, Generation generation) {
        return List.of(
                model::close,
                generation::text,
                generation::tokens,
                () -> generation.future().join(),
                () -> generation.future().thenApply(String::length).join(),
                () -> {
                    for (Iterator<String> parts = generation.iterator(); parts.hasNext(); ) {
                        parts.next();
                    }
                });
    }

    @Test
    void whoeverIsCalledOnTheModelsThreadCannotWaitForIt() throws Exception {
        List<Throwable> thrown = new CopyOnWriteArrayList<>();
        AtomicReference<Generation> running = new AtomicReference<>();
        AtomicReference<String> others = new AtomicReference<>();
        String expected;
        try (LanguageModel model = load();
                LanguageModel another = load()) {
            expected = another.generate(PROMPT).text();
            model.addListener(new ModelListener() {
                @Override
                public void stepped(StepStats step) {
                    Generation generation = running.getAndSet(null);
                    if (generation != null) {
                        for (Runnable wait : waits(model, generation)) {
                            thrown.add(assertThrows(IllegalStateException.class, wait::run));
                        }
                        // Another model's thread generates meanwhile.
                        others.set(another.generate(PROMPT).text());
                    }
                }
            });
            Generation generation = model.generate(PROMPT, ENDLESS);
            running.set(generation);
            CompletableFuture<String> text = generation.future();
            assertFalse(text.get(60, TimeUnit.SECONDS).isEmpty());
            assertEquals(6, thrown.size());
            assertTrue(String.valueOf(thrown.getFirst().getMessage()).contains("close"), thrown::toString);
            for (Throwable each : thrown) {
                assertTrue(String.valueOf(each.getMessage()).contains("own thread"), each::toString);
            }
            assertEquals(expected, others.get());

            // What has ended can be read there.
            List<String> heard = new CopyOnWriteArrayList<>();
            ModelListener reader = new ModelListener() {
                @Override
                public void stepped(StepStats step) {
                    heard.add(generation.text());
                }
            };
            model.addListener(reader);
            model.generate(PROMPT).text();
            model.removeListener(reader);
            assertEquals(generation.text(), heard.getFirst());
        }
    }

    @Test
    void aConstraintThatWaitsForItsModelFails() {
        try (LanguageModel model = load()) {
            Generation running = model.generate(PROMPT, ENDLESS);
            for (Runnable wait : waits(model, running)) {
                GenerationOptions waiting = ENDLESS.toBuilder()
                        .constraint((tokens, allowed) -> wait.run())
                        .build();
                Generation generation = model.generate(PROMPT, waiting);
                ConstraintException failure = assertThrows(ConstraintException.class, generation::text);
                assertTrue(String.valueOf(failure.getMessage()).contains("own thread"), failure::toString);
            }
            assertFalse(running.text().isEmpty());
        }
    }

    @Test
    void aTextThatEndedCanBeReadAfterClose() {
        LanguageModel model = load();
        Generation generation = model.generate(PROMPT);
        String text = generation.text();
        generation.close();
        model.close();
        assertEquals(text, generation.text());
        assertEquals(generation.tokens().length, generation.stats().tokens());
        assertThrows(IllegalStateException.class, () -> {
            var _ = generation.iterator();
            var _ = generation.iterator();
        });
    }

    @Test
    void modelsCloseAtAnyMoment() throws Exception {
        Random random = new Random(3);
        for (int round = 0; round < 12; round++) {
            LanguageModel model = load();
            try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                List<Future<?>> all = new ArrayList<>();
                for (int i = 0; i < 6; i++) {
                    all.add(threads.submit(() -> {
                        try (Generation generation = model.generate(PROMPT, ENDLESS)) {
                            generation.forEach(part -> {});
                        } catch (GenerationCancelledException | ModelClosedException expected) {
                            assertFalse(String.valueOf(expected.getMessage()).isEmpty());
                        }
                    }));
                }
                Thread.sleep(random.nextInt(20));
                model.close();
                for (Future<?> each : all) {
                    each.get();
                }
            }
        }
    }

    @Test
    void sixteenThreadsShareOneModel() throws Exception {
        List<String> prompts = DemoModel.prompts(16, 21);
        try (LanguageModel model = load();
                ExecutorService threads = Executors.newFixedThreadPool(16)) {
            List<String> alone = new ArrayList<>();
            for (String prompt : prompts) {
                alone.add(model.generate(prompt).text());
            }
            List<Future<?>> all = new ArrayList<>();
            for (int thread = 0; thread < 16; thread++) {
                long seed = thread;
                all.add(threads.submit(() -> {
                    Random random = new Random(seed);
                    for (int i = 0; i < 12; i++) {
                        int which = random.nextInt(prompts.size());
                        try (Generation generation = model.generate(prompts.get(which))) {
                            if (random.nextInt(4) == 0) {
                                assertTrue(generation.iterator().hasNext());
                            } else {
                                assertEquals(alone.get(which), generation.text());
                            }
                        }
                    }
                }));
            }
            for (Future<?> each : all) {
                each.get();
            }
            awaitAllPagesFree(model);
        }
    }

    @Test
    void anInterruptEndsTheWaitAndNotTheGeneration() throws InterruptedException {
        try (LanguageModel model = load()) {
            Generation generation = model.generate(PROMPT, ENDLESS);
            List<Throwable> thrown = new ArrayList<>();
            Thread waiting = Thread.ofPlatform().start(() -> {
                try {
                    generation.text();
                } catch (GenerationCancelledException e) {
                    thrown.add(e);
                }
            });
            waiting.interrupt();
            waiting.join();
            assertEquals(1, thrown.size());
            assertFalse(generation.text().isEmpty());
        }
    }

    @Test
    void promptsThatCannotRunAreRefused() {
        try (LanguageModel model = load()) {
            assertThrows(ConfigurationException.class, () -> model.generate(""));
            assertThrows(ConfigurationException.class, () -> model.generate("word ".repeat(20_000)));
            assertThrows(ConfigurationException.class, () -> model.generate("half a character: \ud83d"));
            assertEquals(model.pages(), model.freePages());
            assertFalse(model.generate(PROMPT).text().isEmpty());
        }
    }

    @Test
    void aModelThatDoesNotFitIsRefusedWithFigures() throws IOException {
        LoadOptions tight = options().memoryLimit(20_000_000).build();
        var refusal = assertThrows(InsufficientMemoryException.class, () -> DemoModel.load(tight));
        assertTrue(String.valueOf(refusal.getMessage()).contains("20.0 MB"), String.valueOf(refusal.getMessage()));
        // Nothing of a refused model stays mapped.
        String weights = DemoModel.directory().resolve("model.safetensors").toString();
        assertFalse(Files.readString(Path.of("/proc/self/maps")).contains(weights));
    }

    @Test
    void theMemoryThatALoadedModelReportsIsWhatItNeeds() {
        LoadOptions.Builder options = options().maxSequences(1);
        long needed;
        try (LanguageModel model = DemoModel.load(options.build())) {
            ModelInfo info = model.info();
            needed = info.weightBytes() + info.cacheBytes() + info.workspaceBytes();
        }
        try (LanguageModel model =
                DemoModel.load(options.memoryLimit(needed + slack()).build())) {
            assertFalse(model.generate(PROMPT).text().isEmpty());
        }
        LoadOptions less = options.memoryLimit(needed - 1).build();
        assertThrows(InsufficientMemoryException.class, () -> DemoModel.load(less));
    }

    @Test
    void withoutStreamsAModelDecodesPlainly() {
        try (LanguageModel model = load();
                LanguageModel plain = DemoModel.load(options().withoutStreams().build())) {
            try (Generation generation = plain.generate(PROMPT)) {
                assertEquals(model.generate(PROMPT).text(), generation.text());
                assertEquals(1.0, generation.stats().tokensPerPass());
            }
        }
    }
}
