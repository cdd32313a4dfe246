// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.IntBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Many threads, many requests of every kind, on a model whose cache is far too small for all of them: nothing leaks, every
 * future completes, no text is another than it would be alone, and nobody is overtaken beyond what priorities are worth.
 * {@code scripts/soak} runs it at full length.
 */
class SoakTest {
    private static final int REQUESTS = Integer.getInteger("tributary.soak.requests", 1000);
    private static final int THREADS = 32;
    private static final int SLOTS = 12;
    private static final int CONTEXT = 192;
    private static final int PAGES = 9;
    private static final int ROUNDS = 6;
    /** Kinds of sampling and of limits; each prompt has one text for each. The last is of texts that outgrow their pages. */
    private static final int KINDS = 4;

    private final List<String> prompts = DemoModel.prompts(REQUESTS < 10_000 ? 40 : 300, 77);
    private final Map<String, String> expected = new HashMap<>();
    private final AtomicInteger whole = new AtomicInteger();
    private final AtomicInteger cancelled = new AtomicInteger();
    private final AtomicInteger late = new AtomicInteger();
    private final AtomicLong refused = new AtomicLong();
    private final ConcurrentLinkedQueue<CompletableFuture<String>> futures = new ConcurrentLinkedQueue<>();
    private final ConcurrentLinkedQueue<Turn> turns = new ConcurrentLinkedQueue<>();

    private static GenerationOptions kind(int kind, Speculation speculation) {
        GenerationOptions.Builder options =
                GenerationOptions.builder().maxTokens(4 + 8 * kind).speculation(speculation);
        if (kind == KINDS - 1) {
            options.maxTokens(100).ignoreEndTokens(true);
        }
        if (kind % 2 == 1) {
            options.temperature(0.9f).topP(0.95f).seed(kind);
        }
        if (kind > 0) {
            options.repetitionPenalty(1.1f).frequencyPenalty(0.2f).logitBias(Map.of(40 + kind, 2f));
        }
        if (kind == 2) {
            options.constraint(SoakTest::noMultiplesOfSeven);
        }
        return options.build();
    }

    private static void noMultiplesOfSeven(IntBuffer tokens, TokenMask allowed) {
        for (int token = 0; token < allowed.vocabulary(); token++) {
            if (token % 7 != 0) {
                allowed.allow(token);
            }
        }
    }

    private static Speculation speculation(Random random) {
        return switch (random.nextInt(5)) {
            case 0 -> Speculation.off();
            case 1 -> Speculation.chain();
            case 2 -> Speculation.tree(2 + random.nextInt(40)).withPlacement(Speculation.Placement.ALL_NODES);
            case 3 -> Speculation.tree(2 + random.nextInt(40)).withPlacement(Speculation.Placement.DEFERRED);
            default -> Speculation.adaptive();
        };
    }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    void nothingLeaksAndNobodyStarves() throws Exception {
        LoadOptions.Builder options =
                LoadOptions.builder().device("host").maxSequences(SLOTS).contextTokens(CONTEXT);
        long page;
        try (LanguageModel alone = DemoModel.load(options.prefixSharing(false).build())) {
            page = alone.info().cacheBytes() / alone.pages();
            for (String prompt : prompts) {
                for (int kind = 0; kind < KINDS; kind++) {
                    try (Generation text = alone.generate(prompt, kind(kind, Speculation.off()))) {
                        expected.put(kind + prompt, text.text());
                    }
                }
            }
        }
        LanguageModel model = DemoModel.load(options.prefixSharing(true)
                .cacheTokens(PAGES * 64)
                .swapMemory(page)
                .queueCapacity(20)
                .build());
        long begin = System.nanoTime();
        List<Long> resident = new ArrayList<>();
        List<Long> mappings = new ArrayList<>();
        ModelStats stats;
        try (model) {
            assertEquals(PAGES, model.pages());
            for (int round = 0; round < ROUNDS; round++) {
                run(model, REQUESTS / ROUNDS, round);
                for (int i = 0; i < 4000 && model.stats().runningRequests() > 0; i++) {
                    Thread.sleep(1);
                }
                assertEquals(model.pages(), model.freePages(), "a page is held and nobody runs");
                assertEquals(0, model.stats().swappedBytes());
                System.gc();
                resident.add(resident());
                mappings.add(mappings());
            }
            stats = model.stats();
        }
        String figures = String.format(
                java.util.Locale.ROOT,
                "%d whole texts, %d cancelled, %d timed out, %d refused, %d preemptions, %d tokens recomputed, prefix hit"
                        + " rate %.2f, longest wait %.0f ms, resident %s MB, mappings %s, %.1f s",
                whole.get(),
                cancelled.get(),
                late.get(),
                refused.get(),
                stats.preemptions(),
                stats.recomputedTokens(),
                stats.prefixHitRate(),
                turns.stream().mapToLong(Turn::queued).max().orElse(0) / 1e6,
                resident.stream().map(bytes -> bytes >> 20).toList(),
                mappings,
                (System.nanoTime() - begin) / 1e9);
        System.getLogger(SoakTest.class.getName()).log(System.Logger.Level.INFO, figures);
        assertEquals(stats.submittedRequests(), whole.get() + cancelled.get() + late.get(), figures);
        assertEquals(stats.completedRequests(), whole.get(), figures);
        assertEquals(0, stats.failedRequests(), figures);
        assertEquals(stats.refusedRequests(), refused.get(), figures);
        assertTrue(stats.preemptions() > 0 && stats.recomputedTokens() > 0, figures);
        assertTrue(cancelled.get() > 0 && late.get() > 0 && refused.get() > 0, figures);
        assertTrue(stats.sharedPromptTokens() > 0, figures);
        requireOrder();
        for (CompletableFuture<String> future : futures) {
            assertTrue(future.isDone(), figures);
        }
        // The first rounds warm up: classes, compiled code, arenas of the C library for each thread.
        long before = resident.get(ROUNDS / 2 - 1);
        long after = resident.getLast();
        assertTrue(after - before < Math.max(48L << 20, before / 10), figures);
        assertTrue(mappings.getLast() - mappings.get(ROUNDS / 2 - 1) < 40, figures);
        assertEquals(
                0,
                mapped(DemoModel.directory().resolve("model.safetensors").toString()),
                "the weights' file is mapped after the model was closed");
    }

