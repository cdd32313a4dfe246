// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.Namespace;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Text;
import dev.tributary.engine.template.Value.Undefined;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;

/** Attributes, items and slices of values, and the methods of Python's strings, lists and dicts. */
final class Methods {
    private static final Set<String> TEXT = Set.of(
            "capitalize",
            "casefold",
            "center",
            "count",
            "endswith",
            "find",
            "format",
            "index",
            "isalnum",
            "isalpha",
            "isascii",
            "isdecimal",
            "isdigit",
            "islower",
            "isnumeric",
            "isspace",
            "istitle",
            "isupper",
            "join",
            "ljust",
            "lower",
            "lstrip",
            "partition",
            "removeprefix",
            "removesuffix",
            "replace",
            "rfind",
            "rindex",
            "rjust",
            "rpartition",
            "rsplit",
            "rstrip",
            "split",
            "splitlines",
            "startswith",
            "strip",
            "swapcase",
            "title",
            "upper",
            "zfill");
    private static final Set<String> LIST = Set.of("index", "count");
    private static final Set<String> DICT = Set.of("get", "items", "keys", "values", "copy");

    /** What would change a value: the sandbox that transformers renders in refuses it too. */
    private static final Set<String> CHANGES_LIST =
            Set.of("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort");

    private static final Set<String> CHANGES_DICT = Set.of("clear", "pop", "popitem", "setdefault", "update");
    private static final Set<String> UNSUPPORTED_TEXT =
            Set.of("encode", "expandtabs", "format_map", "isidentifier", "isprintable", "maketrans", "translate");

    private Methods() {}

    /** A method of a value. */
    private record Method(String python, Value target, String name, Budget budget) implements Callable {
        @Override
        public Value call(Arguments arguments) {
            return switch (target) {
                case Text(String text, boolean safe) -> text(text, safe, name, arguments, budget);
                case Items items -> list(items, name, arguments, budget);
                case Dict dict -> dict(dict, name, arguments);
                default -> throw new TemplateFailure(python + " cannot be called");
            };
        }
    }

    private static Undefined missing(Value target, String name) {
        return new Undefined(Operators.typeName(target) + " has no attribute " + PythonText.quoted(name));
    }

    /** {@code target.name}: what Python's {@code getattr} gives, else the item of that name. */
    static Value attribute(Value target, String name, Budget budget) {
        if (target instanceof Undefined(String why)) {
            throw new TemplateFailure(why);
        }
        return own(target, name, budget)
                .orElseGet(() -> target instanceof Dict dict
                        ? dict.get(new Text(name), missing(target, name))
                        : missing(target, name));
    }

    /** An attribute that is no item. */
    static Optional<Value> own(Value target, String name, Budget budget) {
        boolean method = switch (target) {
            case Text _ -> TEXT.contains(name);
            case Items items -> items.isIndexed() && LIST.contains(name);
            case Dict _ -> DICT.contains(name);
            default -> false;
        };
        if (method) {
            return Optional.of(new Method("the method " + name, target, name, budget));
        }
        return switch (target) {
            case Namespace namespace ->
                Optional.ofNullable(namespace.attributes().get(name));
            case Callable callable -> Optional.of(callable.attribute(name));
            case Items items
            when items.kind() == Items.Kind.LIST && CHANGES_LIST.contains(name) -> unsafe(target, name);
            case Dict _ when CHANGES_DICT.contains(name) -> unsafe(target, name);
            case Text _
            when UNSUPPORTED_TEXT.contains(name) ->
                throw new TemplateFailure("the method '" + name + "' of a string is not supported");
            default -> Optional.empty();
        };
    }

    private static Optional<Value> unsafe(Value target, String name) {
        return Optional.of(new Undefined("the method '" + name + "' would change " + Operators.typeName(target)
                + ", which the sandbox of chat templates forbids"));
    }

