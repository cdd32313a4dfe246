// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Text;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** The {@code tojson} of transformers: Python's {@code json.dumps}, with characters beyond ASCII as they are. */
final class Json {
    private static final int MAX_NESTING = 200;

    private final StringBuilder text = new StringBuilder();
    private final Budget budget;
    private final boolean ascii;
    private final boolean sortKeys;
    private final Optional<String> indent;
    private final String itemSeparator;
    private final String keySeparator;

    private Json(
            Budget budget,
            boolean ascii,
            boolean sortKeys,
            Optional<String> indent,
            String itemSeparator,
            String keySeparator) {
        this.budget = budget;
        this.ascii = ascii;
        this.sortKeys = sortKeys;
        this.indent = indent;
        this.itemSeparator = itemSeparator;
        this.keySeparator = keySeparator;
    }

    static Value filter(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("tojson", "ensure_ascii", "indent", "separators", "sort_keys");
        Optional<String> indent = bound.some("indent")
                .map(given -> given instanceof Text(String spaces, boolean _)
                        ? spaces
                        : " ".repeat(Math.clamp(bound.number("indent"), 0, 64)));
        String itemSeparator = indent.isPresent() ? "," : ", ";
        String keySeparator = ": ";
        Optional<Value> separators = bound.some("separators");
        if (separators.isPresent()) {
            if (!(separators.get() instanceof Items(Items.Kind _, List<Value> pair)) || pair.size() != 2) {
                throw new TemplateFailure("tojson: separators is " + Operators.typeName(separators.get())
                        + ", expected a pair of strings");
            }
            itemSeparator = bound.requireText("separators", pair.getFirst());
            keySeparator = bound.requireText("separators", pair.getLast());
        }
        Json json = new Json(
                budget,
                bound.flag("ensure_ascii", false),
                bound.flag("sort_keys", false),
                indent,
                itemSeparator,
                keySeparator);
        json.write(value, 0);
        return new Text(json.text.toString());
    }

    private void write(Value value, int depth) {
        if (depth > MAX_NESTING) {
            throw new TemplateFailure("tojson: the value is nested deeper than " + MAX_NESTING + " levels");
        }
        budget.grow(text.length());
        switch (value) {
            case None _ -> text.append("null");
            case Bool bool -> text.append(bool == Bool.TRUE);
            case Int(BigInteger number) -> text.append(number);
            case Real(double number) -> text.append(number(number));
            case Text(String content, boolean _) -> string(content);
            case Items items
            when items.kind() == Items.Kind.LIST || items.kind() == Items.Kind.TUPLE -> array(items.items(), depth);
            case Dict dict -> object(dict, depth);
            default -> throw Operators.unsuitable(value, "tojson expects what JSON can hold");
        }
    }

    private static String number(double number) {
        if (Double.isNaN(number)) {
            return "NaN";
        }
        return Double.isInfinite(number) ? (number > 0 ? "Infinity" : "-Infinity") : PythonText.number(number);
    }

    private void breakLine(int depth) {
        indent.ifPresent(unit -> {
            budget.text((long) unit.length() * depth);
            text.append('\n').append(unit.repeat(depth));
        });
    }

    private void array(List<Value> items, int depth) {
        if (items.isEmpty()) {
            text.append("[]");
            return;
        }
        text.append('[');
        String separator = "";
        for (Value item : items) {
            text.append(separator);
            breakLine(depth + 1);
            write(item, depth + 1);
            separator = itemSeparator;
        }
        breakLine(depth);
        text.append(']');
    }

    private void object(Dict dict, int depth) {
        if (dict.entries().isEmpty()) {
            text.append("{}");
            return;
        }
        text.append('{');
        List<Map.Entry<Value, Value>> entries = new ArrayList<>(dict.entries().entrySet());
        if (sortKeys) {
            entries.sort((a, b) -> Operators.order(a.getKey(), b.getKey()));
        }
        String separator = "";
        for (Map.Entry<Value, Value> entry : entries) {
            text.append(separator);
            breakLine(depth + 1);
            string(key(entry.getKey()));
            text.append(keySeparator);
            write(entry.getValue(), depth + 1);
            separator = itemSeparator;
        }
        breakLine(depth);
        text.append('}');
    }

    private static String key(Value key) {
        return switch (key) {
            case Text(String text, boolean _) -> text;
            case None _ -> "null";
            case Bool bool -> bool == Bool.TRUE ? "true" : "false";
            case Int(BigInteger number) -> number.toString();
            case Real(double number) -> number(number);
            default -> throw Operators.unsuitable(key, "tojson expects keys that are strings or numbers");
        };
    }

    private void string(String content) {
        budget.text(content.length());
        text.append('"');
        for (int i = 0; i < content.length(); i++) {
            char c = content.charAt(i);
            switch (c) {
                case '"' -> text.append("\\\"");
                case '\\' -> text.append("\\\\");
                case '\n' -> text.append("\\n");
                case '\r' -> text.append("\\r");
                case '\t' -> text.append("\\t");
                case '\b' -> text.append("\\b");
                case '\f' -> text.append("\\f");
                default -> {
                    if (c < 0x20 || (ascii && c > 0x7E)) {
                        text.append(String.format(Locale.ROOT, "\\u%04x", (int) c));
                    } else {
                        text.append(c);
                    }
                }
            }
        }
        text.append('"');
    }
}
