// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a person looks at: the page of a generation's trees, and the live view of a model. */
final class ViewsTest {
    // The end of a script element in a prompt must not end the page's own.
    private static final String PROMPT =
            "Columns: NAME, AGE\nQuestion: How old is </script><b>Ann</b>, called \u202eEve\u202c?\nSQL:";

    private static final Pattern DATA =
            Pattern.compile("<script type=\"application/json\" id=\"data\">(.*)</script>\n<script>", Pattern.DOTALL);

    @TempDir
    private Path directory = Path.of("");

    private final ByteArrayOutputStream output = new ByteArrayOutputStream();
    private final ByteArrayOutputStream diagnostics = new ByteArrayOutputStream();

    private String run(boolean watched, String... arguments) {
        Terminal terminal = new Terminal(output, diagnostics, watched, false, Map.of());
        assertEquals(0, Tributary.run(terminal, new Interruption(), arguments), diagnostics::toString);
        return output.toString(StandardCharsets.UTF_8);
    }

    @Test
    void thePageHoldsTheWholeGenerationAndFetchesNothing() throws Exception {
        Path file = directory.resolve("tree.html");
        run(
                false,
                "tree",
                PROMPT,
                "--device",
                "host",
                "--tree-budget",
                "16",
                "-n",
                "60",
                "--ignore-end",
                "--html",
                file.toString());
        String page = Files.readString(file);
        String text = generated();

        Matcher found = DATA.matcher(page);
        assertTrue(found.find());
        assertFalse(found.group(1).contains("<"));
        JsonNode data = JsonMapper.builder().build().readTree(found.group(1));
        assertEquals(PROMPT, data.get("prompt").asText());
        StringBuilder shown = new StringBuilder(data.get("start").asText());
        int tokens = 1; // prefill's
        for (JsonNode pass : data.get("passes")) {
            shown.append(pass.get("text").asText());
            tokens += pass.get("taken").size() + (pass.get("bonus").asInt() >= 0 ? 1 : 0);
            int nodes = pass.get("nodes").size();
            assertTrue(nodes <= 16);
            assertEquals(nodes, pass.get("parents").size());
            assertEquals(nodes, pass.get("probabilities").size());
            for (int node = 1; node < nodes; node++) {
                int parent = pass.get("parents").get(node).asInt();
                assertTrue(parent >= 0 && parent < node);
                assertTrue(pass.get("nodes").get(node).asInt()
                        < data.get("vocabulary").size());
            }
            JsonNode times = pass.get("ms");
            assertTrue(times.get(1).asDouble() >= times.get(2).asDouble());
        }
        assertEquals(text, shown.toString());
        assertEquals(60, tokens);
        assertEquals(data.get("vocabulary").size(), data.get("tokens").size());

        String template = page.replace(found.group(1), "");
        assertTrue(template.contains("default-src 'none'"));
        for (String fetching : List.of("src=", "href=", "@import", "fetch(", "XMLHttpRequest", "import(")) {
            assertFalse(template.contains(fetching), fetching);
        }
        // The name of SVG is no address to fetch.
        assertFalse(template.replace("http://www.w3.org/2000/svg", "").contains("://"));
        assertEquals("", output.toString(StandardCharsets.UTF_8));
    }

    private String generated() {
        output.reset();
        String text =
                run(false, "generate", PROMPT, "--device", "host", "--tree-budget", "16", "-n", "60", "--ignore-end");
        output.reset();
        return text.endsWith("\n") ? text.substring(0, text.length() - 1) : text;
    }

    @Test
    void withoutATerminalTheLiveViewIsPlainLines() throws Exception {
        String shown = run(false, top());
        assertFalse(shown.contains("\u001b"), shown);
        String last = shown.lines().reduce("", (_, line) -> line);
        assertTrue(last.contains("0 running, 0 queued, 5 done"), last);
        assertTrue(last.contains("tokens/pass") && last.contains("pages"), last);
        assertTrue(
                diagnostics.toString(StandardCharsets.UTF_8).startsWith("5 texts · "),
                () -> diagnostics.toString(StandardCharsets.UTF_8));
    }

    @Test
    void inATerminalTheLiveViewIsDrawnOver() throws Exception {
        String shown = run(true, top());
        String last = shown.substring(shown.lastIndexOf("\u001b[?7l"));
        List<String> lines = last.replaceAll("\u001b\\[[0-9?;]*[a-zA-Z]", "")
                .replace("\r", "")
                .lines()
                .toList();
        assertTrue(lines.get(1).contains("0 running · 0 queued · 5 done"), last);
        assertTrue(lines.stream().anyMatch(line -> line.startsWith("pages")), last);
        assertTrue(lines.stream().allMatch(line -> line.length() < 80), last);
    }

    private String[] top() throws Exception {
        Path data = directory.resolve("prompts.jsonl");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 5; i++) {
            lines.append("{\"prompt\": \"Columns: NAME, AGE\\nQuestion: How old is Ann ")
                    .append(i)
                    .append("?\\nSQL:\", \"completion\": \"\"}\n");
        }
        Files.writeString(data, lines);
        return new String[] {
            "top", "--data", data.toString(), "--batch", "2", "--device", "host", "--tree-budget", "8", "-n", "40"
        };
    }
}
