// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jdk.jfr.Timespan;
import jdk.jfr.ValueDescriptor;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is told of passes and requests agrees with what the generations say of themselves. */
@Timeout(120)
final class ObservationTest {
    private static final LoadOptions HOST =
            LoadOptions.builder().device("host").maxSequences(4).build();

    private static final GenerationOptions OPTIONS = GenerationOptions.builder()
            .maxTokens(24)
            .speculation(Speculation.tree(8))
            .trace(true)
            .build();

    /** Runs six requests through four places. */
    private static List<GenerationStats> generate(LanguageModel model) {
        List<Generation> running = new ArrayList<>();
        DemoModel.prompts(6, 11).forEach(prompt -> running.add(model.generate(prompt, OPTIONS)));
        List<GenerationStats> stats = new ArrayList<>();
        for (Generation generation : running) {
            try (generation) {
                generation.text();
                stats.add(generation.stats());
            }
        }
        return stats;
    }

    private static long[] sum(List<GenerationStats> all, java.util.function.Function<GenerationStats, long[]> part) {
        long[] sums = new long[part.apply(all.getFirst()).length];
        for (GenerationStats stats : all) {
            Arrays.setAll(sums, i -> sums[i] + part.apply(stats)[i]);
        }
        return sums;
    }

    private static long sumOf(List<GenerationStats> all, java.util.function.ToLongFunction<GenerationStats> part) {
        return all.stream().mapToLong(part).sum();
    }

    @Test
    void theModelsFiguresAreTheSumsOfItsGenerations() {
        LanguageModel model = DemoModel.load(HOST);
        List<GenerationStats> generations;
        try (model) {
            assertEquals(0, model.stats().passes());
            generations = generate(model);
            ModelStats stats = model.stats();
            assertEquals(sumOf(generations, GenerationStats::tokens), stats.tokens());
            assertEquals(sumOf(generations, GenerationStats::passes), stats.passes());
            assertEquals(sumOf(generations, GenerationStats::draftedTokens), stats.draftedTokens());
            assertEquals(6, stats.submittedRequests());
            assertEquals(6, stats.completedRequests());
            assertEquals(0, stats.runningRequests());
            assertEquals(0, stats.queuedRequests());
            assertEquals(
                    (stats.tokens() - 6) / (double) stats.passes(),
                    stats.tokensPerPass(),
                    1e-12,
                    "the first token of each text comes from prefill");
            assertTrue(stats.acceptanceLength() > 1, stats::toString);
            // Trees of eight nodes branch, so something must be rejected.
            assertTrue(stats.acceptedTokens() < stats.draftedTokens(), stats::toString);
            assertEquals(Arrays.stream(stats.acceptedPerDepth()).sum(), stats.acceptedTokens());
            assertEquals(Arrays.stream(stats.draftedPerDepth()).sum(), stats.draftedTokens());
            assertEquals(
                    Arrays.toString(sum(generations, GenerationStats::acceptedPerDepth)),
                    Arrays.toString(stats.acceptedPerDepth()));
            assertEquals(
                    Arrays.toString(sum(generations, GenerationStats::draftedPerDepth)),
                    Arrays.toString(stats.draftedPerDepth()));

            assertEquals(Map.of(TreeDecision.FIXED, stats.passes()), stats.treeDecisions());
            assertEquals(stats.passes(), Arrays.stream(stats.treeSizes()).sum());
            assertEquals(
                    sumOf(
                            generations,
                            generation -> Arrays.stream(generation.treeSizes())
                                    .skip(2)
                                    .sum()),
                    Arrays.stream(stats.treeSizes()).skip(2).sum());
            assertTrue(stats.placements().values().stream()
                            .mapToLong(Long::longValue)
                            .sum()
                    <= stats.passes());

            Generation cancelled = model.generate(
                    DemoModel.prompts(1, 3).getFirst(),
                    OPTIONS.toBuilder().maxTokens(1500).ignoreEndTokens(true).build());
            cancelled.close();
            assertThrows(GenerationCancelledException.class, cancelled::text);
            assertEquals(1, model.stats().cancelledRequests());
        }
        ModelStats stats = model.stats();
        assertEquals(7, stats.submittedRequests());
        assertEquals(0, stats.pagesInUse());
        assertTrue(stats.steps() > 0 && stats.stepping().toNanos() > 0, stats::toString);
        assertTrue(
                stats.promptTokens() + stats.sharedPromptTokens() >= sumOf(generations, GenerationStats::promptTokens),
                stats::toString);
        assertTrue(stats.stepping().compareTo(stats.forward()) > 0, stats::toString);
    }

