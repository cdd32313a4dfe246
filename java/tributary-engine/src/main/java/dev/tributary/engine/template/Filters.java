// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Stream;
import dev.tributary.engine.template.Value.Text;
import dev.tributary.engine.template.Value.Undefined;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What may stand behind {@code |}: Jinja's filters, with the {@code tojson} of transformers. */
final class Filters {
    private static final Set<String> KNOWN = Set.of(
            "abs",
            "attr",
            "capitalize",
            "center",
            "count",
            "d",
            "default",
            "dictsort",
            "e",
            "escape",
            "first",
            "float",
            "forceescape",
            "format",
            "indent",
            "int",
            "items",
            "join",
            "last",
            "length",
            "list",
            "lower",
            "map",
            "max",
            "min",
            "reject",
            "rejectattr",
            "replace",
            "reverse",
            "round",
            "safe",
            "select",
            "selectattr",
            "sort",
            "string",
            "sum",
            "title",
            "tojson",
            "trim",
            "truncate",
            "unique",
            "upper",
            "urlencode",
            "wordcount");

    /** Jinja has them; no template known to us takes them. */
    private static final Set<String> REFUSED = Set.of(
            "batch",
            "filesizeformat",
            "groupby",
            "pprint",
            "random",
            "slice",
            "striptags",
            "urlize",
            "wordwrap",
            "xmlattr");

    private static final Pattern TITLE_BOUNDARY = Pattern.compile("[-\\s({\\[<]+", Pattern.UNICODE_CHARACTER_CLASS);
    private static final Pattern DECIMAL = Pattern.compile("[+-]?[0-9]+(?:_[0-9]+)*");
    private static final Pattern REAL = Pattern.compile("[+-]?(?:[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?");
    private static final int MAX_DIGITS = 1000;

    private Filters() {}

    static boolean isKnown(String name) {
        return KNOWN.contains(name);
    }

    static boolean isRefused(String name) {
        return REFUSED.contains(name);
    }

