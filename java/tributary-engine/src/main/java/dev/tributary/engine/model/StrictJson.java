// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ModelFormatException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** JSON as this project reads it: valid UTF-8, no duplicate names, nothing after the value, and a bound on the size. */
public final class StrictJson {
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();
    private static final JsonMapper MAPPER = JsonMapper.builder(FACTORY)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    /** Far above any real configuration file, far below what could exhaust the heap. */
    private static final long MAX_OBJECT_BYTES = 16L << 20;

    private static final int MAX_SHOWN = 80;

    private StrictJson() {}

    /**
     * Reads a file that must hold one JSON object.
     *
     * @param file the file
     * @return its fields
     * @throws ModelFormatException when the file is missing, unreadable, too large or not such an object
     */
    public static JsonFields readObject(Path file) {
        return parseObject(file, readText(file, MAX_OBJECT_BYTES));
    }

    static JsonFields parseObject(Path file, String text) {
        JsonNode node;
        try {
            node = MAPPER.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed(file.toString(), e);
        }
        if (!(node instanceof ObjectNode object)) {
            throw new ModelFormatException(
                    file + ": expected a JSON object, got " + (node.isMissingNode() ? "nothing" : show(node)));
        }
        return new JsonFields(file.toString(), object);
    }

    /**
     * Reads a whole text file.
     *
     * @param file the file
     * @param maxBytes the greatest size that is accepted
     * @return its text
     * @throws ModelFormatException when the file is missing, unreadable, larger or not valid UTF-8
     */
    public static String readText(Path file, long maxBytes) {
        byte[] bytes;
        try {
            long size = Files.size(file);
            if (size > maxBytes) {
                throw new ModelFormatException(file + ": " + size + " bytes, at most " + maxBytes + " are accepted");
            }
            bytes = Files.readAllBytes(file);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
        return decode(file.toString(), bytes);
    }

    static String decode(String where, byte[] bytes) {
        try {
            // A new decoder reports malformed input; String's constructor would replace it.
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new ModelFormatException(where + ": not valid UTF-8", e);
        }
    }

    /**
     * Reads the value at which a parser stands.
     *
     * @param json the parser; stands at the value's end afterwards
     * @return the value, null as a JSON null
     * @throws IOException when the JSON is malformed
     */
    public static JsonNode value(JsonParser json) throws IOException {
        return MAPPER.readerFor(JsonNode.class)
                .without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
                .readValue(json);
    }

    /**
     * Reads a text that must hold one JSON object.
     *
     * @param what what the text is, for messages
     * @param text JSON
     * @return its fields in order, as Java has them: null, Boolean, Number, String, List, Map
     * @throws ModelFormatException when it is not such an object
     */
    public static Map<String, @Nullable Object> plainObject(String what, String text) {
        JsonNode node;
        try {
            node = MAPPER.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed(what, e);
        }
        if (!(node instanceof ObjectNode object)) {
            throw new ModelFormatException(
                    what + ": expected a JSON object, got " + (node.isMissingNode() ? "nothing" : show(node)));
        }
        return plain(object);
    }

    private static Map<String, @Nullable Object> plain(ObjectNode object) {
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        object.properties().forEach(field -> fields.put(field.getKey(), plain(field.getValue())));
        return Collections.unmodifiableMap(fields);
    }

    private static @Nullable Object plain(JsonNode node) {
        return switch (node) {
            case ObjectNode object -> plain(object);
            case ArrayNode array -> {
                List<@Nullable Object> items = new ArrayList<>(array.size());
                array.forEach(item -> items.add(plain(item)));
                yield Collections.unmodifiableList(items);
            }
            default ->
                node.isTextual()
                        ? node.textValue()
                        : node.isNumber() ? node.numberValue() : node.isBoolean() ? (Object) node.booleanValue() : null;
        };
    }

    /**
     * A parser for large files that no tree is built of. It refuses duplicate names; the caller checks the end.
     *
     * @param text JSON
     * @return the parser
     * @throws IOException never for text in memory, declared by the library
     */
    public static JsonParser parser(String text) throws IOException {
        return FACTORY.createParser(text);
    }

    /**
     * {@return the exception to throw}
     *
     * @param file the file that could not be read
     * @param e why
     */
    public static ModelFormatException unreadable(Path file, IOException e) {
        if (e instanceof NoSuchFileException) {
            return new ModelFormatException(file + ": no such file", e);
        }
        return new ModelFormatException(file + ": cannot be read: " + e.getMessage(), e);
    }

    /**
     * {@return the exception to throw}
     *
     * @param where the file
     * @param e what the JSON library found
     */
    public static ModelFormatException malformed(String where, JsonProcessingException e) {
        String at = e.getLocation() == null
                ? ""
                : " (line " + e.getLocation().getLineNr() + ", column "
                        + e.getLocation().getColumnNr() + ")";
        return new ModelFormatException(where + ": not valid JSON: " + e.getOriginalMessage() + at, e);
    }

    /**
     * A JSON value for a message, cut when long.
     *
     * @param node the value
     * @return its text
     */
    static String show(JsonNode node) {
        return shorten(node.toString());
    }

    /**
     * A name from a file for a message: quoted, cut when long.
     *
     * @param name the name
     * @return its text
     */
    public static String quote(String name) {
        return '"' + shorten(name) + '"';
    }

    private static String shorten(String text) {
        if (text.length() <= MAX_SHOWN) {
            return text;
        }
        int end = Character.isHighSurrogate(text.charAt(MAX_SHOWN - 1)) ? MAX_SHOWN - 1 : MAX_SHOWN;
        return text.substring(0, end) + "…";
    }
}
