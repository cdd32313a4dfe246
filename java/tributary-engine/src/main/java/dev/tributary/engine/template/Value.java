// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A value of a template; each kind behaves as its namesake in Python. Nothing but a namespace changes. */
sealed interface Value {
    /**
     * A name or an attribute that does not exist. Prints as nothing; most uses fail.
     *
     * @param why what a failure says
     */
    record Undefined(String why) implements Value {}

    /** Python's {@code None}. */
    enum None implements Value {
        NONE
    }

    enum Bool implements Value {
        FALSE,
        TRUE;

        static Bool of(boolean value) {
            return value ? TRUE : FALSE;
        }

        /** {@return the number that it counts as} */
        BigInteger number() {
            return this == TRUE ? BigInteger.ONE : BigInteger.ZERO;
        }
    }

    record Int(BigInteger value) implements Value {
        static Int of(long value) {
            return new Int(BigInteger.valueOf(value));
        }
    }

    record Real(double value) implements Value {}

    /**
     * @param text the characters
     * @param safe whether it counts as HTML already, so that what is added to it is escaped
     */
    record Text(String text, boolean safe) implements Value {
        Text(String text) {
            this(text, false);
        }
    }

    /**
     * Values in order.
     *
     * @param kind which of Python's kinds
     * @param items never changed
     */
    record Items(Kind kind, List<Value> items) implements Value {
        enum Kind {
            LIST("list"),
            TUPLE("tuple"),
            RANGE("range"),
            KEYS("dict_keys"),
            VALUES("dict_values"),
            PAIRS("dict_items");

            final String python;

            Kind(String python) {
                this.python = python;
            }
        }

        static Items list(List<Value> items) {
            return new Items(Kind.LIST, items);
        }

        static Items tuple(Value... items) {
            return new Items(Kind.TUPLE, List.of(items));
        }

        /** {@return whether single items can be asked for} */
        boolean isIndexed() {
            return kind == Kind.LIST || kind == Kind.TUPLE || kind == Kind.RANGE;
        }
    }

    /** What {@code map}, {@code select} and their like give: can be read once. */
    final class Stream implements Value {
        private final List<Value> items;
        private int next;

        Stream(List<Value> items) {
            this.items = items;
        }

        boolean hasNext() {
            return next < items.size();
        }

        Value next() {
            return items.get(next++);
        }

        List<Value> rest() {
            List<Value> rest = items.subList(next, items.size());
            next = items.size();
            return rest;
        }
    }

    /** Keys and values in order of insertion; never changed once a template sees it. */
    final class Dict implements Value {
        private final Map<Value, Value> entries = new LinkedHashMap<>();

        Map<Value, Value> entries() {
            return entries;
        }

        /** Python takes 1, 1.0 and True for one key. */
        private static Value canonical(Value key) {
            return switch (key) {
                case Bool bool -> new Int(bool.number());
                case Real(double real) when real == Math.rint(real) && Math.abs(real) < 0x1p53 -> Int.of((long) real);
                case Text(String text, boolean safe) when safe -> new Text(text);
                default -> key;
            };
        }

        private Value stored(Value key) {
            if (entries.containsKey(key)) {
                return key;
            }
            Value wanted = canonical(key);
            for (Value present : key instanceof Text ? List.<Value>of(wanted) : entries.keySet()) {
                if (canonical(present).equals(wanted)) {
                    return present;
                }
            }
            return key;
        }

        void put(Value key, Value value) {
            entries.put(stored(key), value);
        }

        void put(String key, Value value) {
            entries.put(new Text(key), value);
        }

        Value get(Value key, Value otherwise) {
            return entries.getOrDefault(stored(key), otherwise);
        }

        boolean has(Value key) {
            return entries.containsKey(stored(key));
        }

        List<Value> keys() {
            return new ArrayList<>(entries.keySet());
        }

        List<Value> pairs() {
            List<Value> pairs = new ArrayList<>(entries.size());
            entries.forEach((key, value) -> pairs.add(Items.tuple(key, value)));
            return pairs;
        }
    }

    /** What {@code namespace()} gives: the one thing whose attributes a template can set. */
    final class Namespace implements Value {
        private final Map<String, Value> attributes = new LinkedHashMap<>();

        Map<String, Value> attributes() {
            return attributes;
        }
    }

    /** Something with attributes that can be called or asked: a macro, {@code loop}, a cycler, a method. */
    non-sealed interface Callable extends Value {
        /** {@return what Python calls it} */
        String python();

        /**
         * Calls it.
         *
         * @param arguments what it is given
         */
        Value call(Arguments arguments);

        /**
         * {@return an attribute, or an undefined value}
         *
         * @param name which
         */
        default Value attribute(String name) {
            return new Undefined("'" + python() + "' has no attribute '" + name + "'");
        }
    }
}