    static Value apply(String name, Value value, Arguments arguments, Budget budget) {
        budget.work(1);
        return switch (name) {
            case "default", "d" -> {
                Arguments.Bound bound = arguments.bind(name, "default_value", "boolean");
                boolean replaces =
                        value instanceof Undefined || (bound.flag("boolean", false) && !Operators.truth(value));
                yield replaces ? bound.find("default_value").orElse(new Text("")) : value;
            }
            case "tojson" -> Json.filter(value, arguments, budget);
            case "trim" -> trim(value, arguments, budget);
            case "length", "count" -> {
                arguments.bind(name);
                yield Int.of(Operators.length(value));
            }
            case "string" -> {
                arguments.bind(name);
                yield value instanceof Text ? value : new Text(Operators.print(value, budget));
            }
            case "lower", "upper", "capitalize" -> {
                arguments.bind(name);
                yield changed(value, Methods.cased(printed(value, budget), name));
            }
            case "title" -> {
                arguments.bind(name);
                yield changed(value, title(printed(value, budget)));
            }
            case "join" -> join(value, arguments, budget);
            case "replace" -> replace(value, arguments, budget);
            case "indent" -> indent(value, arguments, budget);
            case "list" -> {
                arguments.bind(name);
                List<Value> items = Operators.items(value);
                budget.items(items.size());
                yield Items.list(items);
            }
            case "items" -> {
                arguments.bind(name);
                yield switch (value) {
                    case Undefined _ -> new Stream(List.of());
                    case Dict dict -> new Stream(dict.pairs());
                    default -> throw Operators.unsuitable(value, "items expects a dict");
                };
            }
            case "dictsort" -> dictsort(value, arguments, budget);
            case "first" -> {
                arguments.bind(name);
                yield first(value);
            }
            case "last" -> {
                arguments.bind(name);
                if (value instanceof Stream) {
                    throw Operators.unsuitable(value, "last expects a list");
                }
                List<Value> items = Operators.items(value);
                yield items.isEmpty() ? nothing(name) : items.getLast();
            }
            case "reverse" -> {
                arguments.bind(name);
                if (value instanceof Text(String text, boolean safe)) {
                    budget.text(text.length());
                    List<String> characters = PythonText.characters(text);
                    Collections.reverse(characters);
                    yield new Text(String.join("", characters), safe);
                }
                List<Value> items = new ArrayList<>(Operators.items(value));
                budget.items(items.size());
                Collections.reverse(items);
                yield new Stream(items);
            }
            case "map" -> map(value, arguments, budget);
            case "select" -> select(name, value, arguments, false, true, budget);
            case "reject" -> select(name, value, arguments, false, false, budget);
            case "selectattr" -> select(name, value, arguments, true, true, budget);
            case "rejectattr" -> select(name, value, arguments, true, false, budget);
            case "sort" -> sort(value, arguments, budget);
            case "unique" -> unique(value, arguments, budget);
            case "min", "max" -> extreme(name, value, arguments, budget);
            case "sum" -> {
                Arguments.Bound bound = arguments.bind(name, "attribute", "start");
                Value sum = bound.find("start").orElse(Int.of(0));
                for (Value item : Operators.items(value)) {
                    budget.work(1);
                    sum = Operators.add(
                            sum, attribute(item, bound.some("attribute"), Optional.empty(), budget), budget);
                }
                yield sum;
            }
            case "int" -> toInteger(value, arguments);
            case "float" -> {
                Value otherwise =
                        arguments.bind(name, "default").find("default").orElse(new Real(0));
                yield asReal(value).<Value>map(Real::new).orElse(otherwise);
            }
            case "abs" -> {
                arguments.bind(name);
                yield Operators.ordered("<", value, Int.of(0)) ? Operators.negative(value) : Operators.positive(value);
            }
            case "round" -> round(value, arguments);
            case "attr" -> {
                String attribute = arguments.bind(name, "name").text("name");
                yield Methods.own(value, attribute, budget)
                        .orElseGet(() -> new Undefined(
                                Operators.typeName(value) + " has no attribute " + PythonText.quoted(attribute)));
            }
            case "safe" -> {
                arguments.bind(name);
                yield new Text(printed(value, budget), true);
            }
            case "escape", "e", "forceescape" -> {
                arguments.bind(name);
                boolean done = value instanceof Text(String _, boolean safe) && safe && !name.equals("forceescape");
                yield done ? value : new Text(Operators.escaped(printed(value, budget)), true);
            }
            case "center" -> {
                int width = arguments.bind(name, "width").number("width", 80);
                yield changed(value, Methods.padded(printed(value, budget), name, width, " ", budget));
            }
            case "format" -> {
                Value values = arguments.named().isEmpty()
                        ? new Items(Items.Kind.TUPLE, arguments.positional())
                        : dict(arguments.named());
                yield changed(value, Printf.format(printed(value, budget), values, budget));
            }
            case "truncate" -> truncate(value, arguments, budget);
            case "urlencode" -> {
                arguments.bind(name);
                if (!(value instanceof Text) && Operators.isIterable(value)) {
                    throw new TemplateFailure("urlencode of " + Operators.typeName(value) + " is not supported");
                }
                yield new Text(urlencoded(printed(value, budget)));
            }
            case "wordcount" -> {
                arguments.bind(name);
                yield Int.of(wordCount(printed(value, budget)));
            }
            default -> throw new TemplateFailure("the filter '" + name + "' is unknown");
        };
    }

    private static String printed(Value value, Budget budget) {
        String text = Operators.print(value, budget);
        budget.text(text.length());
        return text;
    }

    /** A text made of another is as safe as that one. */
    private static Text changed(Value from, String text) {
        return new Text(text, from instanceof Text(String _, boolean safe) && safe);
    }

    static Dict dict(Map<String, Value> entries) {
        Dict dict = new Dict();
        entries.forEach(dict::put);
        return dict;
    }

