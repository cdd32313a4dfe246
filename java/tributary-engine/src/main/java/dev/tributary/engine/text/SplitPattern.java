// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A bound on what a regular expression of {@code tokenizer.json} can cost. The tokenizers library runs it in Oniguruma, which
 * backtracks, gives up a match after ten million retries, and then ends the process: a pattern such as {@code (a+)+$} would
 * leave that to whoever writes a prompt. So the retries of one match over the longest text are counted before, as if each
 * part failed as late as it can; the patterns of published models need at most four a character.
 */
final class SplitPattern {
    /** UTF-16 units of the longest text that is tokenized: what the patterns of published models can bear. */
    static final int MAX_TEXT = 1 << 21;

    /** Oniguruma's default. */
    private static final double MAX_RETRIES = 10_000_000;

    private static final int MAX_NESTING = 50;

    /** What a part of a pattern can do. */
    private sealed interface Part {
        /** One character of some kind, or a condition that looks at no more than the characters beside it. */
        record Single() implements Part {}

        /**
         * Parts that follow each other.
         *
         * @param parts in order
         */
        record Sequence(List<Part> parts) implements Part {}

        /**
         * One of several.
         *
         * @param branches in the order in which they are tried
         */
        record Choice(List<Part> branches) implements Part {}

        /**
         * A part so many times.
         *
         * @param part what
         * @param min at least
         * @param max at most
         */
        record Repeat(Part part, int min, int max) implements Part {}

        /**
         * A part that is not tried again once it has matched: atomic groups and possessive repetition.
         *
         * @param part what
         */
        record Once(Part part) implements Part {}

        /**
         * A condition on what stands before or behind; it can fail whatever it looks for.
         *
         * @param part what must be there, or must not
         */
        record Looking(Part part) implements Part {}
    }

    /** The pattern holds what is not understood here. */
    private static final class NotSupported extends Exception {
        private static final long serialVersionUID = 1L;

        NotSupported(String what) {
            super(what);
        }
    }

    private final String pattern;
    private int at;
    private int nesting;

    private SplitPattern(String pattern) {
        this.pattern = pattern;
    }

    /**
     * {@return why the pattern is not let through, if it is not}
     *
     * @param pattern a regular expression in Oniguruma's syntax; one that is malformed may pass, the library refuses it
     */
    static Optional<String> objection(String pattern) {
        try {
            SplitPattern parser = new SplitPattern(pattern);
            Part whole = parser.choice();
            if (parser.at < pattern.length()) {
                throw new NotSupported("a closing parenthesis too many");
            }
            return retries(whole, false) <= MAX_RETRIES
                    ? Optional.empty()
                    : Optional.of("can be retried more than " + (long) MAX_RETRIES + " times at one place of a text");
        } catch (NotSupported e) {
            return Optional.of("holds " + e.getMessage() + ", which is not supported");
        }
    }

    /** Can it fail, wherever it stands? */
    private static boolean canFail(Part part) {
        return switch (part) {
            case Part.Single(), Part.Looking _ -> true;
            case Part.Sequence sequence -> sequence.parts().stream().anyMatch(SplitPattern::canFail);
            case Part.Choice choice -> choice.branches().stream().allMatch(SplitPattern::canFail);
            case Part.Repeat repeat -> repeat.min() > 0 && canFail(repeat.part());
            case Part.Once once -> canFail(once.part());
        };
    }

    /** In how many ways it can match at one place. */
    private static double ways(Part part) {
        return switch (part) {
            case Part.Single(), Part.Once _, Part.Looking _ -> 1;
            case Part.Sequence sequence ->
                sequence.parts().stream().mapToDouble(SplitPattern::ways).reduce(1, (a, b) -> a * b);
            case Part.Choice choice ->
                choice.branches().stream().mapToDouble(SplitPattern::ways).sum();
            case Part.Repeat repeat -> {
                double ways = ways(repeat.part());
                yield ways > 1 ? Math.pow(ways, repeat.max()) + 1 : repeat.max() - repeat.min() + 1.0;
            }
        };
    }

    /**
     * At most how often the matcher goes back within it, entered once; a sequence counts that its parts fail.
     *
     * @param tail whether something behind it can fail, so that all its ways are tried
     */
    private static double retries(Part part, boolean tail) {
        return switch (part) {
            case Part.Single() -> 0;
            case Part.Once once -> retries(once.part(), false);
            case Part.Looking _ -> 0; // counted as its failure
            case Part.Choice choice ->
                choice.branches().stream()
                        .mapToDouble(branch -> retries(branch, tail))
                        .sum();
            case Part.Repeat repeat -> {
                if (repeat.part() instanceof Part.Single) {
                    yield 1;
                }
                boolean again = tail || repeat.min() > 1;
                double each = retries(repeat.part(), again);
                double ways = ways(repeat.part());
                yield 1 + each * (again && ways > 1 ? Math.pow(ways, repeat.max()) : repeat.max());
            }
            case Part.Sequence sequence -> retries(sequence.parts(), tail);
        };
    }

