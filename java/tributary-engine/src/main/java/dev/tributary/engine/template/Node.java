// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import java.util.List;
import java.util.Optional;

/** A parsed template: statements, which print, and expressions, which have a value. */
sealed interface Node {
    /** {@return where it begins, from 1} */
    int line();

    /** Has a value. */
    sealed interface Expression extends Node {}

    record Constant(int line, Value value) implements Expression {}

    record Name(int line, String name) implements Expression {}

    record ListOf(int line, List<Expression> items) implements Expression {}

    record TupleOf(int line, List<Expression> items) implements Expression {}

    record DictOf(int line, List<Expression> keys, List<Expression> values) implements Expression {}

    record Attribute(int line, Expression target, String name) implements Expression {}

    record Item(int line, Expression target, Expression key) implements Expression {}

    /** {@code begin:end:step}, only as the key of an item. */
    record Slice(int line, Optional<Expression> begin, Optional<Expression> end, Optional<Expression> step)
            implements Expression {}

    record Call(int line, Expression callee, CallArguments arguments) implements Expression {}

    /** A filter; without an input it is that of a block. */
    record Filter(int line, Optional<Expression> input, String name, CallArguments arguments) implements Expression {}

    record Test(int line, Expression input, String name, CallArguments arguments) implements Expression {}

    record Negative(int line, Expression operand) implements Expression {}

    record Positive(int line, Expression operand) implements Expression {}

    record Not(int line, Expression operand) implements Expression {}

    record And(int line, Expression left, Expression right) implements Expression {}

    record Or(int line, Expression left, Expression right) implements Expression {}

    record Binary(int line, String operator, Expression left, Expression right) implements Expression {}

    record Concat(int line, List<Expression> parts) implements Expression {}

    /** {@code first < a <= b …}, true when each holds. */
    record Compare(int line, Expression first, List<Comparison> rest) implements Expression {}

    record Comparison(String operator, Expression right) {}

    record Conditional(int line, Expression test, Expression then, Optional<Expression> otherwise)
            implements Expression {}

    record CallArguments(
            List<Expression> positional,
            List<Keyword> keywords,
            Optional<Expression> positionals,
            Optional<Expression> mapping) {
        static final CallArguments NONE = new CallArguments(List.of(), List.of(), Optional.empty(), Optional.empty());
    }

    record Keyword(String name, Expression value) {}

    /** What can be assigned to. */
    sealed interface Target {}

    record NameTarget(String name) implements Target {}

    record NamespaceTarget(int line, String namespace, String attribute) implements Target {}

    record TupleTarget(int line, List<Target> targets) implements Target {}

    /** Prints or changes something. */
    sealed interface Statement extends Node {}

    record Text(int line, String text) implements Statement {}

    record Output(int line, Expression expression) implements Statement {}

    record If(int line, Expression test, List<Statement> then, List<Statement> otherwise) implements Statement {}

    record For(
            int line,
            Target target,
            Expression items,
            Optional<Expression> condition,
            boolean recursive,
            List<Statement> body,
            List<Statement> otherwise)
            implements Statement {}

    record Set(int line, Target target, Expression value) implements Statement {}

    record SetBlock(int line, Target target, Optional<Filter> filter, List<Statement> body) implements Statement {}

    record With(int line, List<Target> targets, List<Expression> values, List<Statement> body) implements Statement {}

    /**
     * A macro, or the body of a call block.
     *
     * @param parameters names in order
     * @param defaults of the last parameters
     * @param readsRest whether its body names {@code varargs}
     * @param readsKeywords whether its body names {@code kwargs}
     * @param readsCaller whether its body names {@code caller}
     */
    record Macro(
            int line,
            String name,
            List<String> parameters,
            List<Expression> defaults,
            List<Statement> body,
            boolean readsRest,
            boolean readsKeywords,
            boolean readsCaller)
            implements Statement {}

    record CallBlock(int line, Call call, Macro body) implements Statement {}

    record FilterBlock(int line, Filter filter, List<Statement> body) implements Statement {}

    /** Text of an assistant, marked for training; a scope of its own. */
    record Generation(int line, List<Statement> body) implements Statement {}

    record Break(int line) implements Statement {}

    record Continue(int line) implements Statement {}
}