    private static Undefined nothing(String name) {
        return new Undefined(name + ": the sequence is empty");
    }

    private static Value trim(Value value, Arguments arguments, Budget budget) {
        String text = printed(value, budget);
        Arguments.Bound bound = arguments.bind("trim", "chars");
        Optional<Value> characters = bound.some("chars");
        if (characters.isEmpty()) {
            return changed(value, PythonText.stripRight(PythonText.stripLeft(text)));
        }
        String set = bound.requireText("chars", characters.get());
        budget.search(text, set);
        return changed(value, PythonText.strip(text, set, true, true));
    }

    /** Unlike the method, the filter takes only white space and opening brackets for the borders of words. */
    private static String title(String text) {
        StringBuilder title = new StringBuilder();
        Matcher matcher = TITLE_BOUNDARY.matcher(text);
        int begin = 0;
        while (matcher.find()) {
            title.append(PythonText.capitalize(text.substring(begin, matcher.start())));
            title.append(matcher.group());
            begin = matcher.end();
        }
        return title.append(PythonText.capitalize(text.substring(begin))).toString();
    }

    private static Value join(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("join", "d", "attribute");
        String separator = bound.find("d").map(d -> Operators.print(d, budget)).orElse("");
        List<String> parts = new ArrayList<>();
        for (Value item : Operators.items(value)) {
            budget.work(1);
            parts.add(Operators.print(attribute(item, bound.some("attribute"), Optional.empty(), budget), budget));
        }
        return new Text(Methods.joined(separator, parts, budget));
    }

    private static Value replace(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("replace", "old", "new", "count");
        return new Text(Methods.replaced(
                printed(value, budget),
                Operators.print(bound.get("old"), budget),
                Operators.print(bound.get("new"), budget),
                bound.some("count").isEmpty() ? -1 : bound.number("count"),
                budget));
    }

    private static Value indent(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("indent", "width", "first", "blank");
        if (!(value instanceof Text(String text, boolean _))) {
            throw Operators.unsuitable(value, "indent expects a string");
        }
        String indentation = bound.find("width").orElse(Int.of(4)) instanceof Text(String given, boolean _)
                ? given
                : " ".repeat(Math.clamp(bound.number("width", 4), 0, 1000));
        boolean blank = bound.flag("blank", false);
        // As in Jinja: an empty text has one line, and a line break at the end opens another.
        List<String> lines = PythonText.lines(text + "\n", false);
        StringBuilder result = new StringBuilder(bound.flag("first", false) ? indentation : "");
        for (int i = 0; i < lines.size(); i++) {
            if (i > 0) {
                result.append('\n').append(blank || !lines.get(i).isEmpty() ? indentation : "");
            }
            result.append(lines.get(i));
            budget.grow(result.length());
        }
        budget.text(result.length());
        return changed(value, result.toString());
    }

    private static Value first(Value value) {
        if (value instanceof Stream stream) {
            return stream.hasNext() ? stream.next() : nothing("first");
        }
        List<Value> items = Operators.items(value);
        return items.isEmpty() ? nothing("first") : items.getFirst();
    }

    /** An attribute by its path, such as {@code function.name}; without a path the item itself. */
    private static Value attribute(Value item, Optional<Value> path, Optional<Value> otherwise, Budget budget) {
        if (path.isEmpty()) {
            return item;
        }
        Value result = item;
        List<Value> parts = new ArrayList<>();
        if (path.get() instanceof Text(String names, boolean _)) {
            for (String name : names.split("\\.", -1)) {
                boolean number =
                        !name.isEmpty() && name.length() < 10 && name.chars().allMatch(c -> c >= '0' && c <= '9');
                parts.add(number ? Int.of(Long.parseLong(name)) : new Text(name));
            }
        } else {
            parts.add(path.get());
        }
        for (Value part : parts) {
            budget.work(1);
            result = Methods.item(result, part, budget);
            if (result instanceof Undefined && otherwise.isPresent()) {
                result = otherwise.get();
            }
        }
        return result;
    }

