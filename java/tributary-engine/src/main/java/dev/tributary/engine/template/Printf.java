// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Text;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Python's {@code %} on strings: the conversions s, r, d, i, x, X, o, f and c. */
final class Printf {
    private static final Pattern CONVERSION =
            Pattern.compile("%(?:\\(([^)]*)\\))?([-+ 0#]*)([0-9]*)(?:\\.([0-9]*))?([a-zA-Z%]?)", Pattern.DOTALL);
    private static final int MAX_WIDTH = 1000;

    private Printf() {}

    static String format(String format, Value arguments, Budget budget) {
        List<Value> values = arguments instanceof Items items && items.kind() == Items.Kind.TUPLE
                ? items.items()
                : List.of(arguments);
        budget.text(format.length());
        StringBuilder text = new StringBuilder();
        Matcher matcher = CONVERSION.matcher(format);
        int next = 0;
        int end = 0;
        boolean byName = false;
        while (matcher.find(end)) {
            text.append(format, end, matcher.start());
            end = matcher.end();
            String kind = matcher.group(5);
            if (kind.equals("%")) {
                text.append('%');
                continue;
            }
            Value value;
            String name = matcher.group(1);
            if (name != null) {
                if (!(arguments instanceof Dict dict)) {
                    throw Operators.unsuitable(arguments, "'%(" + name + ")' expects a dict");
                }
                if (!dict.has(new Text(name))) {
                    throw new TemplateFailure("'%(" + name + ")' names a key that the dict does not have");
                }
                value = dict.get(new Text(name), Value.None.NONE);
                byName = true;
            } else if (next < values.size()) {
                value = values.get(next++);
            } else {
                throw new TemplateFailure("a format has more conversions than the " + values.size() + " values given");
            }
            text.append(convert(matcher, kind, value, budget));
            budget.text(text.length());
        }
        boolean unused = next < values.size() && !byName && !(arguments instanceof Dict);
        if (unused) {
            throw new TemplateFailure("a format has fewer conversions than the " + values.size() + " values given");
        }
        return text.append(format, end, format.length()).toString();
    }

    private static String convert(Matcher matcher, String kind, Value value, Budget budget) {
        String flags = matcher.group(2);
        int width = number(matcher.group(3));
        boolean precise = matcher.group(4) != null;
        int precision = precise ? number(matcher.group(4)) : -1;
        String text = switch (kind) {
            case "s" -> cut(Operators.print(value, budget), precision);
            case "r" -> cut(Operators.represent(value, budget), precision);
            case "d", "i", "u" -> signed(whole(kind, value).toString(), flags);
            case "x" -> signed(integer(kind, value).toString(16), flags);
            case "X" -> signed(integer(kind, value).toString(16).toUpperCase(Locale.ROOT), flags);
            case "o" -> signed(integer(kind, value).toString(8), flags);
            case "f", "F" -> signed(Operators.fixed(real(kind, value), precise ? precision : 6), flags);
            case "c" ->
                value instanceof Text(String character, boolean _)
                        ? character
                        : Character.toString(integer(kind, value).intValue() & 0xFFFF);
            default -> throw new TemplateFailure("the conversion '%" + kind + "' is not supported");
        };
        int missing = width - PythonText.length(text);
        if (missing <= 0) {
            return text;
        }
        if (flags.contains("-")) {
            return text + " ".repeat(missing);
        }
        if (flags.contains("0") && !kind.equals("s") && !kind.equals("r") && !kind.equals("c")) {
            int sign = text.startsWith("-") || text.startsWith("+") || text.startsWith(" ") ? 1 : 0;
            return text.substring(0, sign) + "0".repeat(missing) + text.substring(sign);
        }
        return " ".repeat(missing) + text;
    }

    private static int number(String digits) {
        if (digits.isEmpty()) {
            return 0;
        }
        if (digits.length() > 4 || Integer.parseInt(digits) > MAX_WIDTH) {
            throw new TemplateFailure("a format asks for a width of " + digits + ", at most " + MAX_WIDTH);
        }
        return Integer.parseInt(digits);
    }

    private static String cut(String text, int precision) {
        return precision < 0 || PythonText.length(text) <= precision
                ? text
                : text.substring(0, PythonText.charIndex(text, precision));
    }

    private static String signed(String number, String flags) {
        if (number.startsWith("-")) {
            return number;
        }
        return flags.contains("+") ? "+" + number : flags.contains(" ") ? " " + number : number;
    }

    private static BigInteger whole(String kind, Value value) {
        if (value instanceof Real(double number) && Double.isFinite(number)) {
            return new BigDecimal(number).toBigInteger();
        }
        return integer(kind, value);
    }

    private static BigInteger integer(String kind, Value value) {
        return Operators.integer(value)
                .orElseThrow(() -> Operators.unsuitable(value, "'%" + kind + "' expects an integer"));
    }

    private static double real(String kind, Value value) {
        if (!Operators.isNumber(value)) {
            throw Operators.unsuitable(value, "'%" + kind + "' expects a number");
        }
        return Operators.real(value);
    }
}
