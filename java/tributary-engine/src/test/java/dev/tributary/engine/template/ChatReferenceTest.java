// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.ChatTemplateException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * What transformers makes of a template is what we make of it, byte for byte; where it fails, we fail. {@code
 * chat_reference.py} says how the expected texts are made, and how to compare the templates of real models.
 */
class ChatReferenceTest {
    static final Clock CLOCK =
            Clock.fixed(LocalDateTime.of(2025, 1, 7, 18, 9, 3).toInstant(ZoneOffset.UTC), ZoneOffset.UTC);
    private static final JsonMapper MAPPER = new JsonMapper();

    private final JsonNode reference;

    ChatReferenceTest() throws IOException {
        String given = System.getProperty("tributary.chat.reference", "");
        try (InputStream in = given.isEmpty()
                ? Objects.requireNonNull(getClass().getResourceAsStream("chat_reference.json"))
                : Files.newInputStream(Path.of(given))) {
            reference = MAPPER.readTree(in);
        }
    }

    static @Nullable Object plain(JsonNode node) {
        return MAPPER.convertValue(node, Object.class);
    }

    static Map<String, @Nullable Object> plainMap(JsonNode node) {
        return MAPPER.convertValue(node, new TypeReference<>() {});
    }

    /** The text, or empty when the template fails. */
    private static Optional<String> rendered(String source, Map<String, @Nullable Object> variables) {
        try {
            return Optional.of(Template.parse("template", source).render(variables, CLOCK));
        } catch (ChatTemplateException e) {
            assertTrue(String.valueOf(e.getMessage()).startsWith("template: "), e.getMessage());
            assertTrue(e.line() > 0, e.getMessage());
            return Optional.empty();
        }
    }

    private static String described(String what, JsonNode expected) {
        return what
                + (expected.has("error")
                        ? " (transformers: " + expected.get("error").textValue() + ")"
                        : "");
    }

    private static Optional<String> expected(JsonNode result) {
        return Optional.ofNullable(result.get("text")).map(JsonNode::textValue);
    }

    @TestFactory
    Stream<DynamicTest> everyFamilyRendersAsTransformersDoes() {
        return reference.get("templates").properties().stream()
                .map(template -> DynamicTest.dynamicTest(template.getKey(), () -> {
                    String source = template.getValue().get("source").textValue();
                    for (JsonNode one : template.getValue().get("cases")) {
                        assertEquals(
                                expected(one.get(4)),
                                rendered(source, variables(one)),
                                () -> described(template.getKey() + " " + one, one.get(4)));
                    }
                }));
    }

    private Map<String, @Nullable Object> variables(JsonNode one) {
        Map<String, @Nullable Object> variables = plainMap(reference.get("tokens"));
        variables.put(
                "messages", plain(reference.get("conversations").get(one.get(0).textValue())));
        variables.put("tools", plain(reference.get("tools").get(one.get(1).textValue())));
        variables.put("documents", null);
        variables.put("add_generation_prompt", one.get(2).booleanValue());
        variables.putAll(plainMap(reference.get("extras").get(one.get(3).intValue())));
        return variables;
    }

    /** Python's and Jinja's semantics, one snippet each. */
    @Test
    void everySnippetRendersAsTransformersDoes() {
        List<String> differences = new ArrayList<>();
        for (JsonNode snippet : reference.get("snippets")) {
            String source = snippet.get(0).textValue();
            Optional<String> wanted = expected(snippet.get(1));
            Optional<String> got = rendered(source, new LinkedHashMap<>(plainMap(reference.get("variables"))));
            if (!wanted.equals(got)) {
                differences.add(described(source, snippet.get(1)) + "\n  expected " + wanted + "\n  but got  " + got);
            }
        }
        assertTrue(differences.isEmpty(), () -> String.join("\n", differences));
    }
}