    private static Value map(Value value, Arguments arguments, Budget budget) {
        if (!Operators.truth(value)) {
            return new Stream(List.of());
        }
        List<Value> results = new ArrayList<>();
        if (arguments.positional().isEmpty()) {
            Arguments.Bound bound = arguments.bind("map", "*", "attribute", "default");
            Optional<Value> path = Optional.of(bound.get("attribute"));
            for (Value item : Operators.items(value)) {
                results.add(attribute(item, path, bound.some("default"), budget));
            }
            return new Stream(results);
        }
        String filter = name("map", arguments.positional().getFirst());
        for (Value item : Operators.items(value)) {
            results.add(apply(filter, item, arguments.rest(), budget));
        }
        return new Stream(results);
    }

    private static String name(String function, Value value) {
        if (value instanceof Text(String name, boolean _)) {
            return name;
        }
        throw Operators.unsuitable(value, function + " expects the name of a filter or test");
    }

    private static Value select(
            String function, Value value, Arguments arguments, boolean byAttribute, boolean keep, Budget budget) {
        if (!Operators.truth(value)) {
            return new Stream(List.of());
        }
        Arguments left = arguments;
        Optional<Value> path = Optional.empty();
        if (byAttribute) {
            if (left.positional().isEmpty()) {
                throw new TemplateFailure(function + " needs the name of an attribute");
            }
            path = Optional.of(left.positional().getFirst());
            left = left.rest();
        }
        List<Value> results = new ArrayList<>();
        for (Value item : Operators.items(value)) {
            Value tested = attribute(item, path, Optional.empty(), budget);
            budget.work(1);
            boolean holds = left.positional().isEmpty()
                    ? Operators.truth(tested)
                    : Tests.test(name(function, left.positional().getFirst()), tested, left.rest(), budget);
            if (holds == keep) {
                results.add(item);
            }
        }
        return new Stream(results);
    }

    private static Value folded(Value value, boolean caseSensitive) {
        return !caseSensitive && value instanceof Text(String text, boolean _)
                ? new Text(text.toLowerCase(Locale.ROOT))
                : value;
    }

    private record Keyed(List<Value> keys, Value value) {}

    private static Comparator<Keyed> byKeys(Budget budget) {
        return (a, b) -> {
            for (int i = 0; i < a.keys().size(); i++) {
                budget.work(1);
                Value left = a.keys().get(i);
                Value right = b.keys().get(i);
                if (!Operators.same(left, right)) {
                    return Operators.order(left, right);
                }
            }
            return 0;
        };
    }

    private static Value sort(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("sort", "reverse", "case_sensitive", "attribute");
        boolean caseSensitive = bound.flag("case_sensitive", false);
        List<Optional<Value>> paths = new ArrayList<>();
        if (bound.some("attribute").orElse(None.NONE) instanceof Text(String names, boolean _)) {
            for (String name : names.split(",", -1)) {
                paths.add(Optional.of(new Text(name)));
            }
        } else {
            paths.add(bound.some("attribute"));
        }
        List<Keyed> keyed = new ArrayList<>();
        for (Value item : Operators.items(value)) {
            List<Value> keys = new ArrayList<>();
            for (Optional<Value> path : paths) {
                keys.add(folded(attribute(item, path, Optional.empty(), budget), caseSensitive));
            }
            keyed.add(new Keyed(keys, item));
        }
        return Items.list(sorted(keyed, bound.flag("reverse", false), budget));
    }

    private static List<Value> sorted(List<Keyed> keyed, boolean reverse, Budget budget) {
        budget.items(keyed.size());
        Comparator<Keyed> order = byKeys(budget);
        keyed.sort(reverse ? order.reversed() : order);
        return keyed.stream().map(Keyed::value).toList();
    }

