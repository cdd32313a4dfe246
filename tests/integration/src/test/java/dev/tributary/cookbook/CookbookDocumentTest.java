// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cookbook;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The snippets of {@code docs/cookbook.md} are the regions of {@link CookbookTest}, which compiles and runs them. */
class CookbookDocumentTest {
    private static final Pattern SNIPPET = Pattern.compile("<!-- (\\w+) -->\n```java\n(.*?)```\n", Pattern.DOTALL);
    private static final Pattern REGION =
            Pattern.compile("( *)// region (\\w+)\n(.*?)\n *// endregion\n", Pattern.DOTALL);

    private static String read(String file) throws IOException {
        return Files.readString(Path.of(System.getProperty("tributary.root")).resolve(file));
    }

    @Test
    void everySnippetIsARegionThatRuns() throws IOException {
        Map<String, String> regions = new LinkedHashMap<>();
        Matcher region =
                REGION.matcher(read("tests/integration/src/test/java/dev/tributary/cookbook/CookbookTest.java"));
        while (region.find()) {
            regions.put(region.group(2), unindented(region.group(1), region.group(3)));
        }
        String document = read("docs/cookbook.md");
        Map<String, String> snippets = new LinkedHashMap<>();
        Matcher snippet = SNIPPET.matcher(document);
        while (snippet.find()) {
            snippets.put(snippet.group(1), snippet.group(2));
        }
        assertEquals(document.split("```java\n", -1).length - 1, snippets.size(), "a snippet without a name");
        assertEquals(List.copyOf(regions.keySet()), List.copyOf(snippets.keySet()));
        regions.forEach((name, text) -> assertEquals(text, snippets.get(name), name));
        assertTrue(regions.size() >= 10, () -> "only " + regions.size());
    }

    private static String unindented(String indent, String text) {
        List<String> lines = new ArrayList<>();
        for (String line : text.split("\n", -1)) {
            assertTrue(line.isEmpty() || line.startsWith(indent), line);
            lines.add(line.isEmpty() ? "" : line.substring(indent.length()));
        }
        return String.join("\n", lines) + "\n";
    }
}
