// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Node.CallArguments;
import dev.tributary.engine.template.Node.Expression;
import dev.tributary.engine.template.Node.Statement;
import dev.tributary.engine.template.Node.Target;
import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.Namespace;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Text;
import dev.tributary.engine.template.Value.Undefined;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.function.Function;

/**
 * Runs one rendering. Scopes are Jinja's: a loop, a macro and each kind of block but {@code if} has its own, so that what is
 * set inside is gone behind it; only a namespace carries a value out.
 */
final class Interpreter {
    /** How a statement ended. */
    private enum Flow {
        ON,
        BREAK,
        CONTINUE
    }

    private final Budget budget;

    Interpreter(Budget budget) {
        this.budget = budget;
    }

    /** {@return what the statements print} */
    String render(List<Statement> statements, Scope scope) {
        StringBuilder output = new StringBuilder();
        run(statements, scope, output);
        return output.toString();
    }

    // Statements

    private Flow run(List<Statement> statements, Scope scope, StringBuilder output) {
        for (Statement statement : statements) {
            Flow flow = run(statement, scope, output);
            if (flow != Flow.ON) {
                return flow;
            }
        }
        return Flow.ON;
    }

    private Flow run(Statement statement, Scope scope, StringBuilder output) {
        budget.enter();
        budget.work(1);
        try {
            return switch (statement) {
                case Node.Text text -> print(text.text(), output);
                case Node.Output printed -> print(Operators.print(value(printed.expression(), scope), budget), output);
                case Node.If branch ->
                    run(
                            Operators.truth(value(branch.test(), scope)) ? branch.then() : branch.otherwise(),
                            scope,
                            output);
                case Node.For loop -> loop(loop, value(loop.items(), scope), scope, output, 0);
                case Node.Set set -> {
                    assign(set.target(), value(set.value(), scope), scope);
                    yield Flow.ON;
                }
                case Node.SetBlock set -> {
                    StringBuilder body = new StringBuilder();
                    Flow flow = run(set.body(), scope.inside(), body);
                    if (flow == Flow.ON) {
                        Value text = new Text(body.toString());
                        Value result =
                                set.filter().isPresent() ? filtered(set.filter().get(), text, scope) : text;
                        assign(set.target(), result, scope);
                    }
                    yield flow;
                }
                case Node.With with -> {
                    Scope inside = scope.inside();
                    for (int i = 0; i < with.targets().size(); i++) {
                        assign(with.targets().get(i), value(with.values().get(i), scope), inside);
                    }
                    yield run(with.body(), inside, output);
                }
                case Node.Macro macro -> {
                    scope.set(macro.name(), new MacroValue(macro, scope));
                    yield Flow.ON;
                }
                case Node.CallBlock block -> {
                    Value callee = value(block.call().callee(), scope);
                    Arguments given = arguments(block.call().arguments(), scope);
                    Map<String, Value> named = new LinkedHashMap<>(given.named());
                    named.put("caller", new MacroValue(block.body(), scope));
                    Value result = call(callee, new Arguments(given.positional(), named));
                    yield print(Operators.print(result, budget), output);
                }
                case Node.FilterBlock block -> {
                    StringBuilder body = new StringBuilder();
                    Flow flow = run(block.body(), scope.inside(), body);
                    if (flow == Flow.ON) {
                        Value result = filtered(block.filter(), new Text(body.toString()), scope);
                        print(Operators.print(result, budget), output);
                    }
                    yield flow;
                }
                case Node.Generation generation -> run(generation.body(), scope.inside(), output);
                case Node.Break _ -> Flow.BREAK;
                case Node.Continue _ -> Flow.CONTINUE;
            };
        } catch (TemplateFailure e) {
            throw e.at(statement.line());
        } finally {
            budget.leave();
        }
    }

    private Flow print(String text, StringBuilder output) {
        budget.text(text.length());
        budget.grow(output.length() + (long) text.length());
        output.append(text);
        return Flow.ON;
    }

