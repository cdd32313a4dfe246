// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.model.StrictJson;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What JSON can hold, copied so that nobody can change it: null, Boolean, Number, String, List, Map in order. */
final class Json {
    private static final int MAX_NESTING = 100;

    private static final int MAX_VALUES = 1_000_000;

    private final String what;
    private int values;

    private Json(String what) {
        this.what = what;
    }

    /** {@return the fields of a JSON object} */
    static Map<String, @Nullable Object> parse(String what, String json) {
        try {
            return StrictJson.plainObject(what, Objects.requireNonNull(json, "json"));
        } catch (ModelFormatException e) {
            throw new ConfigurationException(String.valueOf(e.getMessage()), e);
        }
    }

    static Map<String, @Nullable Object> copyOf(String what, Map<?, ?> map) {
        return new Json(what).copyOf(map, 0);
    }

    static @Nullable Object copyOf(String what, @Nullable Object value) {
        return new Json(what).copyOf(value, 0);
    }

    private Map<String, @Nullable Object> copyOf(Map<?, ?> map, int depth) {
        Map<String, @Nullable Object> copy = new LinkedHashMap<>();
        map.forEach((key, value) -> {
            if (!(key instanceof String name)) {
                throw new ConfigurationException(what + " has the key " + key + ", expected a string");
            }
            copy.put(name, copyOf(value, depth + 1));
        });
        return Collections.unmodifiableMap(copy);
    }

    private @Nullable Object copyOf(@Nullable Object value, int depth) {
        if (depth > MAX_NESTING) {
            throw new ConfigurationException(what + " is nested deeper than " + MAX_NESTING + " levels");
        }
        // Few objects can stand for very many values, where each holds another one twice.
        if (++values > MAX_VALUES) {
            throw new ConfigurationException(what + " holds more than " + MAX_VALUES + " values");
        }
        return switch (value) {
            case null -> null;
            case String _,
                    Boolean _,
                    Byte _,
                    Short _,
                    Integer _,
                    Long _,
                    BigInteger _,
                    Float _,
                    Double _,
                    BigDecimal _ -> value;
            case List<?> list -> {
                List<@Nullable Object> copy = new ArrayList<>(list.size());
                for (Object item : list) {
                    copy.add(copyOf(item, depth + 1));
                }
                yield Collections.unmodifiableList(copy);
            }
            case Map<?, ?> map -> copyOf(map, depth);
            default ->
                throw new ConfigurationException(
                        what + " holds a " + value.getClass().getName()
                                + ", expected what JSON can hold: null, Boolean, Number, String, List or Map");
        };
    }
}