    /** {@code target[key]}: the item, else the attribute of that name. */
    static Value item(Value target, Value key, Budget budget) {
        switch (target) {
            case Undefined(String why) -> throw new TemplateFailure(why);
            case Dict dict -> {
                if (!(key instanceof Items items && items.kind() != Items.Kind.TUPLE)
                        && !(key instanceof Dict)
                        && dict.has(key)) {
                    return dict.get(key, None.NONE);
                }
            }
            case Items items
            when items.isIndexed() -> {
                Optional<Integer> index = index(key, items.items().size());
                if (index.isPresent()) {
                    return items.items().get(index.get());
                }
            }
            case Text(String text, boolean safe) -> {
                budget.text(text.length());
                Optional<Integer> index = index(key, PythonText.length(text));
                if (index.isPresent()) {
                    int at = PythonText.charIndex(text, index.get());
                    return new Text(Character.toString(text.codePointAt(at)), safe);
                }
            }
            default -> {
                // Nothing else has items.
            }
        }
        if (key instanceof Text(String name, boolean _)) {
            return own(target, name, budget).orElseGet(() -> missing(target, name));
        }
        return new Undefined(Operators.typeName(target) + " has no item " + Operators.represent(key, budget));
    }

    private static Optional<Integer> index(Value key, int length) {
        return Operators.integer(key)
                .map(index -> index.signum() < 0 ? index.add(BigInteger.valueOf(length)) : index)
                .filter(index -> index.signum() >= 0 && index.compareTo(BigInteger.valueOf(length)) < 0)
                .map(BigInteger::intValue);
    }

    /** {@code target[begin:end:step]}; None stands for what is left out. */
    static Value slice(Value target, Value begin, Value end, Value step, Budget budget) {
        if (target instanceof Undefined(String why)) {
            throw new TemplateFailure(why);
        }
        if (!(target instanceof Text) && !(target instanceof Items items && items.isIndexed())) {
            throw new TemplateFailure(Operators.typeName(target) + " cannot be sliced");
        }
        if (!isIndex(begin) || !isIndex(end) || !isIndex(step)) {
            throw new TemplateFailure("a slice goes from " + Operators.typeName(begin) + " to "
                    + Operators.typeName(end) + ", expected integers");
        }
        int by = step == None.NONE ? 1 : clamped(step);
        if (by == 0) {
            throw new TemplateFailure("the step of a slice is 0");
        }
        if (target instanceof Text(String text, boolean safe)) {
            budget.text(text.length());
            int length = PythonText.length(text);
            if (by == 1) {
                int from = bound(begin, 0, length, 1);
                int to = Math.max(from, bound(end, length, length, 1));
                return new Text(text.substring(PythonText.charIndex(text, from), PythonText.charIndex(text, to)), safe);
            }
            return new Text(String.join("", picked(PythonText.characters(text), begin, end, by)), safe);
        }
        Items items = (Items) target;
        budget.items(items.items().size());
        return new Items(
                items.kind() == Items.Kind.RANGE ? Items.Kind.LIST : items.kind(),
                picked(items.items(), begin, end, by));
    }

    private static boolean isIndex(Value value) {
        return value == None.NONE || Operators.integer(value).isPresent();
    }

    private static int clamped(Value value) {
        return Operators.integer(value)
                .orElseThrow()
                .max(BigInteger.valueOf(-Budget.TEXT))
                .min(BigInteger.valueOf(Budget.TEXT))
                .intValue();
    }

    private static int bound(Value value, int otherwise, int length, int step) {
        if (value == None.NONE) {
            return otherwise;
        }
        int index = clamped(value);
        int least = step < 0 ? -1 : 0;
        return Math.clamp(index < 0 ? (long) index + length : index, least, step < 0 ? length - 1 : length);
    }

    private static <T> List<T> picked(List<T> items, Value begin, Value end, int step) {
        int length = items.size();
        int from = bound(begin, step < 0 ? length - 1 : 0, length, step);
        int to = bound(end, step < 0 ? -1 : length, length, step);
        if (step == 1) {
            return items.subList(from, Math.max(from, to));
        }
        List<T> picked = new ArrayList<>();
        for (long i = from; step > 0 ? i < to : i > to; i += step) {
            picked.add(items.get((int) i));
        }
        return picked;
    }

    // Methods of lists and dicts