    @Test
    void whyTreesHaveTheirSizesIsTold() {
        List<StepStats> steps = new CopyOnWriteArrayList<>();
        LanguageModel model = DemoModel.load(HOST);
        List<GenerationStats> generations = new ArrayList<>();
        try (model) {
            model.addListener(new ModelListener() {
                @Override
                public void stepped(StepStats step) {
                    steps.add(step);
                }
            });
            for (Speculation speculation : List.of(Speculation.adaptive(), Speculation.off())) {
                for (String prompt : DemoModel.prompts(8, 29)) {
                    GenerationOptions options = OPTIONS.toBuilder()
                            .maxTokens(60)
                            .ignoreEndTokens(true)
                            .speculation(speculation)
                            .build();
                    try (Generation generation = model.generate(prompt, options)) {
                        generation.text();
                        generations.add(generation.stats());
                    }
                }
            }
        }
        for (GenerationStats stats : generations) {
            Map<TreeDecision, Long> why = stats.treeDecisions();
            assertEquals(
                    stats.passes(),
                    why.values().stream().mapToLong(Long::longValue).sum());
            // A tree of more than its root was asked for, or pays.
            assertEquals(
                    stats.passes() - stats.treeSizes()[1],
                    why.getOrDefault(TreeDecision.PAYS, 0L) + why.getOrDefault(TreeDecision.NODES_PAY, 0L),
                    stats::toString);
            assertEquals(stats.passes(), Arrays.stream(stats.treeSizes()).sum());
        }
        assertEquals(
                Map.of(TreeDecision.OFF, (long) generations.getLast().passes()),
                generations.getLast().treeDecisions());
        assertTrue(generations.getLast().placements().isEmpty());
        assertTrue(
                model.stats().treeDecisions().containsKey(TreeDecision.PAYS),
                model.stats().treeDecisions()::toString);
        for (StepStats step : steps) {
            assertEquals(
                    step.decodingSequences(),
                    step.treeDecisions().values().stream()
                            .mapToLong(Long::longValue)
                            .sum());
            boolean decided = step.promisedTokens() > 0;
            assertEquals(decided, step.relativeCost() > 0);
            if (step.treeDecisions().containsKey(TreeDecision.PAYS)) {
                assertTrue(decided && step.promisedTokens() >= step.relativeCost(), step::toString);
            }
        }
    }

    @Test
    void listenersHearEveryStepAndEveryEnd() {
        List<StepStats> steps = new CopyOnWriteArrayList<>();
        List<RequestOutcome> outcomes = new CopyOnWriteArrayList<>();
        ModelListener listener = new ModelListener() {
            @Override
            public void stepped(StepStats step) {
                steps.add(step);
            }

            @Override
            public void ended(RequestOutcome outcome) {
                outcomes.add(outcome);
            }
        };
        List<GenerationStats> generations;
        LanguageModel model = DemoModel.load(HOST);
        try (model) {
            model.addListener(listener);
            generations = generate(model);
            assertEquals(6, outcomes.size(), "an end is told before its readers hear of it");
        }
        assertEquals(model.stats().steps(), steps.size());
        assertEquals(model.stats().stepping(), sum(steps.stream().map(StepStats::total)));
        assertEquals(
                sumOf(generations, GenerationStats::tokens),
                steps.stream().mapToLong(StepStats::tokens).sum());
        assertEquals(
                sumOf(generations, GenerationStats::passes),
                steps.stream().mapToLong(StepStats::decodingSequences).sum());
        assertEquals(
                sumOf(generations, GenerationStats::promptTokens),
                steps.stream()
                        .mapToLong(step -> step.promptTokens() + step.sharedPromptTokens())
                        .sum());
        for (StepStats step : steps) {
            assertTrue(step.sequences() <= 4, step::toString);
            assertEquals(step.mainRows(), step.draftedTokens() + step.decodingSequences() + step.promptTokens());
            assertTrue(step.pagesInUse() <= step.pages(), step::toString);
        }
        assertTrue(steps.stream().anyMatch(step -> step.decodingSequences() > 1), "requests are stepped together");
        assertTrue(steps.stream().anyMatch(step -> step.queuedRequests() > 0), "two of six must wait");
        assertEquals(
                List.of(1L, 2L, 3L, 4L, 5L, 6L),
                outcomes.stream().map(RequestOutcome::request).sorted().toList());
        for (RequestOutcome outcome : outcomes) {
            assertTrue(outcome.finishReason().isPresent() && outcome.failure().isEmpty(), outcome::toString);
            assertTrue(outcome.elapsed().compareTo(outcome.stats().decode()) > 0, outcome::toString);
        }
    }

