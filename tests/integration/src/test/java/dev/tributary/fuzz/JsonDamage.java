// SPDX-License-Identifier: Apache-2.0
package dev.tributary.fuzz;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.util.RawValue;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.random.RandomGenerator;

/** Damage to JSON that keeps it JSON: other values, other names, other places. */
final class JsonDamage {
    private static final JsonMapper MAPPER = new JsonMapper();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final List<String> VALUES = List.of(
            "null",
            "true",
            "false",
            "0",
            "-0.0",
            "1",
            "-1",
            "2",
            "3",
            "7",
            "16",
            "64",
            "255",
            "65536",
            "2147483647",
            "2147483648",
            "-2147483648",
            "4294967296",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551616",
            "1e30",
            "1e-30",
            "1e308",
            "1e999",
            "-1e999",
            "5e-324",
            "0.5",
            "1.0",
            "0.1",
            "\"\"",
            "\"\\u0000\"",
            "\"\\ud83d\"",
            "\"a\\nb\"",
            "\"\\u0085\\u2028\"",
            "\"..\"",
            "\"😀\"",
            "\"▁\"",
            "[]",
            "{}",
            "[[]]",
            "[null]",
            "[0]",
            "{\"\":null}");

    private JsonDamage() {}

    /**
     * One to three changes of structure, and sometimes damage to the text as well.
     *
     * @param words names and values that mean something to the reader, as JSON
     */
    static byte[] to(byte[] json, List<String> words, RandomGenerator random) {
        JsonNode sound;
        try {
            sound = MAPPER.readTree(json);
        } catch (IOException e) {
            return Damage.to(json, random); // damaged before
        }
        if (!(sound instanceof ObjectNode root)) {
            return Damage.to(json, random);
        }
        for (int i = random.nextInt(3); i >= 0; i--) {
            change(root, words, random);
        }
        String text = root.toString();
        if (random.nextInt(12) == 0) {
            text = withDuplicate(text, random);
        }
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return random.nextInt(6) == 0 ? Damage.to(bytes, random) : bytes;
    }

    /** A name twice in one object. */
    private static String withDuplicate(String text, RandomGenerator random) {
        int at = text.indexOf("\":", random.nextInt(text.length()));
        int begin = at < 0 ? -1 : text.lastIndexOf('"', at - 1);
        return begin < 0
                ? text
                : text.substring(0, begin) + text.substring(begin, at + 2) + "0," + text.substring(begin);
    }

    private static void change(ObjectNode root, List<String> words, RandomGenerator random) {
        List<JsonNode> all = new ArrayList<>();
        collect(root, all);
        List<JsonNode> containers =
                all.stream().filter(JsonNode::isContainerNode).toList();
        // The outer ones are few and matter most.
        JsonNode container = containers.get(
                random.nextInt(random.nextBoolean() ? containers.size() : Math.min(4, containers.size())));
        switch (container) {
            case ObjectNode object -> change(object, all, words, random);
            case ArrayNode array -> change(array, all, words, random);
            default -> throw new AssertionError(container.getNodeType());
        }
    }

    private static void collect(JsonNode node, List<JsonNode> all) {
        all.add(node);
        node.forEach(child -> collect(child, all));
    }

    private static void change(ObjectNode object, List<JsonNode> all, List<String> words, RandomGenerator random) {
        List<String> names = new ArrayList<>();
        object.fieldNames().forEachRemaining(names::add);
        if (names.isEmpty() || random.nextInt(6) == 0) {
            object.set(name(words, random), value(NODES.nullNode(), all, words, random));
            return;
        }
        String name = names.get(random.nextInt(names.size()));
        JsonNode before = object.get(name);
        switch (random.nextInt(8)) {
            case 0 -> object.remove(name);
            case 1 -> {
                object.remove(name);
                object.set(name(words, random), before);
            }
            default -> object.set(name, value(before, all, words, random));
        }
    }

    private static void change(ArrayNode array, List<JsonNode> all, List<String> words, RandomGenerator random) {
        if (array.isEmpty() || random.nextInt(6) == 0) {
            array.insert(random.nextInt(array.size() + 1), value(NODES.nullNode(), all, words, random));
            return;
        }
        int at = random.nextInt(array.size());
        switch (random.nextInt(8)) {
            case 0 -> array.remove(at);
            case 1 -> array.insert(random.nextInt(array.size()), array.get(at).deepCopy());
            default -> array.set(at, value(array.get(at), all, words, random));
        }
    }

    private static String name(List<String> words, RandomGenerator random) {
        JsonNode word = words.isEmpty() ? NODES.nullNode() : parse(words.get(random.nextInt(words.size())));
        return word.isTextual() ? word.textValue() : Texts.some(random);
    }

    private static JsonNode value(JsonNode before, List<JsonNode> all, List<String> words, RandomGenerator random) {
        return switch (random.nextInt(10)) {
            case 0 -> all.get(random.nextInt(all.size())).deepCopy();
            case 1 -> NODES.arrayNode().add(before.deepCopy());
            case 2 -> NODES.textNode(random.nextInt(30) == 0 ? Texts.any(random) : Texts.some(random));
            case 3 ->
                raw(random.nextInt(10) == 0 ? "[".repeat(900) + "]".repeat(900) : "9".repeat(random.nextInt(1, 40)));
            case 4, 5 -> words.isEmpty() ? NODES.nullNode() : raw(words.get(random.nextInt(words.size())));
            case 6, 7 -> near(before, random);
            default -> raw(VALUES.get(random.nextInt(VALUES.size())));
        };
    }

    /** A value like the one that was there. */
    private static JsonNode near(JsonNode before, RandomGenerator random) {
        if (before.isIntegralNumber()) {
            long value = before.longValue();
            return NODES.numberNode(
                    switch (random.nextInt(6)) {
                        case 0 -> value + 1;
                        case 1 -> value - 1;
                        case 2 -> value * 2;
                        case 3 -> value / 2;
                        case 4 -> -value;
                        default -> value ^ (1L << random.nextInt(63));
                    });
        }
        if (before.isNumber()) {
            return NODES.numberNode(before.doubleValue() * Math.pow(10, random.nextInt(-40, 40)));
        }
        if (before.isTextual()) {
            String text = before.textValue();
            int at = random.nextInt(text.length() + 1);
            return NODES.textNode(text.substring(0, at)
                    + Texts.some(random)
                    + text.substring(random.nextBoolean() ? at : text.length()));
        }
        return before.isBoolean() ? NODES.booleanNode(!before.booleanValue()) : NODES.nullNode();
    }

    /** JSON as it is written here, so that it may be what no node can hold. */
    private static JsonNode raw(String json) {
        return NODES.rawValueNode(new RawValue(json));
    }

    private static JsonNode parse(String json) {
        try {
            return MAPPER.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