    private static Value list(Items list, String name, Arguments arguments, Budget budget) {
        Value wanted = arguments.bind(name, "value").get("value");
        budget.work(list.items().size());
        int count = 0;
        for (int i = 0; i < list.items().size(); i++) {
            if (Operators.same(list.items().get(i), wanted)) {
                if (name.equals("index")) {
                    return Int.of(i);
                }
                count++;
            }
        }
        if (name.equals("index")) {
            throw new TemplateFailure("index: the list does not hold the value");
        }
        return Int.of(count);
    }

    private static Value dict(Dict dict, String name, Arguments arguments) {
        return switch (name) {
            case "get" -> {
                Arguments.Bound bound = arguments.bind("get", "key", "default");
                Operators.requireHashable(bound.get("key"));
                yield dict.get(bound.get("key"), bound.find("default").orElse(None.NONE));
            }
            case "items" -> view(name, Items.Kind.PAIRS, dict.pairs(), arguments);
            case "keys" -> view(name, Items.Kind.KEYS, dict.keys(), arguments);
            case "values" ->
                view(name, Items.Kind.VALUES, new ArrayList<>(dict.entries().values()), arguments);
            default -> {
                arguments.bind(name);
                yield dict;
            }
        };
    }

    private static Value view(String name, Items.Kind kind, List<Value> items, Arguments arguments) {
        arguments.bind(name);
        return new Items(kind, items);
    }

    // Methods of strings

    private static Value text(String text, boolean safe, String name, Arguments arguments, Budget budget) {
        budget.text(text.length());
        return switch (name) {
            case "capitalize", "casefold", "lower", "swapcase", "title", "upper" -> {
                arguments.bind(name);
                yield new Text(cased(text, name), safe);
            }
            case "strip", "lstrip", "rstrip" -> new Text(stripped(text, name, arguments, budget), safe);
            case "split", "rsplit" -> texts(split(text, name, arguments, budget), safe, budget);
            case "splitlines" ->
                texts(PythonText.lines(text, arguments.bind(name, "keepends").flag("keepends", false)), safe, budget);
            case "startswith", "endswith" -> Bool.of(hasAffix(text, name, arguments));
            case "replace" -> {
                Arguments.Bound bound = arguments.bind(name, "old", "new", "count");
                String with = bound.text("new");
                boolean escapes = safe && !(bound.get("new") instanceof Text(String _, boolean marked) && marked);
                yield new Text(
                        replaced(
                                text,
                                bound.text("old"),
                                escapes ? Operators.escaped(with) : with,
                                bound.number("count", -1),
                                budget),
                        safe);
            }
            case "find", "rfind", "index", "rindex", "count" -> found(text, name, arguments, budget);
            case "join" -> {
                List<String> parts = new ArrayList<>();
                for (Value part :
                        Operators.items(arguments.bind(name, "iterable").get("iterable"))) {
                    if (!(part instanceof Text(String content, boolean marked))) {
                        throw Operators.unsuitable(part, "join expects strings");
                    }
                    parts.add(safe && !marked ? Operators.escaped(content) : content);
                }
                yield new Text(joined(text, parts, budget), safe);
            }
            case "center", "ljust", "rjust" -> {
                Arguments.Bound bound = arguments.bind(name, "width", "fillchar");
                String fill = bound.find("fillchar").isPresent() ? bound.text("fillchar") : " ";
                if (PythonText.length(fill) != 1) {
                    throw new TemplateFailure(name + ": fillchar is not one character");
                }
                yield new Text(padded(text, name, bound.number("width"), fill, budget), safe);
            }
            case "zfill" -> {
                int missing = arguments.bind(name, "width").number("width") - PythonText.length(text);
                budget.text(missing);
                int sign = text.startsWith("-") || text.startsWith("+") ? 1 : 0;
                yield new Text(text.substring(0, sign) + "0".repeat(Math.max(0, missing)) + text.substring(sign), safe);
            }
            case "partition", "rpartition" -> partition(text, safe, name, arguments, budget);
            case "removeprefix", "removesuffix" -> {
                String affix = arguments.bind(name, "affix").text("affix");
                yield new Text(
                        name.equals("removeprefix")
                                ? (text.startsWith(affix) ? text.substring(affix.length()) : text)
                                : (text.endsWith(affix) ? text.substring(0, text.length() - affix.length()) : text),
                        safe);
            }
            case "format" -> new Text(formatted(text, arguments, budget), safe);
            default -> {
                arguments.bind(name);
                yield Bool.of(isOf(text, name));
            }
        };
    }