    private Flow loop(Node.For node, Value over, Scope scope, StringBuilder output, int level) {
        Iterator<Value> items = Operators.items(over).iterator();
        if (node.condition().isPresent()) {
            items = new Filtered(node, items, scope);
        }
        Optional<Function<Value, Value>> recursion = Optional.empty();
        if (node.recursive()) {
            recursion = Optional.of(inner -> {
                StringBuilder text = new StringBuilder();
                loop(node, inner, scope, text, level + 1);
                return new Text(text.toString());
            });
        }
        Loop loop = new Loop(items, level, recursion, budget);
        boolean any = false;
        while (loop.advance()) {
            any = true;
            Scope inside = scope.inside();
            inside.set("loop", loop);
            assign(node.target(), loop.current(), inside);
            if (run(node.body(), inside, output) == Flow.BREAK) {
                break;
            }
        }
        return any ? Flow.ON : run(node.otherwise(), scope.inside(), output);
    }

    /** The items for which a loop's condition holds, tested when they are asked for. */
    private final class Filtered implements Iterator<Value> {
        private final Node.For node;
        private final Iterator<Value> items;
        private final Scope scope;
        private Optional<Value> next = Optional.empty();

        Filtered(Node.For node, Iterator<Value> items, Scope scope) {
            this.node = node;
            this.items = items;
            this.scope = scope;
        }

        @Override
        public boolean hasNext() {
            while (next.isEmpty() && items.hasNext()) {
                budget.work(1);
                Value item = items.next();
                Scope inside = scope.inside();
                assign(node.target(), item, inside);
                if (Operators.truth(value(node.condition().orElseThrow(), inside))) {
                    next = Optional.of(item);
                }
            }
            return next.isPresent();
        }