    private static double retries(List<Part> parts, boolean tail) {
        double retries = 0;
        double entered = 1;
        for (int i = 0; i < parts.size(); i++) {
            Part part = parts.get(i);
            if (tail || parts.subList(i + 1, parts.size()).stream().anyMatch(SplitPattern::canFail)) {
                retries += entered * Math.max(retries(part, true) + 1, failure(part));
                entered *= ways(part);
            } else {
                // It succeeds once at most; before that it may fail as often as it is entered.
                retries += entered * failure(part) + retries(part, false);
            }
        }
        return retries;
    }

    /** At most how often the matcher goes back until the part has failed. */
    private static double failure(Part part) {
        if (!canFail(part)) {
            return 0;
        }
        return switch (part) {
            case Part.Single() -> 1;
            case Part.Repeat repeat when repeat.min() == 1 -> failure(repeat.part());
            case Part.Looking looking -> Math.max(1, retries(looking.part(), false)); // it fails where that does not
            default -> retries(part, true) + 1;
        };
    }

    private boolean more() {
        return at < pattern.length();
    }

    private boolean take(String text) {
        if (pattern.startsWith(text, at)) {
            at += text.length();
            return true;
        }
        return false;
    }

    private int next() throws NotSupported {
        if (!more()) {
            throw new NotSupported("an end in the middle");
        }
        int c = pattern.codePointAt(at);
        at += Character.charCount(c);
        return c;
    }

    /** Branches up to a closing parenthesis or the end. */
    private Part choice() throws NotSupported {
        if (++nesting > MAX_NESTING) {
            throw new NotSupported("groups nested deeper than " + MAX_NESTING);
        }
        List<Part> branches = new ArrayList<>();
        do {
            List<Part> parts = new ArrayList<>();
            while (more() && pattern.charAt(at) != '|' && pattern.charAt(at) != ')') {
                parts.add(repeated(single()));
            }
            branches.add(new Part.Sequence(parts));
        } while (take("|"));
        nesting--;
        return branches.size() == 1 ? branches.getFirst() : new Part.Choice(branches);
    }

    private Part closed(Part part) throws NotSupported {
        if (!take(")")) {
            throw new NotSupported("an open parenthesis");
        }
        return part;
    }

    private Part single() throws NotSupported {
        if (take("(?")) {
            return group();
        }
        int c = next();
        return switch (c) {
            case '(' -> closed(choice());
            case '[' -> characters();
            case '\\' -> escape();
            default -> new Part.Single();
        };
    }

    private Part group() throws NotSupported {
        if (take(":")) {
            return closed(choice());
        }
        if (take(">")) {
            return closed(new Part.Once(choice()));
        }
        for (String looking : List.of("=", "!", "<=", "<!")) {
            if (take(looking)) {
                return closed(new Part.Looking(choice()));
            }
        }
        int begin = at;
        while (more() && "imWDSP-".indexOf(pattern.charAt(at)) >= 0) {
            at++;
        }
        if (at == begin) {
            throw new NotSupported(
                    "a group of the kind (?" + pattern.substring(at, Math.min(at + 1, pattern.length())));
        }
        if (take(":")) {
            return closed(choice());
        }
        if (take(")")) {
            return choice(); // up to the end of the group in which it stands, whose parenthesis stays
        }
        throw new NotSupported("an option that is none of i, m, W, D, S and P");
    }

    /** A set of characters, which may hold others. */
    private Part characters() throws NotSupported {
        int open = 1;
        take("^");
        take("]"); // stands for itself there
        while (open > 0) {
            int c = next();
            if (c == '\\') {
                next();
            } else if (c == '[') {
                open++;
                take("^");
                take("]");
            } else if (c == ']') {
                open--;
            }
        }
        return new Part.Single();
    }

    private Part escape() throws NotSupported {
        int c = next();
        if ((c >= '1' && c <= '9') || c == 'k' || c == 'g') {
            throw new NotSupported("a reference to a group");
        }
        if (take("{")) {
            while (next() != '}') {
                // The name of a property, or a number.
            }
        }
        return new Part.Single();
    }

    private Part repeated(Part part) throws NotSupported {
        Part result = part;
        while (more()) {
            int min = pattern.charAt(at) == '+' ? 1 : 0;
            int max = pattern.charAt(at) == '?' ? 1 : MAX_TEXT;
            boolean interval = false;
            if (!(take("*") || take("+") || take("?"))) {
                int end = pattern.indexOf('}', at);
                if (pattern.charAt(at) != '{' || end < 0) {
                    return result;
                }
                String bounds = pattern.substring(at + 1, end);
                if (!bounds.matches("\\d{1,6}(,\\d{0,6})?|,\\d{1,6}")) {
                    return result; // braces that stand for themselves
                }
                at = end + 1;
                interval = true;
                int comma = bounds.indexOf(',');
                String least = comma < 0 ? bounds : bounds.substring(0, comma);
                String most = comma < 0 ? bounds : bounds.substring(comma + 1);
                min = least.isEmpty() ? 0 : Integer.parseInt(least);
                max = most.isEmpty() ? MAX_TEXT : Math.max(min, Integer.parseInt(most));
            }
            result = new Part.Repeat(result, min, max);
            if (take("?")) {
                // Reluctant; behind a single number it means "or nothing" instead, which is no less.
                result = interval ? new Part.Repeat(result, 0, 1) : result;
            } else if (!interval && take("+")) {
                result = new Part.Once(result);
            }
        }
        return result;
    }
}
