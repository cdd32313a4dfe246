// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Text as Python sees it: counted in code points, with Python's idea of white space, quoting and numbers. */
final class PythonText {
    private PythonText() {}

    static boolean isSpace(int c) {
        return (c >= 0x09 && c <= 0x0D)
                || (c >= 0x1C && c <= 0x20)
                || c == 0x85
                || c == 0xA0
                || c == 0x1680
                || (c >= 0x2000 && c <= 0x200A)
                || c == 0x2028
                || c == 0x2029
                || c == 0x202F
                || c == 0x205F
                || c == 0x3000;
    }

    /** {@return whether the part holds white space, and nothing else} */
    static boolean isSpace(String text, int begin, int end) {
        for (int i = begin; i < end; i++) {
            if (!isSpace(text.charAt(i))) {
                return false;
            }
        }
        return end > begin;
    }

    static boolean isLineBreak(int c) {
        return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    }

    static String stripLeft(String text) {
        int begin = 0;
        while (begin < text.length() && isSpace(text.charAt(begin))) {
            begin++;
        }
        return text.substring(begin);
    }

    static String stripRight(String text) {
        int end = text.length();
        while (end > 0 && isSpace(text.charAt(end - 1))) {
            end--;
        }
        return text.substring(0, end);
    }

    /**
     * {@return the text without the characters at its ends}
     *
     * @param characters which, in any order
     */
    static String strip(String text, String characters, boolean left, boolean right) {
        int[] set = characters.codePoints().toArray();
        int begin = 0;
        int end = text.length();
        while (left && begin < end && contains(set, text.codePointAt(begin))) {
            begin += Character.charCount(text.codePointAt(begin));
        }
        while (right && end > begin && contains(set, text.codePointBefore(end))) {
            end -= Character.charCount(text.codePointBefore(end));
        }
        return text.substring(begin, end);
    }

    private static boolean contains(int[] set, int c) {
        for (int member : set) {
            if (member == c) {
                return true;
            }
        }
        return false;
    }

    /** {@return its length in code points} */
    static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    /** {@return the index of a char for that of a code point} */
    static int charIndex(String text, int codePoints) {
        return text.offsetByCodePoints(0, codePoints);
    }

    static List<String> characters(String text) {
        List<String> characters = new ArrayList<>(text.length());
        text.codePoints().forEach(c -> characters.add(Character.toString(c)));
        return characters;
    }

    static List<String> lines(String text, boolean keepBreaks) {
        List<String> lines = new ArrayList<>();
        int begin = 0;
        int i = 0;
        while (i < text.length()) {
            if (!isLineBreak(text.charAt(i))) {
                i++;
                continue;
            }
            int end = i + (text.startsWith("\r\n", i) ? 2 : 1);
            lines.add(text.substring(begin, keepBreaks ? end : i));
            begin = end;
            i = end;
        }
        if (begin < text.length()) {
            lines.add(text.substring(begin));
        }
        return lines;
    }

    /** Words of white space: Python's {@code split()}. */
    static List<String> words(String text, int most) {
        List<String> words = new ArrayList<>();
        int i = 0;
        while (true) {
            while (i < text.length() && isSpace(text.charAt(i))) {
                i++;
            }
            if (i == text.length()) {
                return words;
            }
            if (words.size() == most) {
                words.add(text.substring(i));
                return words;
            }
            int begin = i;
            while (i < text.length() && !isSpace(text.charAt(i))) {
                i++;
            }
            words.add(text.substring(begin, i));
        }
    }