    @Test
    void aStepsPartsAreThoseOfItsGeneration() {
        List<StepStats> steps = new CopyOnWriteArrayList<>();
        ModelListener listener = new ModelListener() {
            @Override
            public void stepped(StepStats step) {
                steps.add(step);
            }
        };
        // Deferred: each verifying pass is followed by a drafting pass, whose time is told apart.
        GenerationOptions deferred = OPTIONS.toBuilder()
                .speculation(OPTIONS.speculation().withPlacement(Speculation.Placement.DEFERRED))
                .build();
        GenerationStats stats;
        LanguageModel model = DemoModel.load(HOST);
        try (model) {
            model.addListener(listener);
            try (Generation generation = model.generate(DemoModel.prompts(1, 11).getFirst(), deferred)) {
                generation.text();
                stats = generation.stats();
            }
        }
        List<StepStats> passes =
                steps.stream().filter(step -> step.decodingSequences() > 0).toList();
        assertEquals(stats.forward(), sum(passes.stream().map(StepStats::forward)));
        assertEquals(stats.verify(), sum(passes.stream().map(StepStats::verify)));
        assertTrue(stats.draft().isPositive(), stats::toString);
        assertEquals(stats.draft(), sum(steps.stream().map(StepStats::draft)));
    }

    private static Duration sum(Stream<Duration> durations) {
        return durations.reduce(Duration.ZERO, Duration::plus);
    }

    @Test
    void aListenerThatThrowsHarmsNobody() {
        List<StepStats> heard = new CopyOnWriteArrayList<>();
        ModelListener broken = new ModelListener() {
            @Override
            public void stepped(StepStats step) {
                heard.add(step);
                throw new IllegalStateException("a listener that throws, on purpose");
            }
        };
        LanguageModel model = DemoModel.load(HOST);
        try (model) {
            model.addListener(broken);
            generate(model);
        }
        assertEquals(1, heard.size());
        assertTrue(model.stats().steps() > 1);
    }

    /** Three end in one step; the end of the first is told to one that throws, the memory for which there was none. */
    @Test
    void aListenerThatThrowsAnErrorKeepsNobodyWaiting() throws Exception {
        List<Throwable> errors = List.of(
                new AssertionError("a listener's assertion, on purpose"),
                new OutOfMemoryError("a listener's array, on purpose"),
                new NoClassDefFoundError("a listener's class, on purpose"));
        LanguageModel model = DemoModel.load(HOST);
        try (model) {
            for (Throwable error : errors) {
                for (boolean atEnd : new boolean[] {false, true}) {
                    List<Object> heard = new CopyOnWriteArrayList<>();
                    model.addListener(new ModelListener() {
                        @Override
                        public void stepped(StepStats step) {
                            if (!atEnd) {
                                heard.add(step);
                                ObservationTest.<RuntimeException>sneak(error);
                            }
                        }

                        @Override
                        public void ended(RequestOutcome outcome) {
                            if (atEnd) {
                                heard.add(outcome);
                                ObservationTest.<RuntimeException>sneak(error);
                            }
                        }
                    });
                    String prompt = DemoModel.prompts(1, 11).getFirst();
                    List<CompletableFuture<String>> texts = new ArrayList<>();
                    for (int i = 0; i < 3; i++) {
                        texts.add(model.generate(prompt, OPTIONS).future());
                    }
                    for (CompletableFuture<String> text : texts) {
                        assertEquals(texts.getFirst().get(30, TimeUnit.SECONDS), text.get(30, TimeUnit.SECONDS));
                    }
                    assertEquals(1, heard.size(), error::toString);
                }
            }
            assertEquals(18, model.stats().completedRequests());
        }
    }

