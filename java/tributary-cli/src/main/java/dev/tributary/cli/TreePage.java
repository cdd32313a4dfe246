// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.Generation;
import dev.tributary.GenerationStats;
import dev.tributary.ModelInfo;
import dev.tributary.PassTiming;
import dev.tributary.PassTrace;
import dev.tributary.PassTrace.Node;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One page that shows a generation pass by pass: the template {@code tree.html} with the generation's data put in as
 * JSON. The page holds everything that it shows, and its policy lets it fetch nothing.
 */
final class TreePage {
    private static final String TEMPLATE = "tree.html";
    private static final String PLACE = "${data}";

    private final String model;
    private final ModelInfo info;
    private final String prompt;
    private final String text;
    private final GenerationStats stats;
    private final List<PassTiming> timings;

    // Tokens by the order in which they first occur, so that a node names its token by a small number.
    private final Map<Integer, Integer> indices = new LinkedHashMap<>();
    private final List<String> vocabulary = new ArrayList<>();

    /**
     * A page about one generation.
     *
     * @param model its name
     * @param generation one that has ended
     */
    TreePage(String model, ModelInfo info, String prompt, Generation generation) {
        this.model = model;
        this.info = info;
        this.prompt = prompt;
        text = generation.text();
        stats = generation.stats();
        timings = generation.timings();
    }

    /**
     * Makes the page.
     *
     * @param passes all passes of the generation
     * @param taken what the text took of those that are shown, the first ones
     */
    String html(List<PassTrace> passes, List<TakenPath> taken) {
        return template().replace(PLACE, json(data(passes, taken)));
    }

    private static String template() {
        try (InputStream page = TreePage.class.getResourceAsStream(TEMPLATE)) {
            if (page == null) {
                throw new IllegalStateException(TEMPLATE + " is missing beside this class");
            }
            return new String(page.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** JSON in which no text can end the element that holds it. */
    private static String json(Map<String, Object> data) {
        try {
            return JsonMapper.builder().build().writeValueAsString(data).replace("<", "\\u003c");
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("the data are strings, numbers, lists and maps only", e);
        }
    }

    private Map<String, Object> data(List<PassTrace> passes, List<TakenPath> taken) {
        List<Map<String, Object>> shown = new ArrayList<>();
        for (int i = 0; i < taken.size(); i++) {
            shown.add(pass(passes.get(i), taken.get(i), timings.get(i)));
        }
        Map<String, Object> data = new LinkedHashMap<>();
        data.put("model", model + " · " + info.device());
        data.put("figures", figures());
        data.put("prompt", prompt);
        data.put("start", start(passes));
        data.put("passes", shown);
        data.put("vocabulary", vocabulary);
        data.put("tokens", List.copyOf(indices.keySet()));
        return data;
    }

    private List<List<Object>> figures() {
        return List.of(
                List.of("tokens", Figures.count(stats.tokens())),
                List.of("passes", Figures.count(stats.passes())),
                List.of("tokens per pass", Figures.ratio(stats.tokensPerPass()), true),
                List.of("tokens per second", Figures.rate(stats.tokensPerSecond())),
                List.of("prompt tokens", Figures.count(stats.promptTokens())),
                List.of("prefill", Figures.time(stats.prefill())));
    }

    /** What the text began with before the first pass: what prefill gave. */
    private String start(List<PassTrace> passes) {
        int later = passes.stream().mapToInt(pass -> pass.text().length()).sum();
        return text.substring(0, text.length() - later);
    }

    private Map<String, Object> pass(PassTrace pass, TakenPath taken, PassTiming timing) {
        Map<String, Object> data = new LinkedHashMap<>();
        data.put(
                "nodes",
                pass.nodes().stream()
                        .map(node -> index(node.token(), node.text()))
                        .toList());
        data.put("parents", pass.nodes().stream().map(Node::parent).toList());
        data.put(
                "probabilities",
                pass.nodes().stream().map(node -> rounded(node.probability())).toList());
        data.put("taken", taken.nodes());
        data.put("bonus", taken.bonus() ? index(pass.bonus(), pass.bonusText()) : -1);
        data.put("text", pass.text());
        data.put(
                "ms",
                List.of(
                        milliseconds(timing.began()),
                        milliseconds(timing.total()),
                        milliseconds(timing.forward()),
                        milliseconds(timing.verify()),
                        milliseconds(timing.draft())));
        data.put("sequences", timing.sequences());
        return data;
    }

    private int index(int token, String itsText) {
        return indices.computeIfAbsent(token, _ -> {
            vocabulary.add(itsText);
            return vocabulary.size() - 1;
        });
    }

    private static double rounded(double probability) {
        return Math.round(probability * 1e6) / 1e6;
    }

    private static double milliseconds(Duration duration) {
        return Math.round(duration.toNanos() / 1e3) / 1e3;
    }
}