        @Override
        public Value next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            Value item = next.orElseThrow();
            next = Optional.empty();
            return item;
        }
    }

    private void assign(Target target, Value value, Scope scope) {
        switch (target) {
            case Node.NameTarget(String name) -> scope.set(name, value);
            case Node.NamespaceTarget(int line, String name, String attribute) -> {
                if (!(scope.find(name).orElse(None.NONE) instanceof Namespace namespace)) {
                    throw new TemplateFailure(
                            line, "'" + name + "' is no namespace, so '" + name + "." + attribute + "' cannot be set");
                }
                namespace.attributes().put(attribute, value);
            }
            case Node.TupleTarget(int line, List<Target> targets) -> {
                if (value instanceof Undefined(String why)) {
                    throw new TemplateFailure(line, why);
                }
                List<Value> values = Operators.items(value);
                if (values.size() != targets.size()) {
                    throw new TemplateFailure(
                            line, values.size() + " values cannot be assigned to " + targets.size() + " names");
                }
                for (int i = 0; i < targets.size(); i++) {
                    assign(targets.get(i), values.get(i), scope);
                }
            }
        }
    }

    /** A macro with the scope that it was defined in. */
    private final class MacroValue implements Callable {
        private final Node.Macro macro;
        private final Scope scope;

        MacroValue(Node.Macro macro, Scope scope) {
            this.macro = macro;
            this.scope = scope;
        }

        @Override
        public String python() {
            return "the macro " + macro.name();
        }

        @Override
        public Value attribute(String name) {
            return switch (name) {
                case "name" -> new Text(macro.name());
                case "arguments" ->
                    Items.tuple(macro.parameters().stream().map(Text::new).toArray(Value[]::new));
                case "catch_kwargs" -> Bool.of(macro.readsKeywords());
                case "catch_varargs" -> Bool.of(macro.readsRest());
                case "caller" -> Bool.of(macro.readsCaller());
                default -> Callable.super.attribute(name);
            };
        }

        @Override
        public Value call(Arguments arguments) {
            Scope inside = scope.inside();
            List<String> parameters = macro.parameters();
            List<Value> positional = arguments.positional();
            Map<String, Value> named = new LinkedHashMap<>(arguments.named());
            if (positional.size() > parameters.size() && !macro.readsRest()) {
                throw new TemplateFailure(
                        python() + " takes at most " + parameters.size() + " arguments, got " + positional.size());
            }
            int firstDefault = parameters.size() - macro.defaults().size();
            for (int i = 0; i < parameters.size(); i++) {
                String name = parameters.get(i);
                Value given = named.remove(name);
                if (i < positional.size()) {
                    if (given != null) {
                        throw new TemplateFailure(python() + " is given " + name + " twice");
                    }
                    given = positional.get(i);
                }
                if (given == null) {
                    given = i >= firstDefault
                            ? value(macro.defaults().get(i - firstDefault), inside)
                            : new Undefined("parameter '" + name + "' was not provided");
                }
                inside.set(name, given);
            }
            Value caller = named.remove("caller");
            if (macro.readsCaller() && !parameters.contains("caller")) {
                inside.set("caller", caller == null ? new Undefined("no caller is defined") : caller);
            } else if (caller != null) {
                throw new TemplateFailure(python() + " is called with a block, but does not use 'caller'");
            }
            if (macro.readsKeywords() && !parameters.contains("kwargs")) {
                inside.set("kwargs", Filters.dict(named));
            } else if (!named.isEmpty()) {
                throw new TemplateFailure(python() + " has no argument "
                        + named.keySet().iterator().next());
            }
            if (macro.readsRest() && !parameters.contains("varargs")) {
                inside.set(
                        "varargs",
                        new Items(
                                Items.Kind.TUPLE,
                                positional.subList(Math.min(parameters.size(), positional.size()), positional.size())));
            }
            StringBuilder text = new StringBuilder();
            run(macro.body(), inside, text);
            return new Text(text.toString());
        }
    }

    // Expressions

    private Value value(Expression expression, Scope scope) {
        budget.enter();
        budget.work(1);
        try {
            return switch (expression) {
                case Node.Constant constant -> constant.value();
                case Node.Name name ->
                    scope.find(name.name()).orElseGet(() -> new Undefined("'" + name.name() + "' is undefined"));
                case Node.ListOf list -> Items.list(values(list.items(), scope));
                case Node.TupleOf tuple -> new Items(Items.Kind.TUPLE, values(tuple.items(), scope));
                case Node.DictOf dict -> dict(dict, scope);
                case Node.Attribute attribute ->
                    Methods.attribute(value(attribute.target(), scope), attribute.name(), budget);
                case Node.Item item -> item(item, scope);
                case Node.Slice _ -> throw new TemplateFailure("a slice stands outside [ ]");
                case Node.Call call -> call(value(call.callee(), scope), arguments(call.arguments(), scope));
                case Node.Filter filter ->
                    Filters.apply(
                            filter.name(),
                            value(filter.input().orElseThrow(), scope),
                            arguments(filter.arguments(), scope),
                            budget);
                case Node.Test test ->
                    Bool.of(Tests.test(
                            test.name(), value(test.input(), scope), arguments(test.arguments(), scope), budget));
                case Node.Negative negative -> Operators.negative(value(negative.operand(), scope));
                case Node.Positive positive -> Operators.positive(value(positive.operand(), scope));
                case Node.Not not -> Bool.of(!Operators.truth(value(not.operand(), scope)));
                case Node.And and -> {
                    Value left = value(and.left(), scope);
                    yield Operators.truth(left) ? value(and.right(), scope) : left;
                }
                case Node.Or or -> {
                    Value left = value(or.left(), scope);
                    yield Operators.truth(left) ? left : value(or.right(), scope);
                }
                case Node.Binary binary ->
                    Operators.binary(
                            binary.operator(), value(binary.left(), scope), value(binary.right(), scope), budget);
                case Node.Concat concat -> {
                    List<String> parts = new ArrayList<>();
                    for (Expression part : concat.parts()) {
                        parts.add(Operators.print(value(part, scope), budget));
                    }
                    yield new Text(Methods.joined("", parts, budget));
                }
                case Node.Compare compare -> compare(compare, scope);
                case Node.Conditional conditional -> {
                    if (Operators.truth(value(conditional.test(), scope))) {
                        yield value(conditional.then(), scope);
                    }
                    yield conditional.otherwise().isPresent()
                            ? value(conditional.otherwise().get(), scope)
                            : new Undefined("the inline if evaluated to false and has no else");
                }
            };
        } catch (TemplateFailure e) {
            throw e.at(expression.line());
        } finally {
            budget.leave();
        }
    }

    private List<Value> values(List<Expression> expressions, Scope scope) {
        List<Value> values = new ArrayList<>(expressions.size());
        for (Expression expression : expressions) {
            values.add(value(expression, scope));
        }
        return values;
    }

    private Value dict(Node.DictOf node, Scope scope) {
        Dict dict = new Dict();
        for (int i = 0; i < node.keys().size(); i++) {
            Value key = value(node.keys().get(i), scope);
            Operators.requireHashable(key);
            dict.put(key, value(node.values().get(i), scope));
        }
        return dict;
    }

    private Value item(Node.Item node, Scope scope) {
        Value target = value(node.target(), scope);
        if (node.key() instanceof Node.Slice slice) {
            return Methods.slice(
                    target, bound(slice.begin(), scope), bound(slice.end(), scope), bound(slice.step(), scope), budget);
        }
        return Methods.item(target, value(node.key(), scope), budget);
    }

    private Value bound(Optional<Expression> expression, Scope scope) {
        return expression.isPresent() ? value(expression.get(), scope) : None.NONE;
    }

    private Value compare(Node.Compare node, Scope scope) {
        Value left = value(node.first(), scope);
        for (Node.Comparison comparison : node.rest()) {
            Value right = value(comparison.right(), scope);
            boolean holds = switch (comparison.operator()) {
                case "==" -> Operators.same(left, right);
                case "!=" -> !Operators.same(left, right);
                case "in" -> Operators.contains(right, left, budget);
                case "not in" -> !Operators.contains(right, left, budget);
                default -> Operators.ordered(comparison.operator(), left, right);
            };
            if (!holds) {
                return Bool.FALSE;
            }
            left = right;
        }
        return Bool.TRUE;
    }

    private static Value call(Value callee, Arguments arguments) {
        if (callee instanceof Callable callable) {
            return callable.call(arguments);
        }
        if (callee instanceof Undefined(String why)) {
            throw new TemplateFailure(why);
        }
        throw new TemplateFailure(Operators.typeName(callee) + " cannot be called");
    }

    private Arguments arguments(CallArguments node, Scope scope) {
        if (node.equals(CallArguments.NONE)) {
            return Arguments.NONE;
        }
        List<Value> positional = values(node.positional(), scope);
        Map<String, Value> named = new LinkedHashMap<>();
        for (Node.Keyword keyword : node.keywords()) {
            named.put(keyword.name(), value(keyword.value(), scope));
        }
        if (node.positionals().isPresent()) {
            positional.addAll(Operators.items(value(node.positionals().get(), scope)));
        }
        if (node.mapping().isPresent()) {
            if (!(value(node.mapping().get(), scope) instanceof Dict dict)) {
                throw new TemplateFailure("what follows ** is no dict");
            }
            dict.entries().forEach((key, value) -> named.put(Operators.print(key, budget), value));
        }
        return new Arguments(positional, named);
    }

    /** A chain of filters over the text of a block. */
    private Value filtered(Node.Filter filter, Value text, Scope scope) {
        Value input = filter.input().isPresent() && filter.input().get() instanceof Node.Filter inner
                ? filtered(inner, text, scope)
                : text;
        return Filters.apply(filter.name(), input, arguments(filter.arguments(), scope), budget);
    }
}