    private static Value dictsort(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("dictsort", "case_sensitive", "by", "reverse");
        if (!(value instanceof Dict dict)) {
            throw Operators.unsuitable(value, "dictsort expects a dict");
        }
        String by = bound.find("by").isPresent() ? bound.text("by") : "key";
        if (!by.equals("key") && !by.equals("value")) {
            throw new TemplateFailure("dictsort: by is " + PythonText.quoted(by) + ", expected 'key' or 'value'");
        }
        List<Keyed> keyed = new ArrayList<>();
        dict.entries()
                .forEach((key, item) -> keyed.add(new Keyed(
                        List.of(folded(by.equals("key") ? key : item, bound.flag("case_sensitive", false))),
                        Items.tuple(key, item))));
        return Items.list(sorted(keyed, bound.flag("reverse", false), budget));
    }

    private static Value unique(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("unique", "case_sensitive", "attribute");
        Set<Value> seen = new HashSet<>();
        List<Value> results = new ArrayList<>();
        for (Value item : Operators.items(value)) {
            Value key = folded(
                    attribute(item, bound.some("attribute"), Optional.empty(), budget),
                    bound.flag("case_sensitive", false));
            Operators.requireHashable(key);
            if (seen.add(key)) {
                results.add(item);
            }
        }
        return new Stream(results);
    }

    private static Value extreme(String name, Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind(name, "case_sensitive", "attribute");
        Optional<Value> best = Optional.empty();
        Value bestKey = None.NONE;
        for (Value item : Operators.items(value)) {
            budget.work(1);
            Value key = folded(
                    attribute(item, bound.some("attribute"), Optional.empty(), budget),
                    bound.flag("case_sensitive", false));
            if (best.isEmpty() || Operators.ordered(name.equals("min") ? "<" : ">", key, bestKey)) {
                best = Optional.of(item);
                bestKey = key;
            }
        }
        return best.orElseGet(() -> nothing(name));
    }

    private static Value toInteger(Value value, Arguments arguments) {
        Arguments.Bound bound = arguments.bind("int", "default", "base");
        int base = bound.number("base", 10);
        if (value instanceof Text(String text, boolean _)) {
            String digits = PythonText.stripRight(PythonText.stripLeft(text));
            Optional<BigInteger> number = parsed(digits, base);
            if (number.isPresent()) {
                return new Int(number.get());
            }
        } else if (Operators.integer(value).isPresent()) {
            return new Int(Operators.integer(value).get());
        }
        return asReal(value)
                .filter(Double::isFinite)
                .<Value>map(number -> new Int(new BigDecimal(number).toBigInteger()))
                .orElseGet(() -> bound.find("default").orElse(Int.of(0)));
    }

    private static Optional<BigInteger> parsed(String digits, int base) {
        if (base < 2 || base > 36 || digits.length() > MAX_DIGITS) {
            throw new TemplateFailure("int of base " + base + " and " + digits.length() + " digits is not supported");
        }
        String plain = digits.replace("_", "");
        if (base == 10) {
            return DECIMAL.matcher(digits).matches() ? Optional.of(new BigInteger(plain)) : Optional.empty();
        }
        boolean negative = plain.startsWith("-");
        plain = negative || plain.startsWith("+") ? plain.substring(1) : plain;
        String prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : "";
        if (!prefix.isEmpty() && plain.toLowerCase(Locale.ROOT).startsWith(prefix)) {
            plain = plain.substring(2);
        }
        if (plain.isEmpty() || !plain.chars().allMatch(c -> Character.digit(c, base) >= 0)) {
            return Optional.empty();
        }
        BigInteger number = new BigInteger(plain, base);
        return Optional.of(negative ? number.negate() : number);
    }

