// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.Namespace;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Stream;
import dev.tributary.engine.template.Value.Text;
import dev.tributary.engine.template.Value.Undefined;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** What Python's operators and built-in functions do with values. */
final class Operators {
    /** Far beyond what a template computes with, and quickly printed. */
    private static final int MAX_INTEGER_BITS = 4096;

    /** Nested lists and dicts are walked by recursion. */
    private static final int MAX_NESTING = 200;

    private Operators() {}

    static String typeName(Value value) {
        return switch (value) {
            case Undefined _ -> "undefined";
            case None _ -> "None";
            case Bool _ -> "a bool";
            case Int _ -> "an int";
            case Real _ -> "a float";
            case Text _ -> "a string";
            case Items items -> "a " + items.kind().python;
            case Stream _ -> "a generator";
            case Dict _ -> "a dict";
            case Namespace _ -> "a namespace";
            case Callable callable -> callable.python();
        };
    }

    /** {@return a failure of an undefined value when the value is one, else one that names its type} */
    static TemplateFailure unsuitable(Value value, String message) {
        return value instanceof Undefined(String why)
                ? new TemplateFailure(why)
                : new TemplateFailure(message + ", got " + typeName(value));
    }

    static boolean truth(Value value) {
        return switch (value) {
            case Undefined _, None _ -> false;
            case Bool bool -> bool == Bool.TRUE;
            case Int(BigInteger number) -> number.signum() != 0;
            case Real(double number) -> number != 0;
            case Text(String text, boolean _) -> !text.isEmpty();
            case Items(Items.Kind _, List<Value> items) -> !items.isEmpty();
            case Dict dict -> !dict.entries().isEmpty();
            case Stream _, Namespace _, Callable _ -> true;
        };
    }

    /** {@return its value when it is an int or a bool} */
    static Optional<BigInteger> integer(Value value) {
        return switch (value) {
            case Int(BigInteger number) -> Optional.of(number);
            case Bool bool -> Optional.of(bool.number());
            default -> Optional.empty();
        };
    }

    static boolean isNumber(Value value) {
        return value instanceof Int || value instanceof Bool || value instanceof Real;
    }

    static double real(Value value) {
        if (value instanceof Real(double number)) {
            return number;
        }
        double number = integer(value)
                .orElseThrow(() -> unsuitable(value, "expected a number"))
                .doubleValue();
        if (Double.isInfinite(number)) {
            throw new TemplateFailure("an int is too large to become a float");
        }
        return number;
    }

    // Comparison

    static boolean same(Value left, Value right) {
        return same(left, right, 0);
    }

    @SuppressWarnings("ReferenceEquality") // what has no contents is equal to itself only
    private static boolean same(Value left, Value right, int depth) {
        requireShallow(depth);
        if (isNumber(left) && isNumber(right)) {
            return compareNumbers(left, right) == 0;
        }
        return switch (left) {
            case Undefined _ -> right instanceof Undefined;
            case None _ -> right instanceof None;
            case Text(String text, boolean _) -> right instanceof Text(String other, boolean _) && text.equals(other);
            case Items items -> right instanceof Items other && sameItems(items, other, depth);
            case Dict dict -> right instanceof Dict other && sameEntries(dict, other, depth);
            default -> left == right;
        };
    }

    private static void requireShallow(int depth) {
        if (depth > MAX_NESTING) {
            throw new TemplateFailure("a value is nested deeper than " + MAX_NESTING + " levels");
        }
    }

    private static boolean sameItems(Items left, Items right, int depth) {
        if (left.kind() != right.kind() || left.items().size() != right.items().size()) {
            return false;
        }
        Iterator<Value> others = right.items().iterator();
        for (Value item : left.items()) {
            if (!same(item, others.next(), depth + 1)) {
                return false;
            }
        }
        return true;
    }

    private static boolean sameEntries(Dict left, Dict right, int depth) {
        if (left.entries().size() != right.entries().size()) {
            return false;
        }
        for (Map.Entry<Value, Value> entry : left.entries().entrySet()) {
            if (!right.has(entry.getKey())
                    || !same(entry.getValue(), right.get(entry.getKey(), None.NONE), depth + 1)) {
                return false;
            }
        }
        return true;
    }

    /** NaN is neither less, equal nor greater: then the result is 2. */
    private static int compareNumbers(Value left, Value right) {
        Optional<BigInteger> l = integer(left);
        Optional<BigInteger> r = integer(right);
        if (l.isPresent() && r.isPresent()) {
            return l.get().compareTo(r.get());
        }
        double a = left instanceof Real(double number) ? number : 0;
        double b = right instanceof Real(double number) ? number : 0;
        if (Double.isNaN(a) || Double.isNaN(b)) {
            return 2;
        }
        if (Double.isInfinite(a) || Double.isInfinite(b)) {
            return Double.compare(a, b);
        }
        return l.map(BigDecimal::new)
                .orElseGet(() -> new BigDecimal(a))
                .compareTo(r.map(BigDecimal::new).orElseGet(() -> new BigDecimal(b)));
    }