    static String cased(String text, String how) {
        return switch (how) {
            case "lower" -> text.toLowerCase(Locale.ROOT);
            case "upper" -> text.toUpperCase(Locale.ROOT);
            case "title" -> PythonText.title(text);
            case "capitalize" -> PythonText.capitalize(text);
            case "casefold" -> text.toUpperCase(Locale.ROOT).toLowerCase(Locale.ROOT);
            default -> {
                StringBuilder swapped = new StringBuilder(text.length());
                text.codePoints().forEach(c -> {
                    String character = Character.toString(c);
                    swapped.append(
                            Character.isUpperCase(c)
                                    ? character.toLowerCase(Locale.ROOT)
                                    : character.toUpperCase(Locale.ROOT));
                });
                yield swapped.toString();
            }
        };
    }

    private static String stripped(String text, String name, Arguments arguments, Budget budget) {
        Optional<Value> characters = arguments.bind(name, "chars").some("chars");
        boolean left = !name.equals("rstrip");
        boolean right = !name.equals("lstrip");
        if (characters.isEmpty()) {
            String half = left ? PythonText.stripLeft(text) : text;
            return right ? PythonText.stripRight(half) : half;
        }
        String set = arguments.bind(name, "chars").requireText("chars", characters.get());
        budget.search(text, set);
        return PythonText.strip(text, set, left, right);
    }

    private static Value texts(List<String> parts, boolean safe, Budget budget) {
        budget.items(parts.size());
        return Items.list(
                parts.stream().<Value>map(part -> new Text(part, safe)).toList());
    }

    private static List<String> split(String text, String name, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind(name, "sep", "maxsplit");
        int most = bound.number("maxsplit", -1);
        most = most < 0 ? Integer.MAX_VALUE : most;
        Optional<Value> separator = bound.some("sep");
        boolean fromRight = name.equals("rsplit");
        if (separator.isEmpty()) {
            return fromRight ? wordsFromRight(text, most) : PythonText.words(text, most);
        }
        String by = bound.requireText("sep", separator.get());
        if (by.isEmpty()) {
            throw new TemplateFailure(name + ": the separator is empty");
        }
        budget.search(text, by);
        List<String> parts = new ArrayList<>();
        if (fromRight) {
            int end = text.length();
            for (int at = text.lastIndexOf(by); at >= 0 && parts.size() < most; at = before(text, by, at)) {
                parts.add(text.substring(at + by.length(), end));
                end = at;
            }
            parts.add(text.substring(0, end));
            Collections.reverse(parts);
            return parts;
        }
        int begin = 0;
        for (int at = text.indexOf(by); at >= 0 && parts.size() < most; at = text.indexOf(by, begin)) {
            parts.add(text.substring(begin, at));
            begin = at + by.length();
        }
        parts.add(text.substring(begin));
        return parts;
    }

    private static int before(String text, String part, int end) {
        return end < part.length() ? -1 : text.lastIndexOf(part, end - part.length());
    }

    private static List<String> wordsFromRight(String text, int most) {
        List<String> words = new ArrayList<>();
        String rest = PythonText.stripRight(text);
        while (!rest.isEmpty()) {
            if (words.size() == most) {
                words.add(rest);
                break;
            }
            int begin = rest.length();
            while (begin > 0 && !PythonText.isSpace(rest.charAt(begin - 1))) {
                begin--;
            }
            words.add(rest.substring(begin));
            rest = PythonText.stripRight(rest.substring(0, begin));
        }
        Collections.reverse(words);
        return words;
    }

