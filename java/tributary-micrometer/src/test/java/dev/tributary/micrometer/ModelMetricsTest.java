// SPDX-License-Identifier: Apache-2.0
package dev.tributary.micrometer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.GenerationStats;
import dev.tributary.LanguageModel;
import dev.tributary.LoadOptions;
import dev.tributary.Speculation;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
final class ModelMetricsTest {
    private static final Path DEMO = Path.of(System.getProperty("tributary.root"), "models", "demo");
    private static final GenerationOptions OPTIONS = GenerationOptions.builder()
            .maxTokens(20)
            .speculation(Speculation.tree(8))
            .build();

    private final SimpleMeterRegistry registry = new SimpleMeterRegistry();

    private static LanguageModel load() {
        return LanguageModel.load(
                DEMO, LoadOptions.builder().device("host").maxSequences(2).build());
    }

    private static List<GenerationStats> generate(LanguageModel model) {
        List<Generation> running = IntStream.range(0, 3)
                .mapToObj(i -> model.generate("Columns: NAME, AGE\nQuestion: How old is Ann " + i + "?\nSQL:", OPTIONS))
                .toList();
        List<GenerationStats> stats = new ArrayList<>();
        for (Generation generation : running) {
            try (generation) {
                generation.text();
                stats.add(generation.stats());
            }
        }
        return stats;
    }

    private static double sum(List<GenerationStats> all, ToDoubleFunction<GenerationStats> figure) {
        return all.stream().mapToDouble(figure).sum();
    }

    private double counter(String name) {
        return registry.get("tributary." + name).functionCounter().count();
    }

    private double gauge(String name, String... tags) {
        return registry.get("tributary." + name).tags(tags).gauge().value();
    }

    private Timer timer(String name, String... tags) {
        return registry.get("tributary." + name).tags(tags).timer();
    }

    @Test
    void metersShowWhatGenerationsSayOfThemselves() {
        LanguageModel model = load();
        try (ModelMetrics metrics = new ModelMetrics(model, Tags.of("model", "demo"))) {
            metrics.bindTo(registry);
            assertEquals(0, gauge("tokens.per.pass"));
            List<GenerationStats> generations;
            try (model) {
                generations = generate(model);
            }
            double tokens = sum(generations, GenerationStats::tokens);
            double passes = sum(generations, GenerationStats::passes);

            assertEquals(tokens, counter("tokens.generated"));
            assertEquals(passes, counter("passes"));
            assertEquals(
                    sum(generations, GenerationStats::promptTokens),
                    counter("tokens.prompt") + counter("tokens.prompt.shared"));
            assertEquals(sum(generations, GenerationStats::sharedPromptTokens), counter("tokens.prompt.shared"));
            assertEquals(sum(generations, GenerationStats::draftedTokens), counter("tokens.drafted"));
            assertEquals((tokens - 3) / passes, gauge("tokens.per.pass"), 1e-9);
            assertEquals(
                    sum(generations, stats -> stats.acceptedPerDepth()[0]) / passes,
                    gauge("acceptance", "depth", "1"),
                    1e-9);
            assertEquals(0, gauge("requests.running"));
            assertEquals(0, gauge("requests.queued"));
            assertEquals(0, gauge("pages.used"));
            assertTrue(gauge("pages") > 0);

            long requests = registry.find("tributary.requests").timers().stream()
                    .mapToLong(Timer::count)
                    .sum();
            assertEquals(3, requests);
            assertEquals(3, timer("requests.first.token").count());
            assertEquals(3, timer("requests.queue").count());
            assertTrue(timer("requests.first.token").max(TimeUnit.NANOSECONDS)
                    > timer("requests.queue").max(TimeUnit.NANOSECONDS));
            assertEquals(model.stats().steps(), timer("step").count());
            double phases = registry.find("tributary.step.phase").timers().stream()
                    .mapToDouble(timer -> timer.totalTime(TimeUnit.MICROSECONDS))
                    .sum();
            assertEquals(timer("step").totalTime(TimeUnit.MICROSECONDS), phases, phases / 100);
            assertEquals(tokens, registry.get("tributary.step.tokens").summary().totalAmount());
            assertEquals(2, registry.get("tributary.step.sequences").summary().max());
        }
    }

    @Test
    void cancelledRequestsAreTold() {
        LanguageModel model = load();
        try (ModelMetrics metrics = new ModelMetrics(model)) {
            metrics.bindTo(registry);
            try (model;
                    Generation generation = model.generate(
                            "a",
                            OPTIONS.toBuilder()
                                    .maxTokens(1500)
                                    .ignoreEndTokens(true)
                                    .build())) {
                generation.cancel();
            }
            assertEquals(1, timer("requests", "outcome", "cancelled").count());
        }
    }

    @Test
    void everyMeterHasTheTagsAndIsTakenOutAgain() {
        try (LanguageModel model = load()) {
            try (ModelMetrics metrics = new ModelMetrics(model, Tags.of("model", "demo"))) {
                metrics.bindTo(registry);
                generate(model);
                for (Meter meter : registry.getMeters()) {
                    assertEquals("demo", meter.getId().getTag("model"), meter.getId()::toString);
                    assertTrue(meter.getId().getDescription() != null, meter.getId()::toString);
                }
                assertEquals(
                        List.of("1", "2", "3", "4"),
                        List.copyOf(registry.find("tributary.acceptance").gauges().stream()
                                .map(gauge -> String.valueOf(gauge.getId().getTag("depth")))
                                .collect(Collectors.toCollection(TreeSet::new))));
            }
            assertEquals(List.of(), registry.getMeters());
            generate(model);
            assertEquals(List.of(), registry.getMeters());
        }
    }
}