    private static boolean isCased(int c) {
        return Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c);
    }

    /** {@code str.title()}: a letter after one that has no case begins a word. */
    static String title(String text) {
        StringBuilder title = new StringBuilder(text.length());
        boolean inWord = false;
        for (int i = 0; i < text.length(); ) {
            int c = text.codePointAt(i);
            i += Character.charCount(c);
            title.append(inWord ? Character.toString(c).toLowerCase(Locale.ROOT) : titleCase(c));
            inWord = isCased(c);
        }
        return title.toString();
    }

    private static String titleCase(int c) {
        int title = Character.toTitleCase(c);
        if (title != c || Character.isTitleCase(c)) {
            return Character.toString(title);
        }
        // ß and its like have several characters as capitals, of which the first alone is one.
        String upper = Character.toString(c).toUpperCase(Locale.ROOT);
        if (upper.codePointCount(0, upper.length()) == 1) {
            return upper;
        }
        int first = upper.codePointAt(0);
        String rest = upper.substring(Character.charCount(first));
        return Character.toString(first) + (isCased(first) ? rest.toLowerCase(Locale.ROOT) : rest);
    }

    static String capitalize(String text) {
        if (text.isEmpty()) {
            return text;
        }
        int first = text.codePointAt(0);
        return titleCase(first) + text.substring(Character.charCount(first)).toLowerCase(Locale.ROOT);
    }

    /** {@code repr} of a string. */
    static String quoted(String text) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        StringBuilder quoted = new StringBuilder(text.length() + 2).append(quote);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\n' -> quoted.append("\\n");
                case '\r' -> quoted.append("\\r");
                case '\t' -> quoted.append("\\t");
                case '\\' -> quoted.append("\\\\");
                default -> {
                    if (c == quote) {
                        quoted.append('\\').append(quote);
                    } else if (isPrintable(c)) {
                        quoted.appendCodePoint(c);
                    } else if (c <= 0xFF) {
                        quoted.append(String.format(Locale.ROOT, "\\x%02x", c));
                    } else if (c <= 0xFFFF) {
                        quoted.append(String.format(Locale.ROOT, "\\u%04x", c));
                    } else {
                        quoted.append(String.format(Locale.ROOT, "\\U%08x", c));
                    }
                }
            }
        });
        return quoted.append(quote).toString();
    }

    private static boolean isPrintable(int c) {
        if (c == ' ') {
            return true;
        }
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR,
                    Character.SPACE_SEPARATOR -> false;
            default -> true;
        };
    }

    /** {@code repr} of a float: the fewest digits that give it back, with an exponent below 1e-4 and from 1e16 on. */
    static String number(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        if (value == 0) {
            return 1 / value > 0 ? "0.0" : "-0.0";
        }
        BigDecimal decimal = new BigDecimal(Double.toString(Math.abs(value))).stripTrailingZeros();
        String digits = decimal.unscaledValue().toString();
        int point = digits.length() - decimal.scale();
        StringBuilder text = new StringBuilder(value < 0 ? "-" : "");
        if (point <= -4 || point > 16) {
            int exponent = point - 1;
            text.append(digits.charAt(0));
            if (digits.length() > 1) {
                text.append('.').append(digits, 1, digits.length());
            }
            text.append('e').append(exponent < 0 ? '-' : '+');
            if (Math.abs(exponent) < 10) {
                text.append('0');
            }
            return text.append(Math.abs(exponent)).toString();
        }
        if (point <= 0) {
            return text.append("0.").append("0".repeat(-point)).append(digits).toString();
        }
        if (point >= digits.length()) {
            return text.append(digits)
                    .append("0".repeat(point - digits.length()))
                    .append(".0")
                    .toString();
        }
        return text.append(digits, 0, point)
                .append('.')
                .append(digits, point, digits.length())
                .toString();
    }

    /** What the inside of a string literal stands for. */
    static String unescaped(String literal, int line) {
        if (literal.indexOf('\\') < 0) {
            return literal;
        }
        StringBuilder text = new StringBuilder(literal.length());
        int i = 0;
        while (i < literal.length()) {
            char c = literal.charAt(i++);
            if (c != '\\') {
                text.append(c);
                continue;
            }
            char escape = literal.charAt(i++);
            switch (escape) {
                case '\n' -> {
                    // A line break behind a backslash joins the lines.
                }
                case '\\', '\'', '"' -> text.append(escape);
                case 'a' -> text.append('\u0007');
                case 'b' -> text.append('\b');
                case 'f' -> text.append('\f');
                case 'n' -> text.append('\n');
                case 'r' -> text.append('\r');
                case 't' -> text.append('\t');
                case 'v' -> text.append('\u000B');
                case 'x' -> i = codePoint(literal, i, 2, text, line);
                case 'u' -> i = codePoint(literal, i, 4, text, line);
                case 'U' -> i = codePoint(literal, i, 8, text, line);
                case 'N' -> i = named(literal, i, text, line);
                default -> {
                    if (escape < '0' || escape > '7') {
                        text.append('\\').append(escape);
                        break;
                    }
                    int code = escape - '0';
                    for (int digits = 1;
                            digits < 3 && i < literal.length() && literal.charAt(i) >= '0' && literal.charAt(i) <= '7';
                            digits++) {
                        code = 8 * code + literal.charAt(i++) - '0';
                    }
                    text.appendCodePoint(code);
                }
            }
        }
        return text.toString();
    }

    private static int codePoint(String literal, int begin, int digits, StringBuilder text, int line) {
        int end = begin + digits;
        String hex = end <= literal.length() ? literal.substring(begin, end) : "";
        if (hex.isEmpty() || !hex.chars().allMatch(c -> Character.digit(c, 16) >= 0 && c < 0x80)) {
            throw new TemplateFailure(
                    line,
                    "a string holds \\" + literal.charAt(begin - 1) + " without " + digits + " hexadecimal digits");
        }
        long code = Long.parseLong(hex, 16);
        if (code > Character.MAX_CODE_POINT) {
            throw new TemplateFailure(line, "a string holds \\U" + hex + ", which is no character");
        }
        text.appendCodePoint((int) code);
        return end;
    }

    private static int named(String literal, int begin, StringBuilder text, int line) {
        int end = literal.indexOf('}', begin);
        if (begin >= literal.length() || literal.charAt(begin) != '{' || end < 0) {
            throw new TemplateFailure(line, "a string holds \\N without {the name of a character}");
        }
        try {
            text.appendCodePoint(Character.codePointOf(literal.substring(begin + 1, end)));
        } catch (IllegalArgumentException e) {
            throw new TemplateFailure(
                    line, "a string holds \\N{" + literal.substring(begin + 1, end) + "}, which is no character");
        }
        return end + 1;
    }
}
