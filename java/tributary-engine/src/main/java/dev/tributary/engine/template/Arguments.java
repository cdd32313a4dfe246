// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a call is given.
 *
 * @param positional in order
 * @param named by keyword
 */
record Arguments(List<Value> positional, Map<String, Value> named) {
    static final Arguments NONE = new Arguments(List.of(), Map.of());

    static Arguments of(Value... values) {
        return new Arguments(List.of(values), Map.of());
    }

    /** The parameters of a function, by what they were given. */
    static final class Bound {
        private final String function;
        private final Map<String, Value> values;

        private Bound(String function, Map<String, Value> values) {
            this.function = function;
            this.values = values;
        }

        Optional<Value> find(String name) {
            return Optional.ofNullable(values.get(name));
        }

        /** {@return a value; None counts as left out} */
        Optional<Value> some(String name) {
            return find(name).filter(value -> value != Value.None.NONE);
        }

        Value get(String name) {
            return find(name).orElseThrow(() -> new TemplateFailure(function + " needs the argument " + name));
        }

        boolean flag(String name, boolean otherwise) {
            return find(name).map(Operators::truth).orElse(otherwise);
        }

        String text(String name) {
            return requireText(name, get(name));
        }

        String requireText(String name, Value value) {
            if (value instanceof Value.Text(String text, boolean _)) {
                return text;
            }
            throw new TemplateFailure(
                    function + ": " + name + " is " + Operators.typeName(value) + ", expected a string");
        }

        int number(String name) {
            Value value = get(name);
            BigInteger number = Operators.integer(value)
                    .orElseThrow(() -> new TemplateFailure(
                            function + ": " + name + " is " + Operators.typeName(value) + ", expected an integer"));
            return number.max(BigInteger.valueOf(Integer.MIN_VALUE))
                    .min(BigInteger.valueOf(Integer.MAX_VALUE))
                    .intValue();
        }

        int number(String name, int otherwise) {
            return find(name).isPresent() ? number(name) : otherwise;
        }
    }

    /**
     * Gives each parameter its argument.
     *
     * @param function what failures call it
     * @param parameters names in order; a {@code *} ends those that may be given without their name
     */
    Bound bind(String function, String... parameters) {
        Map<String, Value> values = new LinkedHashMap<>();
        List<String> names = new ArrayList<>();
        int most = parameters.length;
        for (String parameter : parameters) {
            if (parameter.equals("*")) {
                most = names.size();
            } else {
                names.add(parameter);
            }
        }
        if (positional.size() > Math.min(most, names.size())) {
            throw new TemplateFailure(function + " takes at most " + Math.min(most, names.size()) + " arguments, got "
                    + positional.size());
        }
        for (int i = 0; i < positional.size(); i++) {
            values.put(names.get(i), positional.get(i));
        }
        named.forEach((name, value) -> {
            if (!names.contains(name)) {
                throw new TemplateFailure(function + " has no argument " + name);
            }
            if (values.putIfAbsent(name, value) != null) {
                throw new TemplateFailure(function + " is given " + name + " twice");
            }
        });
        return new Bound(function, values);
    }

    /** {@return the same without the first one} */
    Arguments rest() {
        return new Arguments(positional.subList(1, positional.size()), named);
    }
}