    /** {@code float()}, empty where Python raises an error. */
    private static Optional<Double> asReal(Value value) {
        if (value instanceof Undefined(String why)) {
            throw new TemplateFailure(why);
        }
        if (value instanceof Text(String text, boolean _)) {
            String trimmed = PythonText.stripRight(PythonText.stripLeft(text)).replace("_", "");
            String lower = trimmed.toLowerCase(Locale.ROOT).replaceFirst("^\\+", "");
            return switch (lower) {
                case "inf", "infinity" -> Optional.of(Double.POSITIVE_INFINITY);
                case "-inf", "-infinity" -> Optional.of(Double.NEGATIVE_INFINITY);
                case "nan", "-nan" -> Optional.of(Double.NaN);
                default ->
                    trimmed.length() <= MAX_DIGITS && REAL.matcher(trimmed).matches()
                            ? Optional.of(Double.parseDouble(trimmed))
                            : Optional.empty();
            };
        }
        return Operators.isNumber(value) ? Optional.of(Operators.real(value)) : Optional.empty();
    }

    private static Value round(Value value, Arguments arguments) {
        Arguments.Bound bound = arguments.bind("round", "precision", "method");
        int precision = bound.number("precision", 0);
        String method = bound.find("method").isPresent() ? bound.text("method") : "common";
        if (Math.abs((long) precision) > 300) {
            throw new TemplateFailure("round: precision is " + precision + ", expected −300 to 300");
        }
        if (!Operators.isNumber(value)) {
            throw Operators.unsuitable(value, "round expects a number");
        }
        if (method.equals("common")) {
            if (value instanceof Real(double number)) {
                return new Real(
                        Double.isFinite(number)
                                ? new BigDecimal(number)
                                        .setScale(precision, RoundingMode.HALF_EVEN)
                                        .doubleValue()
                                : number);
            }
            BigInteger number = Operators.integer(value).orElseThrow();
            return new Int(
                    precision >= 0
                            ? number
                            : new BigDecimal(number)
                                    .setScale(precision, RoundingMode.HALF_EVEN)
                                    .toBigInteger());
        }
        double scale = Math.pow(10, precision);
        return switch (method) {
            case "ceil" -> new Real(Math.ceil(Operators.real(value) * scale) / scale);
            case "floor" -> new Real(Math.floor(Operators.real(value) * scale) / scale);
            default ->
                throw new TemplateFailure(
                        "round: method is " + PythonText.quoted(method) + ", expected 'common', 'ceil' or 'floor'");
        };
    }

    private static int wordCount(String text) {
        int count = 0;
        boolean inWord = false;
        for (int c : text.codePoints().toArray()) {
            boolean letter = c == '_' || Methods.isAlphanumeric(c);
            count += letter && !inWord ? 1 : 0;
            inWord = letter;
        }
        return count;
    }

    private static Value truncate(Value value, Arguments arguments, Budget budget) {
        Arguments.Bound bound = arguments.bind("truncate", "length", "killwords", "end", "leeway");
        if (!(value instanceof Text(String text, boolean safe))) {
            throw Operators.unsuitable(value, "truncate expects a string");
        }
        budget.text(text.length());
        String end = bound.find("end").isPresent() ? bound.text("end") : "...";
        int length = bound.number("length", 255);
        int leeway = bound.some("leeway").isEmpty() ? 5 : bound.number("leeway");
        if (length < PythonText.length(end) || leeway < 0) {
            throw new TemplateFailure("truncate: length is " + length + ", expected at least that of the end");
        }
        if (PythonText.length(text) <= (long) length + leeway) {
            return value;
        }
        String kept = text.substring(0, PythonText.charIndex(text, length - PythonText.length(end)));
        int space = kept.lastIndexOf(' ');
        boolean whole = bound.flag("killwords", false) || space < 0;
        return new Text((whole ? kept : kept.substring(0, space)) + end, safe);
    }

    private static String urlencoded(String text) {
        StringBuilder encoded = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            char c = (char) (b & 0xFF);
            if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || "_.-~/".indexOf(c) >= 0) {
                encoded.append(c);
            } else {
                encoded.append(String.format(Locale.ROOT, "%%%02X", (int) c));
            }
        }
        return encoded.toString();
    }
}
