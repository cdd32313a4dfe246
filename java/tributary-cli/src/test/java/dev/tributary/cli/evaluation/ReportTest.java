// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.FinishReason;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class ReportTest {
    private static final Example QUERY = new Example(4, "SQL:", " SELECT a FROM t;");
    private static final Example OTHER = new Example(5, "Answer:", " 3");

    private static Run run(
            String text, int tokens, int passes, long decodeMillis, List<Long> drafted, List<Long> accepted) {
        return new Run(
                text,
                IntStream.range(0, tokens).boxed().toList(),
                FinishReason.END_TOKEN,
                new Run.Figures(
                        10,
                        tokens,
                        passes,
                        Duration.ofMillis(5),
                        Duration.ofMillis(decodeMillis),
                        Duration.ZERO,
                        Duration.ZERO,
                        Duration.ZERO,
                        Duration.ZERO,
                        List.of((long) passes),
                        drafted,
                        accepted));
    }

    private static Run plain(String text, int tokens, long decodeMillis) {
        return run(text, tokens, tokens - 1, decodeMillis, List.of(0L), List.of(0L));
    }

    private static JsonNode json(Report report) throws Exception {
        return JsonMapper.builder().build().readTree(JsonFile.format(report.figures()));
    }

    @Test
    void ratesAreSumsOverSums() throws Exception {
        Report report = new Report();
        report.add(
                QUERY,
                plain(" select a from t", 11, 100),
                run(" select a from t", 11, 4, 40, List.of(8L, 4L), List.of(4L, 2L)));
        report.add(OTHER, plain(" 4", 31, 300), run(" 4", 31, 16, 360, List.of(32L, 0L), List.of(14L, 0L)));
        report.plain().addElapsed(Duration.ofMillis(840));
        report.speculative().addElapsed(Duration.ofMillis(420));
        JsonNode figures = json(report);
        assertEquals(2, figures.get("prompts").asInt());
        assertEquals(42, figures.get("tokens").asInt());
        assertEquals(20, figures.get("passes").asInt());
        // (10 + 30) / (4 + 16), not the mean of 2.5 and 1.875.
        assertEquals(2.0, figures.get("tokens_per_pass").asDouble(), 1e-12);
        assertEquals(40 / 0.4, figures.get("tokens_per_second").asDouble(), 1e-9);
        assertEquals(40 / 0.4, figures.get("plain_tokens_per_second").asDouble(), 1e-9);
        assertEquals(1.0, figures.get("speedup").asDouble(), 1e-12);
        assertEquals(42 / 0.42, figures.get("end_to_end_tokens_per_second").asDouble(), 1e-9);
        assertEquals(
                42 / 0.84, figures.get("plain_end_to_end_tokens_per_second").asDouble(), 1e-9);
        assertEquals(2.0, figures.get("end_to_end_speedup").asDouble(), 1e-12);
        assertEquals(2, figures.get("identical_texts").asInt());
        assertEquals(1.0, figures.get("exact_match").asDouble());
        assertEquals(1, figures.get("sql_prompts").asInt());
        assertEquals(2, figures.get("depths").size());
        assertEquals(18 / 20.0, figures.get("depths").get(0).get("acceptance").asDouble(), 1e-12);
        assertEquals(
                40 / 20.0, figures.get("depths").get(0).get("drafted_per_pass").asDouble(), 1e-12);
        assertEquals(2 / 20.0, figures.get("depths").get(1).get("acceptance").asDouble(), 1e-12);
        assertTrue(report.lossless());
    }

    @Test
    void aTextThatDiffersIsCountedAndKept() throws Exception {
        Report report = new Report();
        report.add(QUERY, plain(" a", 3, 10), run(" b", 3, 1, 10, List.of(), List.of()));
        report.add(OTHER, plain(" a", 3, 10), run(" a", 4, 1, 10, List.of(), List.of()));
        JsonNode figures = json(report);
        assertFalse(report.lossless());
        assertEquals(1, figures.get("identical_texts").asInt());
        assertEquals(1, figures.get("identical_tokens").asInt());
        assertEquals(2, figures.get("differences").size());
        assertEquals(4, figures.get("differences").get(0).get("line").asInt());
        assertEquals(" a", figures.get("differences").get(0).get("plain_text").asText());
        assertEquals(" b", figures.get("differences").get(0).get("text").asText());
    }

    @Test
    void withoutQueriesThereIsNoExactMatch() throws Exception {
        Report report = new Report();
        report.add(OTHER, plain(" 3", 2, 10), run(" 3", 2, 1, 10, List.of(), List.of()));
        assertFalse(json(report).has("exact_match"));
    }

    @Test
    void nothingMeasuredIsNoDivisionByZero() throws Exception {
        Report report = new Report();
        report.skip();
        JsonNode figures = json(report);
        for (String name : List.of("tokens_per_pass", "tokens_per_second", "speedup", "end_to_end_speedup")) {
            assertEquals(0.0, figures.get(name).asDouble(), name);
        }
        assertEquals(1, figures.get("skipped_prompts").asInt());
    }
}