    @SuppressWarnings("unchecked")
    private static <E extends Throwable> void sneak(Throwable thrown) throws E {
        throw (E) thrown;
    }

    @Test
    void aTraceTellsTheTextAndTheTimes() {
        try (LanguageModel model = DemoModel.load(HOST);
                Generation generation = model.generate(DemoModel.prompts(1, 11).getFirst(), OPTIONS)) {
            List<PassTrace> passes = generation.trace();
            String text = passes.stream().map(PassTrace::text).collect(Collectors.joining());
            assertTrue(generation.text().endsWith(text));
            assertEquals(
                    1,
                    model.tokenize(generation
                                    .text()
                                    .substring(0, generation.text().length() - text.length()))
                            .length);
            List<PassTiming> timings = generation.timings();
            assertEquals(passes.size(), timings.size());
            PassTiming last = timings.getFirst();
            for (PassTiming timing : timings) {
                assertTrue(timing.began().compareTo(last.began()) >= 0, timing::toString);
                assertTrue(timing.total().compareTo(timing.forward()) > 0, timing::toString);
                assertFalse(timing.host().isZero(), timing::toString);
                assertEquals(1, timing.sequences());
                last = timing;
            }
        }
    }

    @Test
    void aRecordingHoldsStepsPassesAndRequests() throws InterruptedException {
        List<RecordedEvent> events = new CopyOnWriteArrayList<>();
        List<GenerationStats> generations;
        try (RecordingStream recording = new RecordingStream()) {
            for (String name : List.of("Step", "Pass", "Request")) {
                recording.enable("dev.tributary." + name).withoutThreshold();
                recording.onEvent("dev.tributary." + name, events::add);
            }
            recording.setReuse(false);
            recording.startAsync();
            try (LanguageModel model = DemoModel.load(HOST)) {
                generations = generate(model);
            }
            recording.stop();
        }
        List<RecordedEvent> steps = named(events, "Step");
        List<RecordedEvent> passes = named(events, "Pass");
        List<RecordedEvent> requests = named(events, "Request");

        assertEquals(6, requests.size());
        assertEquals(sumOf(generations, GenerationStats::passes), passes.size());
        assertEquals(
                sumOf(generations, GenerationStats::tokens),
                steps.stream().mapToLong(event -> event.getInt("tokens")).sum());
        assertEquals(
                sumOf(generations, GenerationStats::draftedTokens),
                passes.stream()
                        .mapToLong(event -> event.getInt("draftedTokens"))
                        .sum());
        for (RecordedEvent step : steps) {
            assertEquals("demo", step.getString("model"));
            assertTrue(step.getDuration().compareTo(step.getDuration("forward")) > 0, step::toString);
            assertTrue(step.getThread().getJavaName().startsWith("tributary-"), step::toString);
        }
        for (RecordedEvent pass : passes) {
            assertTrue(pass.getInt("acceptedTokens") <= pass.getInt("draftedDepth"), pass::toString);
            assertTrue(pass.getInt("draftedTokens") <= 7, pass::toString);
        }
        for (RecordedEvent request : requests) {
            long number = request.getLong("request");
            assertEquals(
                    request.getInt("passes"),
                    passes.stream()
                            .filter(pass -> pass.getLong("request") == number)
                            .count());
            assertTrue(request.getDuration().compareTo(request.getDuration("decode")) > 0, request::toString);
        }
        for (RecordedEvent event : List.of(steps.getFirst(), passes.getFirst(), requests.getFirst())) {
            for (ValueDescriptor field : event.getFields()) {
                assertFalse(String.valueOf(field.getLabel()).isBlank(), field::getName);
            }
        }
        assertEquals(
                3,
                steps.getFirst().getFields().stream()
                        .filter(field -> field.getAnnotation(Timespan.class) != null
                                && List.of("forward", "verify", "draft").contains(field.getName()))
                        .count());
    }

    private static List<RecordedEvent> named(List<RecordedEvent> events, String name) {
        return events.stream()
                .filter(event -> event.getEventType().getName().equals("dev.tributary." + name))
                .toList();
    }
}
