// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.ModelFormatException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;

/**
 * The fields of one JSON object. It remembers which were read, so that every other one can be refused by name. A field
 * whose value is {@code null} counts as absent.
 */
public final class JsonFields {
    private final String where;
    private final ObjectNode node;
    private final Set<String> read = new HashSet<>();

    JsonFields(String where, ObjectNode node) {
        this.where = where;
        this.node = node;
    }

    /**
     * {@return the exception to throw}
     *
     * @param problem what is wrong, without the place
     */
    public ModelFormatException refuse(String problem) {
        return new ModelFormatException(where + ": " + problem);
    }

    /**
     * {@return the exception to throw}
     *
     * @param name of the field
     * @param expected what its value must be
     * @param got what it is
     */
    public ModelFormatException refuse(String name, String expected, JsonNode got) {
        return refuse(name + " must be " + expected + ", got " + StrictJson.show(got));
    }

    /**
     * {@return its value unless absent or null}
     *
     * @param name of a field
     */
    public Optional<JsonNode> value(String name) {
        read.add(name);
        return Optional.ofNullable(node.get(name)).filter(value -> !value.isNull());
    }

    /** A field that must be written, be it as null. */
    void requireWritten(String name) {
        if (!node.has(name)) {
            throw missing(name);
        }
    }

    private ModelFormatException missing(String name) {
        return refuse("the field " + name + " is missing");
    }

    private JsonNode required(String name) {
        return value(name).orElseThrow(() -> missing(name));
    }

    int requiredInt(String name, int min, int max) {
        return asInt(name, required(name), min, max);
    }

    OptionalInt optionalInt(String name, int min, int max) {
        return value(name)
                .map(value -> OptionalInt.of(asInt(name, value, min, max)))
                .orElseGet(OptionalInt::empty);
    }

    private int asInt(String name, JsonNode value, int min, int max) {
        if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < min || value.intValue() > max) {
            throw refuse(name, "an integer from " + min + " to " + max, value);
        }
        return value.intValue();
    }

    /** Token ids: one, several, or none. */
    List<Integer> tokenIds(String name, int vocabularySize) {
        Optional<JsonNode> value = value(name);
        List<Integer> ids = new ArrayList<>();
        if (value.isPresent() && value.get().isArray()) {
            for (JsonNode element : value.get()) {
                ids.add(asInt(name, element, 0, vocabularySize - 1));
            }
        } else if (value.isPresent()) {
            ids.add(asInt(name, value.get(), 0, vocabularySize - 1));
        }
        return ids;
    }

    double requiredPositive(String name) {
        return asPositive(name, required(name));
    }

    OptionalDouble optionalPositive(String name) {
        return value(name)
                .map(value -> OptionalDouble.of(asPositive(name, value)))
                .orElseGet(OptionalDouble::empty);
    }

    private double asPositive(String name, JsonNode value) {
        // The value is used in fp32, so it must be positive and finite there too.
        if (!value.isNumber() || !((float) value.doubleValue() > 0) || Float.isInfinite((float) value.doubleValue())) {
            throw refuse(name, "a positive number", value);
        }
        return value.doubleValue();
    }

    /** A number in [0, 1). */
    double requiredFraction(String name) {
        JsonNode value = required(name);
        if (!value.isNumber() || !(value.doubleValue() >= 0 && value.doubleValue() < 1)) {
            throw refuse(name, "a number in [0, 1)", value);
        }
        return value.doubleValue();
    }

    List<Double> requiredPositives(String name, int count) {
        JsonNode value = required(name);
        if (!value.isArray() || value.size() != count) {
            throw refuse(
                    name,
                    "a list of " + count + " positive numbers",
                    value.isArray() ? node.numberNode(value.size()) : value);
        }
        List<Double> numbers = new ArrayList<>(count);
        for (JsonNode element : value) {
            numbers.add(asPositive("each number of " + name, element));
        }
        return List.copyOf(numbers);
    }

    /**
     * {@return its value, a string}
     *
     * @param name of a required field
     */
    public String requiredString(String name) {
        return asString(name, required(name));
    }

    Optional<String> optionalString(String name) {
        return value(name).map(value -> asString(name, value));
    }

    private String asString(String name, JsonNode value) {
        if (!value.isTextual()) {
            throw refuse(name, "a string", value);
        }
        return value.textValue();
    }

    List<String> requiredStrings(String name) {
        JsonNode value = required(name);
        if (!value.isArray()) {
            throw refuse(name, "a list of strings", value);
        }
        List<String> strings = new ArrayList<>();
        for (JsonNode element : value) {
            strings.add(asString("each element of " + name, element));
        }
        return strings;
    }

    <E extends Enum<E>> E requiredOneOf(String name, E[] choices) {
        JsonNode value = required(name);
        List<String> names = new ArrayList<>();
        for (E choice : choices) {
            names.add('"' + choice.toString() + '"');
            if (value.isTextual() && choice.toString().equals(value.textValue())) {
                return choice;
            }
        }
        throw refuse(name, "one of " + String.join(", ", names), value);
    }

    boolean optionalBoolean(String name, boolean otherwise) {
        Optional<JsonNode> value = value(name);
        if (value.isEmpty()) {
            return otherwise;
        }
        if (!value.get().isBoolean()) {
            throw refuse(name, "true or false", value.get());
        }
        return value.get().booleanValue();
    }

    JsonFields requiredObject(String name) {
        required(name);
        return optionalObject(name).orElseThrow();
    }

    Optional<JsonFields> optionalObject(String name) {
        return value(name).map(value -> {
            if (!(value instanceof ObjectNode object)) {
                throw refuse(name, "an object", value);
            }
            return new JsonFields(where + ": " + name, object);
        });
    }

    /**
     * A field that is supported only with the value that changes nothing.
     *
     * @param name of the field
     * @param supported the values, besides null, as JSON writes them
     */
    void only(String name, Set<String> supported) {
        value(name).ifPresent(value -> {
            if (!supported.contains(value.toString())) {
                throw refuse(name + " = " + StrictJson.show(value) + " is not supported"
                        + (supported.isEmpty()
                                ? ""
                                : ", only "
                                        + String.join(
                                                " or ",
                                                supported.stream().sorted().toList())));
            }
        });
    }

    Iterable<String> names() {
        return node::fieldNames;
    }

    /**
     * Refuses the first field that was neither read nor is listed.
     *
     * @param harmless fields without effect on inference
     */
    void refuseOthers(Set<String> harmless) {
        for (String name : names()) {
            if (!read.contains(name) && !harmless.contains(name)) {
                throw refuse("the field " + StrictJson.quote(name) + " = " + StrictJson.show(node.get(name))
                        + " is not supported");
            }
        }
    }
}
