// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Token.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts a template into tokens, with the white space that transformers' settings leave: the line break after a block or a
 * comment goes ({@code trim_blocks}), and so does the indentation before one that begins its line ({@code lstrip_blocks}).
 */
final class Lexer {
    private static final Pattern LINE_BREAK = Pattern.compile("\r\n|\r|\n");
    private static final Pattern INTEGER =
            Pattern.compile("0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+|[1-9](?:_?[0-9])*|0(?:_?0)*");
    private static final Pattern FLOAT = Pattern.compile(
            "(?:[0-9]+_)*[0-9]+(?:(?:\\.(?:[0-9]+_)*[0-9]+)?[eE][+\\-]?(?:[0-9]+_)*[0-9]+|\\.(?:[0-9]+_)*[0-9]+)");
    private static final Pattern ENDRAW = Pattern.compile("\\{%([-+]?)\\s*endraw");
    private static final List<String> OPERATORS = List.of(
            "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
            "=", ".", ":", "|", ",", ";");

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int at;
    private int line = 1;

    private Lexer(String source) {
        this.source = source;
    }

    /** {@return its tokens, the last of them {@link Kind#END}} */
    static List<Token> tokens(String template) {
        String source = LINE_BREAK.matcher(template).replaceAll("\n");
        // As in Jinja, one line break at the end belongs to the file and not to the text.
        if (source.endsWith("\n")) {
            source = source.substring(0, source.length() - 1);
        }
        Lexer lexer = new Lexer(source);
        lexer.run();
        return lexer.tokens;
    }

    private void run() {
        // Whether the text before the next tag begins a line, so that indentation can be told from other space.
        boolean lineStarting = true;
        while (at < source.length()) {
            int tag = nextTag();
            if (tag < 0) {
                data(source.substring(at));
                break;
            }
            char kind = source.charAt(tag + 1);
            char sign = tag + 2 < source.length() ? source.charAt(tag + 2) : ' ';
            String text = before(source.substring(at, tag), kind, sign, lineStarting);
            data(text);
            line += breaks(source, at, tag) - breaks(text, 0, text.length());
            at = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
            switch (kind) {
                case '#' -> comment();
                case '{' -> inside(Kind.VARIABLE_BEGIN, Kind.VARIABLE_END);
                default -> {
                    if (!raw()) {
                        inside(Kind.BLOCK_BEGIN, Kind.BLOCK_END);
                    }
                }
            }
            lineStarting = at > 0 && source.charAt(at - 1) == '\n';
        }
        tokens.add(new Token(Kind.END, line, ""));
    }

    private int nextTag() {
        for (int i = source.indexOf('{', at); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            char next = source.charAt(i + 1);
            if (next == '{' || next == '%' || next == '#') {
                return i;
            }
        }
        return -1;
    }

    private static String before(String text, char kind, char sign, boolean lineStarting) {
        if (sign == '-') {
            return PythonText.stripRight(text);
        }
        if (sign == '+' || kind == '{') {
            return text;
        }
        int begin = text.lastIndexOf('\n') + 1;
        boolean indentation = (begin > 0 || lineStarting) && PythonText.isSpace(text, begin, text.length());
        return indentation ? text.substring(0, begin) : text;
    }

    private void data(String text) {
        if (!text.isEmpty()) {
            tokens.add(new Token(Kind.DATA, line, text));
            line += breaks(text, 0, text.length());
        }
    }

    private static int breaks(String text, int begin, int end) {
        int count = 0;
        for (int i = text.indexOf('\n', begin); i >= 0 && i < end; i = text.indexOf('\n', i + 1)) {
            count++;
        }
        return count;
    }

    private void advance(int end) {
        line += breaks(source, at, end);
        at = end;
    }

    private void space() {
        int end = at;
        while (end < source.length() && PythonText.isSpace(source.charAt(end))) {
            end++;
        }
        advance(end);
    }

    /** Passes the end of a block or comment, with what it takes from the text behind it. */
    private boolean blockEnd(String close) {
        char sign = at < source.length() ? source.charAt(at) : ' ';
        int begin = sign == '-' || sign == '+' ? at + 1 : at;
        if (!source.startsWith(close, begin)) {
            return false;
        }
        advance(begin + 2);
        if (sign == '-') {
            space();
        } else if (sign != '+' && at < source.length() && source.charAt(at) == '\n') {
            advance(at + 1);
        }
        return true;
    }

    private void comment() {
        int end = source.indexOf("#}", at);
        if (end < 0) {
            throw new TemplateFailure(line, "the comment that begins here has no end, expected '#}'");
        }
        int sign = end > at && "-+".indexOf(source.charAt(end - 1)) >= 0 ? end - 1 : end;
        advance(sign);
        blockEnd("#}");
    }