    /** The part of the text that the arguments start and end leave, or empty when they leave none. */
    private static Optional<String> window(String text, Arguments.Bound bound) {
        if (bound.some("start").isEmpty() && bound.some("end").isEmpty()) {
            return Optional.of(text);
        }
        int length = PythonText.length(text);
        int from = bound.some("start").isEmpty() ? 0 : bound.number("start");
        int to = bound.some("end").isEmpty() ? length : bound.number("end");
        from = from < 0 ? Math.max(0, from + length) : from;
        to = Math.clamp(to < 0 ? (long) to + length : to, 0, length);
        return from > to
                ? Optional.empty()
                : Optional.of(text.substring(PythonText.charIndex(text, from), PythonText.charIndex(text, to)));
    }

    private static boolean hasAffix(String text, String name, Arguments arguments) {
        Arguments.Bound bound = arguments.bind(name, "affix", "start", "end");
        Value affix = bound.get("affix");
        List<Value> affixes =
                affix instanceof Items items && items.kind() == Items.Kind.TUPLE ? items.items() : List.of(affix);
        Optional<String> window = window(text, bound);
        boolean found = false;
        for (Value one : affixes) {
            if (!(one instanceof Text(String wanted, boolean _))) {
                throw Operators.unsuitable(one, name + " expects a string or a tuple of strings");
            }
            found |= window.filter(part -> name.equals("startswith") ? part.startsWith(wanted) : part.endsWith(wanted))
                    .isPresent();
        }
        return found;
    }

    static String replaced(String text, String old, String with, int count, Budget budget) {
        budget.search(text, old);
        if (count < 0 && !old.isEmpty() && with.length() <= old.length()) {
            return text.replace(old, with);
        }
        StringBuilder result = new StringBuilder(text.length());
        int begin = 0;
        int done = 0;
        int at = text.indexOf(old);
        while (at >= 0 && (count < 0 || done < count)) {
            result.append(text, begin, at).append(with);
            budget.grow(result.length());
            begin = at + old.length();
            done++;
            if (old.isEmpty()) {
                if (begin == text.length()) {
                    break;
                }
                int next = begin + Character.charCount(text.codePointAt(begin));
                result.append(text, begin, next);
                begin = next;
                at = next;
            } else {
                at = text.indexOf(old, begin);
            }
        }
        return result.append(text, begin, text.length()).toString();
    }

    private static Value found(String text, String name, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind(name, "sub", "start", "end");
        String sub = bound.text("sub");
        budget.search(text, sub);
        Optional<String> window = window(text, bound);
        if (name.equals("count")) {
            return Int.of(window.map(part -> occurrences(part, sub)).orElse(0));
        }
        boolean last = name.startsWith("r");
        int at = window.map(part -> last ? part.lastIndexOf(sub) : part.indexOf(sub))
                .orElse(-1);
        if (at < 0) {
            if (name.endsWith("index")) {
                throw new TemplateFailure(name + ": the string does not hold " + PythonText.quoted(sub));
            }
            return Int.of(-1);
        }
        int start = bound.some("start").isEmpty() ? 0 : bound.number("start");
        int offset = start < 0 ? Math.max(0, start + PythonText.length(text)) : start;
        return Int.of(offset + (long) window.orElseThrow().codePointCount(0, at));
    }

