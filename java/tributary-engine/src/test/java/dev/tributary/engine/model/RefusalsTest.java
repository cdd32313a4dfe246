// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Fields that are refused, one a line of {@code refusals.txt}: the file, what is changed in it, and the whole message, which
 * says what was given and what is expected.
 */
class RefusalsTest {
    private static final String ABSENT = "$absent";

    @TempDir
    Path temporary;

    private record Line(int number, String file, String change, String message) {}

    private static List<Line> lines() throws IOException {
        try (InputStream in = Objects.requireNonNull(RefusalsTest.class.getResourceAsStream("refusals.txt"))) {
            List<String> text = new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList();
            return Stream.iterate(0, i -> i < text.size(), i -> i + 1)
                    .map(i -> {
                        String[] parts = text.get(i).split(" \\| ", 3);
                        return new Line(i + 1, parts[0], parts[1], parts.length > 2 ? parts[2] : "");
                    })
                    .toList();
        }
    }

    @TestFactory
    Stream<DynamicTest> refused() throws IOException {
        Set<String> changes = new HashSet<>();
        List<Line> lines = lines();
        lines.forEach(line -> assertTrue(changes.add(line.file() + line.change()), line.change()));
        return lines.stream()
                .map(line -> DynamicTest.dynamicTest(
                        line.number() + ": " + line.file() + " " + line.change(),
                        () -> refuse(line, temporary.resolve(Integer.toString(line.number())))));
    }

    private static void refuse(Line line, Path directory) throws IOException {
        new TinyModel(7).write(directory);
        Files.writeString(directory.resolve("tokenizer_config.json"), "{}");
        Path file = directory.resolve(line.file());
        JsonMapper json = new JsonMapper();
        ObjectNode sound = Files.exists(file) ? (ObjectNode) json.readTree(file.toFile()) : json.createObjectNode();
        merge(sound, (ObjectNode) json.readTree(line.change()));
        // What no node of JSON holds: a number beyond all doubles, half a character.
        Files.writeString(
                file, sound.toString().replace("\"Infinity\"", "1e999").replace("$half", "\\ud83d"));
        String message = assertThrows(ModelFormatException.class, () -> TinyModel.load(directory), line.change())
                .getMessage();
        assertEquals(file + ": " + line.message(), message);
    }

    /** Objects are changed field by field, other values exchanged. */
    private static void merge(ObjectNode into, ObjectNode change) {
        change.properties().forEach(field -> {
            JsonNode value = field.getValue();
            if (value.isTextual() && value.textValue().equals(ABSENT)) {
                into.remove(field.getKey());
            } else if (value instanceof ObjectNode object && into.get(field.getKey()) instanceof ObjectNode there) {
                merge(there, object);
            } else {
                into.set(field.getKey(), value);
            }
        });
    }
}