    /** {@code <}, {@code <=}, {@code >}, {@code >=}. */
    static boolean ordered(String operator, Value left, Value right) {
        int order = compare(operator, left, right, 0);
        return switch (operator) {
            case "<" -> order < 0;
            case "<=" -> order <= 0;
            case ">" -> order > 0 && order != 2;
            default -> order >= 0 && order != 2;
        };
    }

    /** {@return −1, 0, 1, or 2 when NaN is compared} */
    private static int compare(String operator, Value left, Value right, int depth) {
        requireShallow(depth);
        if (isNumber(left) && isNumber(right)) {
            return compareNumbers(left, right);
        }
        if (left instanceof Text(String a, boolean _) && right instanceof Text(String b, boolean _)) {
            return compareText(a, b);
        }
        if (left instanceof Items(Items.Kind kind, List<Value> a)
                && right instanceof Items(Items.Kind other, List<Value> b)
                && kind == other
                && (kind == Items.Kind.LIST || kind == Items.Kind.TUPLE)) {
            for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
                if (!same(a.get(i), b.get(i), depth + 1)) {
                    return compare(operator, a.get(i), b.get(i), depth + 1);
                }
            }
            return Integer.compare(a.size(), b.size());
        }
        Value odd = left instanceof Undefined ? left : right;
        if (odd instanceof Undefined(String why)) {
            throw new TemplateFailure(why);
        }
        throw new TemplateFailure("'" + operator + "' does not order " + typeName(left) + " and " + typeName(right));
    }

    /** By code points, as Python orders strings. */
    private static int compareText(String a, String b) {
        int common = Math.min(a.length(), b.length());
        for (int i = 0; i < common; i++) {
            char l = a.charAt(i);
            char r = b.charAt(i);
            if (l != r) {
                boolean surrogates = Character.isSurrogate(l) != Character.isSurrogate(r);
                return surrogates ? (Character.isSurrogate(l) ? 1 : -1) : Integer.signum(Character.compare(l, r));
            }
        }
        return Integer.compare(a.length(), b.length());
    }

    static int order(Value left, Value right) {
        int order = compare("<", left, right, 0);
        return order == 2 ? 0 : order;
    }

    static boolean contains(Value container, Value item, Budget budget) {
        return switch (container) {
            case Text(String text, boolean _) -> {
                if (!(item instanceof Text(String part, boolean _))) {
                    throw unsuitable(item, "'in' a string expects a string");
                }
                budget.search(text, part);
                yield text.contains(part);
            }
            case Dict dict -> {
                requireHashable(item);
                yield dict.has(item);
            }
            case Stream stream -> {
                while (stream.hasNext()) {
                    if (same(stream.next(), item)) {
                        yield true;
                    }
                }
                yield false;
            }
            default -> {
                List<Value> items = items(container);
                budget.work(items.size());
                yield items.stream().anyMatch(member -> same(member, item));
            }
        };
    }

    static void requireHashable(Value key) {
        switch (key) {
            case Items items
            when items.kind() == Items.Kind.TUPLE -> items.items().forEach(Operators::requireHashable);
            case Items _, Dict _ ->
                throw new TemplateFailure("a key of a dict is " + typeName(key) + ", which cannot be one");
            default -> {
                // Everything else can.
            }
        }
    }

    // Iteration

    /** {@return what a loop over it sees} */
    static List<Value> items(Value value) {
        return switch (value) {
            case Undefined _ -> List.of();
            case Items items -> items.items();
            case Stream stream -> List.copyOf(stream.rest());
            case Dict dict -> dict.keys();
            case Text(String text, boolean safe) ->
                PythonText.characters(text).stream()
                        .<Value>map(character -> new Text(character, safe))
                        .toList();
            default -> throw new TemplateFailure(typeName(value) + " cannot be iterated");
        };
    }

    static boolean isIterable(Value value) {
        return switch (value) {
            case Undefined _, Items _, Stream _, Dict _, Text _ -> true;
            default -> false;
        };
    }

    static int length(Value value) {
        return switch (value) {
            case Undefined _ -> 0;
            case Text(String text, boolean _) -> PythonText.length(text);
            case Items items -> items.items().size();
            case Dict dict -> dict.entries().size();
            default -> throw new TemplateFailure(typeName(value) + " has no length");
        };
    }

    // Arithmetic

    static Value add(Value left, Value right, Budget budget) {
        if (left instanceof Text(String a, boolean safe) && right instanceof Text(String b, boolean otherSafe)) {
            budget.text(a.length() + (long) b.length());
            boolean both = safe || otherSafe;
            return both ? new Text((safe ? a : escaped(a)) + (otherSafe ? b : escaped(b)), true) : new Text(a + b);
        }
        if (left instanceof Items(Items.Kind kind, List<Value> a)
                && right instanceof Items(Items.Kind other, List<Value> b)
                && kind == other
                && (kind == Items.Kind.LIST || kind == Items.Kind.TUPLE)) {
            budget.items(a.size() + (long) b.size());
            List<Value> both = new ArrayList<>(a);
            both.addAll(b);
            return new Items(kind, both);
        }
        return arithmetic("+", left, right);
    }

    static Value binary(String operator, Value left, Value right, Budget budget) {
        return switch (operator) {
            case "+" -> add(left, right, budget);
            case "*" -> multiply(left, right, budget);
            case "%" ->
                left instanceof Text(String format, boolean _)
                        ? new Text(Printf.format(format, right, budget))
                        : arithmetic(operator, left, right);
            default -> arithmetic(operator, left, right);
        };
    }

    private static Value multiply(Value left, Value right, Budget budget) {
        if ((right instanceof Text || right instanceof Items) && integer(left).isPresent()) {
            return multiply(right, left, budget);
        }
        if (!(left instanceof Text || left instanceof Items)
                || integer(right).isEmpty()
                || left instanceof Items(Items.Kind kind, List<Value> _)
                        && kind != Items.Kind.LIST
                        && kind != Items.Kind.TUPLE) {
            return arithmetic("*", left, right);
        }
        long times = integer(right)
                .orElseThrow()
                .max(BigInteger.ZERO)
                .min(BigInteger.valueOf(Integer.MAX_VALUE))
                .longValue();
        if (left instanceof Text(String text, boolean safe)) {
            budget.text(times * text.length());
            return new Text(text.repeat((int) times), safe);
        }
        Items items = (Items) left;
        budget.items(times * items.items().size());
        List<Value> repeated = new ArrayList<>();
        for (int i = 0; i < times && !items.items().isEmpty(); i++) {
            repeated.addAll(items.items());
        }
        return new Items(items.kind(), repeated);
    }

    private static Value arithmetic(String operator, Value left, Value right) {
        if (!isNumber(left) || !isNumber(right)) {
            Value odd = left instanceof Undefined ? left : right;
            if (odd instanceof Undefined(String why)) {
                throw new TemplateFailure(why);
            }
            throw new TemplateFailure(
                    "'" + operator + "' does not go with " + typeName(left) + " and " + typeName(right));
        }
        Optional<BigInteger> l = integer(left);
        Optional<BigInteger> r = integer(right);
        if (l.isPresent() && r.isPresent() && !operator.equals("/")) {
            Optional<Value> whole = integers(operator, l.get(), r.get());
            if (whole.isPresent()) {
                return whole.get();
            }
        }
        double a = real(left);
        double b = real(right);
        if (b == 0 && (operator.equals("/") || operator.equals("//") || operator.equals("%"))) {
            throw new TemplateFailure("'" + operator + "' divides by zero");
        }
        return new Real(
                switch (operator) {
                    case "+" -> a + b;
                    case "-" -> a - b;
                    case "*" -> a * b;
                    case "/" -> a / b;
                    case "//" -> Math.floor(a / b);
                    case "%" -> modulo(a, b);
                    default -> realPower(a, b);
                });
    }

    private static double realPower(double base, double exponent) {
        if (base == 0 && exponent < 0) {
            throw new TemplateFailure("0 cannot be raised to a negative power");
        }
        double power = Math.pow(base, exponent);
        if (Double.isNaN(power) && !Double.isNaN(base) && !Double.isNaN(exponent)) {
            throw new TemplateFailure("a power that is a complex number is not supported");
        }
        if (Double.isInfinite(power) && Double.isFinite(base) && Double.isFinite(exponent)) {
            throw new TemplateFailure("a power is too large to be a float");
        }
        return power;
    }

    private static double modulo(double a, double b) {
        double rest = a % b;
        return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }

    private static Optional<Value> integers(String operator, BigInteger a, BigInteger b) {
        if ((operator.equals("//") || operator.equals("%")) && b.signum() == 0) {
            throw new TemplateFailure("'" + operator + "' divides by zero");
        }
        if (operator.equals("**")) {
            if (b.signum() < 0) {
                return Optional.empty();
            }
            if (b.bitLength() > 31 || (long) a.bitLength() * b.intValue() > MAX_INTEGER_BITS) {
                boolean trivial = a.bitLength() < 2 && a.signum() >= 0;
                if (!trivial) {
                    throw new TemplateFailure("an int is larger than the " + MAX_INTEGER_BITS + " bits supported");
                }
                return Optional.of(new Int(b.signum() == 0 ? BigInteger.ONE : a));
            }
        }
        BigInteger result = switch (operator) {
            case "+" -> a.add(b);
            case "-" -> a.subtract(b);
            case "*" -> a.multiply(b);
            case "//" -> {
                BigInteger[] parts = a.divideAndRemainder(b);
                yield parts[1].signum() != 0 && parts[1].signum() != b.signum()
                        ? parts[0].subtract(BigInteger.ONE)
                        : parts[0];
            }
            case "%" -> {
                BigInteger rest = a.remainder(b);
                yield rest.signum() != 0 && rest.signum() != b.signum() ? rest.add(b) : rest;
            }
            default -> a.pow(b.intValue());
        };
        if (result.bitLength() > MAX_INTEGER_BITS) {
            throw new TemplateFailure("an int is larger than the " + MAX_INTEGER_BITS + " bits supported");
        }
        return Optional.of(new Int(result));
    }

    static Value negative(Value value) {
        return switch (value) {
            case Real(double number) -> new Real(-number);
            default ->
                new Int(integer(value)
                        .orElseThrow(() -> unsuitable(value, "'-' expects a number"))
                        .negate());
        };
    }

    static Value positive(Value value) {
        return switch (value) {
            case Real _ -> value;
            default -> new Int(integer(value).orElseThrow(() -> unsuitable(value, "'+' expects a number")));
        };
    }

    // Printing

    static String escaped(String text) {
        return text.replace("&", "&amp;")
                .replace(">", "&gt;")
                .replace("<", "&lt;")
                .replace("'", "&#39;")
                .replace("\"", "&#34;");
    }

    /** {@code str()}. */
    static String print(Value value, Budget budget) {
        if (value instanceof Text(String text, boolean _)) {
            return text;
        }
        if (value instanceof Undefined) {
            return "";
        }
        return represent(value, budget);
    }

    /** {@code repr()}. */
    static String represent(Value value, Budget budget) {
        StringBuilder text = new StringBuilder();
        represent(value, text, budget, 0);
        return text.toString();
    }

    private static void represent(Value value, StringBuilder text, Budget budget, int depth) {
        requireShallow(depth);
        budget.grow(text.length());
        switch (value) {
            case Undefined _ -> text.append("Undefined");
            case None _ -> text.append("None");
            case Bool bool -> text.append(bool == Bool.TRUE ? "True" : "False");
            case Int(BigInteger number) -> text.append(number);
            case Real(double number) -> text.append(PythonText.number(number));
            case Text(String content, boolean safe) -> {
                String quoted = PythonText.quoted(content);
                text.append(safe ? "Markup(" + quoted + ")" : quoted);
            }
            case Items items -> represent(items, text, budget, depth);
            case Dict dict -> {
                text.append('{');
                String separator = "";
                for (Map.Entry<Value, Value> entry : dict.entries().entrySet()) {
                    text.append(separator);
                    represent(entry.getKey(), text, budget, depth + 1);
                    text.append(": ");
                    represent(entry.getValue(), text, budget, depth + 1);
                    separator = ", ";
                }
                text.append('}');
            }
            case Namespace namespace -> {
                text.append("<Namespace {");
                String separator = "";
                for (Map.Entry<String, Value> entry : namespace.attributes().entrySet()) {
                    text.append(separator)
                            .append(PythonText.quoted(entry.getKey()))
                            .append(": ");
                    represent(entry.getValue(), text, budget, depth + 1);
                    separator = ", ";
                }
                text.append("}>");
            }
            case Stream _, Callable _ ->
                throw new TemplateFailure(typeName(value) + " has no text, expected something that can be printed");
        }
    }

    private static void represent(Items value, StringBuilder text, Budget budget, int depth) {
        List<Value> items = value.items();
        switch (value.kind()) {
            case LIST -> representAll(items, "[", "]", text, budget, depth);
            case TUPLE -> representAll(items, "(", items.size() == 1 ? ",)" : ")", text, budget, depth);
            case RANGE -> throw new TemplateFailure("a range is not supported where it must be printed");
            default -> representAll(items, value.kind().python + "([", "])", text, budget, depth);
        }
    }

    private static void representAll(
            List<Value> items, String open, String close, StringBuilder text, Budget budget, int depth) {
        text.append(open);
        String separator = "";
        for (Value item : items) {
            text.append(separator);
            represent(item, text, budget, depth + 1);
            separator = ", ";
        }
        text.append(close);
    }

    /** {@code %} formats and {@code round} agree on this: half to even, on the exact binary value. */
    static String fixed(double value, int digits) {
        if (!Double.isFinite(value)) {
            return PythonText.number(value).toLowerCase(Locale.ROOT);
        }
        BigDecimal decimal = new BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN);
        String text = decimal.toPlainString();
        boolean negativeZero = decimal.signum() == 0 && (value < 0 || 1 / value < 0);
        return negativeZero ? "-" + text : text;
    }
}
