// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Undefined;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * The {@code loop} of a template. Items come one by one, since the condition of a loop may read what its body changes;
 * only asking for what lies ahead reads ahead.
 */
final class Loop implements Callable {
    private final Iterator<Value> items;
    private final Deque<Value> ahead = new ArrayDeque<>();
    private final int level;
    private final Optional<Function<Value, Value>> recursion;
    private final Budget budget;
    private int index0 = -1;
    private Optional<Value> previous = Optional.empty();
    private Optional<Value> current = Optional.empty();
    private Optional<List<Value>> lastChanged = Optional.empty();

    /**
     * @param items what it runs over
     * @param level how many recursive loops are around it
     * @param recursion the text of the same loop over something else, when the loop is recursive
     */
    Loop(Iterator<Value> items, int level, Optional<Function<Value, Value>> recursion, Budget budget) {
        this.items = items;
        this.level = level;
        this.recursion = recursion;
        this.budget = budget;
    }

    /** {@return whether there is a next item, which then is the current one} */
    boolean advance() {
        if (ahead.isEmpty() && !items.hasNext()) {
            return false;
        }
        previous = current;
        current = Optional.of(ahead.isEmpty() ? items.next() : ahead.poll());
        index0++;
        budget.work(1);
        return true;
    }

    Value current() {
        return current.orElseThrow();
    }

    private Optional<Value> peek() {
        if (ahead.isEmpty() && items.hasNext()) {
            ahead.add(items.next());
        }
        return Optional.ofNullable(ahead.peek());
    }

    private int length() {
        while (items.hasNext()) {
            budget.work(1);
            ahead.add(items.next());
        }
        return index0 + 1 + ahead.size();
    }

    @Override
    public String python() {
        return "loop";
    }

    @Override
    public Value attribute(String name) {
        return switch (name) {
            case "index" -> Int.of(index0 + 1L);
            case "index0" -> Int.of(index0);
            case "revindex" -> Int.of((long) length() - index0);
            case "revindex0" -> Int.of(length() - index0 - 1L);
            case "first" -> Bool.of(index0 == 0);
            case "last" -> Bool.of(peek().isEmpty());
            case "length" -> Int.of(length());
            case "previtem" -> previous.orElse(new Undefined("there is no previous item"));
            case "nextitem" -> peek().orElse(new Undefined("there is no next item"));
            case "depth" -> Int.of(level + 1L);
            case "depth0" -> Int.of(level);
            case "cycle" ->
                new Builtin("loop.cycle", arguments -> {
                    if (arguments.positional().isEmpty()) {
                        throw new TemplateFailure("loop.cycle needs values to cycle through");
                    }
                    return arguments
                            .positional()
                            .get(index0 % arguments.positional().size());
                });
            case "changed" ->
                new Builtin("loop.changed", arguments -> {
                    boolean changed = lastChanged.isEmpty()
                            || !Operators.same(
                                    Value.Items.list(lastChanged.get()), Value.Items.list(arguments.positional()));
                    lastChanged = Optional.of(arguments.positional());
                    return Bool.of(changed);
                });
            default -> Callable.super.attribute(name);
        };
    }

    @Override
    public Value call(Arguments arguments) {
        if (recursion.isEmpty()) {
            throw new TemplateFailure("loop is called, but the loop is not marked 'recursive'");
        }
        return recursion.get().apply(arguments.bind("loop", "iterable").get("iterable"));
    }
}