    private void run(LanguageModel model, int requests, int round) throws Exception {
        AtomicInteger left = new AtomicInteger(requests);
        try (ExecutorService threads = Executors.newFixedThreadPool(THREADS)) {
            List<Future<?>> all = new ArrayList<>();
            for (int thread = 0; thread < THREADS; thread++) {
                long seed = 1000L * round + thread;
                all.add(threads.submit(() -> {
                    Random random = new Random(seed);
                    while (left.getAndDecrement() > 0) {
                        one(model, random);
                    }
                    return null;
                }));
            }
            for (Future<?> each : all) {
                each.get();
            }
        }
    }

    private void one(LanguageModel model, Random random) throws InterruptedException {
        String prompt = prompts.get(random.nextInt(prompts.size()));
        int kind = random.nextInt(5) == 0 ? KINDS - 1 : random.nextInt(KINDS - 1);
        GenerationOptions.Builder options = kind(kind, speculation(random)).toBuilder();
        options.priority(random.nextInt(8) == 0 ? random.nextInt(-2, 3) : 0);
        options.trace(random.nextInt(16) == 0);
        boolean hurried = random.nextInt(10) == 0;
        if (hurried) {
            options.timeout(Duration.ofMillis(1 + random.nextInt(30)));
        }
        Submitted submitted = submit(model, prompt, options.build(), random);
        Generation generation = submitted.generation();
        String text = expected.get(kind + prompt);
        try (generation) {
            switch (random.nextInt(10)) {
                case 0 -> generation.cancel();
                case 1 -> {
                    Thread.sleep(random.nextInt(5));
                    generation.close();
                }
                case 2 -> {
                    for (String part : generation) {
                        assertTrue(text.contains(part), prompt);
                        if (random.nextInt(4) == 0) {
                            break;
                        }
                    }
                    generation.close();
                }
                case 3 -> {
                    CompletableFuture<String> future = generation.future();
                    futures.add(future);
                    try {
                        assertEquals(text, future.get(5, TimeUnit.MINUTES), prompt);
                    } catch (ExecutionException e) {
                        assertTrue(e.getCause() instanceof GenerationTimeoutException, String.valueOf(e.getCause()));
                    } catch (java.util.concurrent.TimeoutException e) {
                        throw new AssertionError("a future did not complete", e);
                    }
                }
                case 4 -> assertEquals(text, String.join("", generation), prompt);
                default -> assertEquals(text, generation.text(), prompt);
            }
            assertEquals(text, generation.text(), prompt);
            whole.incrementAndGet();
        } catch (GenerationCancelledException e) {
            cancelled.incrementAndGet();
        } catch (GenerationTimeoutException e) {
            assertTrue(hurried, e.getMessage());
            late.incrementAndGet();
        }
        long queued = generation.stats().queued().toNanos();
        if (queued > 0) {
            turns.add(new Turn(submitted, options.build().priority(), queued));
        }
    }

    /** A request and two moments that its submission lies between. */
    private record Submitted(Generation generation, long before, long after) {}

    private Submitted submit(LanguageModel model, String prompt, GenerationOptions options, Random random)
            throws InterruptedException {
        while (true) {
            try {
                long before = System.nanoTime();
                Generation generation = model.generate(prompt, options);
                return new Submitted(generation, before, System.nanoTime());
            } catch (QueueFullException e) {
                refused.incrementAndGet();
                Thread.sleep(2 + random.nextInt(16));
            }
        }
    }

    /**
     * When a request had its turn.
     *
     * @param earliest the earliest moment that it can have been submitted at
     * @param latest the latest
     * @param queued nanoseconds from then to its first step
     * @param priority its priority
     */
    private record Turn(long earliest, long latest, long queued, int priority) {
        Turn(Submitted submitted, int priority, long queued) {
            this(submitted.before, submitted.after, queued, priority);
        }

        /** Whether it began before another that was waiting, that it was behind by the order that is promised. */
        boolean overtook(Turn other) {
            long began = latest + queued;
            long lead = TimeUnit.SECONDS.toNanos(priority - (long) other.priority);
            return other.latest < earliest + queued
                    && began < other.earliest + other.queued
                    && earliest - other.latest > lead;
        }
    }

    private void requireOrder() {
        List<Turn> all = new ArrayList<>(turns);
        for (Turn turn : all) {
            for (Turn other : all) {
                if (turn.overtook(other)) {
                    throw new AssertionError(turn + " began before " + other);
                }
            }
        }
    }

    private static long resident() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
            return lines.filter(line -> line.startsWith("VmRSS:"))
                    .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("[^0-9]", "")))
                    .sum();
        }
    }

    private static long mappings() throws IOException {
        return mapped("");
    }

    private static long mapped(String name) throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
            return lines.filter(line -> line.contains(name)).count();
        }
    }
}