    private static int occurrences(String text, String part) {
        if (part.isEmpty()) {
            return PythonText.length(text) + 1;
        }
        int count = 0;
        for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
            count++;
        }
        return count;
    }

    static String joined(String separator, List<String> parts, Budget budget) {
        long length = 0;
        for (String part : parts) {
            length += part.length() + (long) separator.length();
            budget.grow(length);
        }
        budget.text(length);
        return String.join(separator, parts);
    }

    static String padded(String text, String how, int width, String fill, Budget budget) {
        int length = PythonText.length(text);
        int missing = width - length;
        if (missing <= 0) {
            return text;
        }
        budget.text(width);
        int left = switch (how) {
            case "ljust" -> 0;
            case "rjust" -> missing;
            // Python's rounding: the odd one goes left when the width is odd too.
            default -> missing / 2 + (missing & width & 1);
        };
        return fill.repeat(left) + text + fill.repeat(missing - left);
    }

    private static Value partition(String text, boolean safe, String name, Arguments arguments, Budget budget) {
        String separator = arguments.bind(name, "sep").text("sep");
        if (separator.isEmpty()) {
            throw new TemplateFailure(name + ": the separator is empty");
        }
        budget.search(text, separator);
        boolean last = name.startsWith("r");
        int at = last ? text.lastIndexOf(separator) : text.indexOf(separator);
        List<String> parts = at >= 0
                ? List.of(text.substring(0, at), separator, text.substring(at + separator.length()))
                : last ? List.of("", "", text) : List.of(text, "", "");
        return new Items(
                Items.Kind.TUPLE,
                parts.stream().<Value>map(part -> new Text(part, safe)).toList());
    }

    /** {@code str.format} with fields that are empty, a number or a name. */
    private static String formatted(String text, Arguments arguments, Budget budget) {
        StringBuilder result = new StringBuilder();
        int next = 0;
        int i = 0;
        while (i < text.length()) {
            char c = text.charAt(i++);
            boolean twice = i < text.length() && text.charAt(i) == c;
            if ((c == '{' || c == '}') && twice) {
                result.append(c);
                i++;
            } else if (c == '{') {
                int end = text.indexOf('}', i);
                String field = end < 0 ? "" : text.substring(i, end);
                if (end < 0 || !field.chars().allMatch(f -> f == '_' || Character.isLetterOrDigit(f))) {
                    throw new TemplateFailure(
                            "format: the field {" + field + "} is not supported, only {}, {0} and {name}");
                }
                result.append(Operators.print(field(field, next, arguments), budget));
                next += field.isEmpty() ? 1 : 0;
                budget.text(result.length());
                i = end + 1;
            } else if (c == '}') {
                throw new TemplateFailure("format: a single '}' closes nothing");
            } else {
                result.append(c);
            }
        }
        return result.toString();
    }

    private static Value field(String field, int next, Arguments arguments) {
        boolean number = !field.isEmpty() && field.chars().allMatch(c -> c >= '0' && c <= '9');
        if (field.isEmpty() || number) {
            int index = field.isEmpty() ? next : field.length() > 4 ? Integer.MAX_VALUE : Integer.parseInt(field);
            if (index >= arguments.positional().size()) {
                throw new TemplateFailure("format: the field {" + field + "} has no argument");
            }
            return arguments.positional().get(index);
        }
        if (!arguments.named().containsKey(field)) {
            throw new TemplateFailure("format: the field {" + field + "} has no argument");
        }
        return arguments.named().get(field);
    }

    private static boolean isOf(String text, String name) {
        return switch (name) {
            case "isascii" -> text.chars().allMatch(c -> c < 0x80);
            case "islower" -> isLower(text);
            case "isupper" -> isUpper(text);
            case "istitle" ->
                !text.isEmpty() && hasCase(text) && PythonText.title(text).equals(text);
            case "isspace" -> PythonText.isSpace(text, 0, text.length());
            case "isalpha" -> all(text, Character::isLetter);
            case "isalnum" -> all(text, Methods::isAlphanumeric);
            case "isdecimal" -> all(text, Character::isDigit);
            case "isdigit" -> all(text, c -> Character.isDigit(c) || "²³¹".indexOf(c) >= 0);
            default -> all(text, Methods::isNumeric);
        };
    }

    static boolean isAlphanumeric(int c) {
        return Character.isLetter(c) || isNumeric(c);
    }

    private static boolean isNumeric(int c) {
        int type = Character.getType(c);
        return type == Character.DECIMAL_DIGIT_NUMBER
                || type == Character.LETTER_NUMBER
                || type == Character.OTHER_NUMBER;
    }

    private static boolean all(String text, IntPredicate condition) {
        return !text.isEmpty() && text.codePoints().allMatch(condition);
    }

    private static boolean hasCase(String text) {
        return text.codePoints()
                .anyMatch(c -> Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c));
    }

    static boolean isLower(String text) {
        return hasCase(text) && text.codePoints().noneMatch(c -> Character.isUpperCase(c) || Character.isTitleCase(c));
    }

    static boolean isUpper(String text) {
        return hasCase(text) && text.codePoints().noneMatch(c -> Character.isLowerCase(c) || Character.isTitleCase(c));
    }
}
