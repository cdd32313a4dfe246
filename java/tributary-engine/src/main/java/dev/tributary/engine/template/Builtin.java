// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.Namespace;
import dev.tributary.engine.template.Value.Text;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * A function that is there without being defined.
 *
 * @param python its name
 * @param body what it does
 */
record Builtin(String python, Function<Arguments, Value> body) implements Callable {
    /** As the sandbox that transformers renders in. */
    private static final int MAX_RANGE = 100_000;

    @Override
    public Value call(Arguments arguments) {
        return body.apply(arguments);
    }

    /** {@return the functions that every template can call, by name} */
    static Map<String, Value> all(LocalDateTime now, Budget budget) {
        Map<String, Value> functions = new LinkedHashMap<>();
        add(functions, "range", arguments -> range(arguments, budget));
        add(functions, "dict", Builtin::dict);
        add(functions, "namespace", Builtin::namespace);
        add(functions, "joiner", Builtin::joiner);
        add(functions, "cycler", arguments -> new Cycler(arguments.positional()));
        add(functions, "raise_exception", arguments -> {
            Value message = arguments.bind("raise_exception", "message").get("message");
            throw new TemplateFailure("the template refuses the conversation: " + Operators.print(message, budget));
        });
        add(
                functions,
                "strftime_now",
                arguments -> new Text(
                        Strftime.format(arguments.bind("strftime_now", "format").text("format"), now, budget)));
        return functions;
    }

    private static void add(Map<String, Value> functions, String name, Function<Arguments, Value> body) {
        functions.put(name, new Builtin("the function " + name, body));
    }

    private static Value range(Arguments arguments, Budget budget) {
        int given = arguments.positional().size();
        Arguments.Bound bound =
                given == 1 ? arguments.bind("range", "stop") : arguments.bind("range", "start", "stop", "step");
        long start = given == 1 ? 0 : bound.number("start");
        long stop = bound.number("stop");
        long step = given == 1 ? 1 : bound.number("step", 1);
        if (step == 0) {
            throw new TemplateFailure("range: the step is 0");
        }
        long count = Math.max(0, step > 0 ? Math.ceilDiv(stop - start, step) : Math.ceilDiv(start - stop, -step));
        if (count > MAX_RANGE) {
            throw new TemplateFailure("range of " + count + " items, at most " + MAX_RANGE + " are allowed");
        }
        budget.items(count);
        List<Value> items = new ArrayList<>((int) count);
        for (long i = 0; i < count; i++) {
            items.add(Int.of(start + i * step));
        }
        return new Items(Items.Kind.RANGE, items);
    }

    private static Value dict(Arguments arguments) {
        Value.Dict dict = new Value.Dict();
        for (Value given : arguments.positional()) {
            pairs(dict, given);
        }
        arguments.named().forEach(dict::put);
        return dict;
    }

    private static Value namespace(Arguments arguments) {
        Value.Dict initial = new Value.Dict();
        for (Value given : arguments.positional()) {
            pairs(initial, given);
        }
        Namespace namespace = new Namespace();
        initial.entries().forEach((key, value) -> {
            if (!(key instanceof Text(String name, boolean _))) {
                throw Operators.unsuitable(key, "namespace expects names that are strings");
            }
            namespace.attributes().put(name, value);
        });
        namespace.attributes().putAll(arguments.named());
        return namespace;
    }

    private static void pairs(Value.Dict dict, Value given) {
        if (given instanceof Value.Dict other) {
            other.entries().forEach(dict::put);
            return;
        }
        for (Value pair : Operators.items(given)) {
            List<Value> entry = Operators.items(pair);
            if (entry.size() != 2) {
                throw Operators.unsuitable(pair, "dict expects pairs of a key and a value");
            }
            Operators.requireHashable(entry.getFirst());
            dict.put(entry.getFirst(), entry.getLast());
        }
    }

    /** Nothing at the first call, a separator from the second on. */
    private static Value joiner(Arguments arguments) {
        Value separator = arguments.bind("joiner", "sep").find("sep").orElse(new Text(", "));
        Iterator<Value> first = List.<Value>of(new Text("")).iterator();
        return new Builtin("a joiner", ignored -> first.hasNext() ? first.next() : separator);
    }

    /** Values in turns. */
    private static final class Cycler implements Callable {
        private final List<Value> values;
        private int at;

        Cycler(List<Value> values) {
            if (values.isEmpty()) {
                throw new TemplateFailure("cycler needs values to cycle through");
            }
            this.values = values;
        }

        @Override
        public String python() {
            return "a cycler";
        }

        @Override
        public Value call(Arguments arguments) {
            throw new TemplateFailure("a cycler is called, expected its attributes next, reset or current");
        }

        @Override
        public Value attribute(String name) {
            return switch (name) {
                case "current" -> values.get(at);
                case "next" ->
                    new Builtin("cycler.next", arguments -> {
                        Value value = values.get(at);
                        at = (at + 1) % values.size();
                        return value;
                    });
                case "reset" ->
                    new Builtin("cycler.reset", arguments -> {
                        at = 0;
                        return Value.None.NONE;
                    });
                default -> Callable.super.attribute(name);
            };
        }
    }
}