    /** Passes a raw block when one begins here, as text. */
    private boolean raw() {
        int begin = at;
        int beginLine = line;
        space();
        if (source.startsWith("raw", at)) {
            at += 3;
            space();
            boolean strip = source.startsWith("-%}", at);
            if (strip || source.startsWith("%}", at)) {
                at += strip ? 3 : 2;
                if (strip) {
                    space();
                }
                rawText(beginLine);
                return true;
            }
        }
        at = begin;
        line = beginLine;
        return false;
    }

    private void rawText(int beginLine) {
        Matcher matcher = ENDRAW.matcher(source);
        int from = at;
        while (matcher.find(from)) {
            int textBegin = at;
            int textLine = line;
            String sign = matcher.group(1);
            String text = source.substring(at, matcher.start());
            advance(matcher.end());
            space();
            if (blockEnd("%}")) {
                int after = line;
                line = textLine;
                data(before(text, '%', sign.isEmpty() ? ' ' : sign.charAt(0), false));
                line = after;
                return;
            }
            at = textBegin;
            line = textLine;
            from = matcher.end();
        }
        throw new TemplateFailure(beginLine, "the raw block that begins here has no end, expected '{% endraw %}'");
    }

    private void inside(Kind begin, Kind end) {
        int beginLine = line;
        tokens.add(new Token(begin, line, ""));
        Deque<Character> open = new ArrayDeque<>();
        while (true) {
            space();
            if (at >= source.length()) {
                throw new TemplateFailure(
                        beginLine,
                        "the tag that begins here has no end, expected "
                                + (end == Kind.VARIABLE_END ? Kind.VARIABLE_END : Kind.BLOCK_END));
            }
            int here = line;
            // Brackets that are open keep what looks like an end: {{ {'a': {}} }}.
            if (open.isEmpty() && (end == Kind.BLOCK_END ? blockEnd("%}") : variableEnd())) {
                tokens.add(new Token(end, here, ""));
                return;
            }
            token(open);
        }
    }

    private boolean variableEnd() {
        boolean strip = source.startsWith("-}}", at);
        if (!strip && !source.startsWith("}}", at)) {
            return false;
        }
        at += strip ? 3 : 2;
        if (strip) {
            space();
        }
        return true;
    }

    private void token(Deque<Character> open) {
        char c = source.charAt(at);
        if (c == '\'' || c == '"') {
            string(c);
            return;
        }
        if (c >= '0' && c <= '9') {
            // 1.0 is a number, but in items.0.1 the second dot selects.
            boolean selects = at > 0 && source.charAt(at - 1) == '.';
            if ((!selects && number(FLOAT, Kind.FLOAT)) || number(INTEGER, Kind.INTEGER)) {
                return;
            }
        }
        int codePoint = source.codePointAt(at);
        if (codePoint == '_' || Character.isUnicodeIdentifierStart(codePoint)) {
            int end = at;
            while (end < source.length() && isNamePart(source.codePointAt(end))) {
                end += Character.charCount(source.codePointAt(end));
            }
            add(Kind.NAME, end);
            return;
        }
        for (String operator : OPERATORS) {
            if (source.startsWith(operator, at)) {
                balance(operator.charAt(0), open);
                add(Kind.OPERATOR, at + operator.length());
                return;
            }
        }
        throw new TemplateFailure(
                line, "the character " + PythonText.quoted(Character.toString(codePoint)) + " has no meaning in a tag");
    }

    private static boolean isNamePart(int codePoint) {
        return codePoint == '_'
                || (Character.isUnicodeIdentifierPart(codePoint) && !Character.isIdentifierIgnorable(codePoint));
    }

    private void balance(char c, Deque<Character> open) {
        switch (c) {
            case '(' -> open.push(')');
            case '[' -> open.push(']');
            case '{' -> open.push('}');
            case ')', ']', '}' -> {
                if (open.isEmpty() || open.pop() != c) {
                    throw new TemplateFailure(line, "'" + c + "' closes nothing that is open here");
                }
            }
            default -> {
                // Any other operator leaves the brackets as they are.
            }
        }
    }

    private boolean number(Pattern pattern, Kind kind) {
        Matcher matcher = pattern.matcher(source).region(at, source.length());
        if (!matcher.lookingAt()) {
            return false;
        }
        add(kind, matcher.end());
        return true;
    }

    private void add(Kind kind, int end) {
        tokens.add(new Token(kind, line, source.substring(at, end)));
        at = end;
    }

    private void string(char quote) {
        int begin = line;
        int i = at + 1;
        while (i < source.length() && source.charAt(i) != quote) {
            i += source.charAt(i) == '\\' ? 2 : 1;
        }
        if (i >= source.length()) {
            throw new TemplateFailure(begin, "the string that begins here has no end, expected " + quote);
        }
        tokens.add(new Token(Kind.STRING, begin, PythonText.unescaped(source.substring(at + 1, i), begin)));
        advance(i + 1);
    }
}
