// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Value.Bool;
import dev.tributary.engine.template.Value.Callable;
import dev.tributary.engine.template.Value.Dict;
import dev.tributary.engine.template.Value.Int;
import dev.tributary.engine.template.Value.Items;
import dev.tributary.engine.template.Value.None;
import dev.tributary.engine.template.Value.Real;
import dev.tributary.engine.template.Value.Text;
import dev.tributary.engine.template.Value.Undefined;
import java.math.BigInteger;
import java.util.Set;

/** What may stand behind {@code is}. */
final class Tests {
    private static final Set<String> KNOWN = Set.of(
            "boolean",
            "callable",
            "defined",
            "divisibleby",
            "eq",
            "equalto",
            "==",
            "escaped",
            "even",
            "false",
            "filter",
            "float",
            "ge",
            ">=",
            "greaterthan",
            "gt",
            ">",
            "in",
            "integer",
            "iterable",
            "le",
            "<=",
            "lessthan",
            "lower",
            "lt",
            "<",
            "mapping",
            "ne",
            "!=",
            "none",
            "number",
            "odd",
            "sameas",
            "sequence",
            "string",
            "test",
            "true",
            "undefined",
            "upper");

    private Tests() {}

    static boolean isKnown(String name) {
        return KNOWN.contains(name);
    }

    static boolean test(String name, Value value, Arguments arguments, Budget budget) {
        return switch (name) {
            case "divisibleby",
                    "eq",
                    "equalto",
                    "==",
                    "ge",
                    ">=",
                    "gt",
                    "greaterthan",
                    ">",
                    "in",
                    "le",
                    "<=",
                    "lt",
                    "lessthan",
                    "<",
                    "ne",
                    "!=",
                    "sameas" -> {
                Value other = arguments.bind("the test '" + name + "'", "other").get("other");
                yield binary(name, value, other, budget);
            }
            default -> {
                arguments.bind("the test '" + name + "'");
                yield unary(name, value, budget);
            }
        };
    }

    private static boolean binary(String name, Value value, Value other, Budget budget) {
        return switch (name) {
            case "divisibleby" -> !Operators.truth(Operators.binary("%", value, other, budget));
            case "eq", "equalto", "==" -> Operators.same(value, other);
            case "ne", "!=" -> !Operators.same(value, other);
            case "in" -> Operators.contains(other, value, budget);
            case "sameas" -> isSame(value, other);
            case "ge", ">=" -> Operators.ordered(">=", value, other);
            case "gt", "greaterthan", ">" -> Operators.ordered(">", value, other);
            case "le", "<=" -> Operators.ordered("<=", value, other);
            default -> Operators.ordered("<", value, other);
        };
    }

    /** Python's {@code is}: equal for what it keeps once, else the very same thing. */
    @SuppressWarnings("ReferenceEquality") // that is the question
    private static boolean isSame(Value value, Value other) {
        return switch (value) {
            case None _, Bool _ -> value == other;
            case Int _, Text _ -> value.equals(other);
            default -> value == other;
        };
    }

    private static boolean unary(String name, Value value, Budget budget) {
        return switch (name) {
            case "boolean" -> value instanceof Bool;
            case "callable" -> value instanceof Callable;
            case "defined" -> !(value instanceof Undefined);
            case "undefined" -> value instanceof Undefined;
            case "escaped" -> value instanceof Text(String _, boolean safe) && safe;
            case "even" -> !odd(value, budget);
            case "odd" -> odd(value, budget);
            case "false" -> value == Bool.FALSE;
            case "true" -> value == Bool.TRUE;
            case "filter" -> value instanceof Text(String filter, boolean _) && Filters.isKnown(filter);
            case "test" -> value instanceof Text(String test, boolean _) && isKnown(test);
            case "float" -> value instanceof Real;
            case "integer" -> value instanceof Int;
            case "number" -> Operators.isNumber(value);
            case "iterable" -> Operators.isIterable(value);
            case "mapping" -> value instanceof Dict;
            case "none" -> value == None.NONE;
            case "string" -> value instanceof Text;
            case "sequence" ->
                value instanceof Undefined
                        || value instanceof Text
                        || value instanceof Dict
                        || (value instanceof Items items && items.isIndexed());
            case "lower", "upper" -> cased(name, Operators.print(value, budget));
            default -> throw new TemplateFailure("the test '" + name + "' is unknown");
        };
    }

    private static boolean odd(Value value, Budget budget) {
        return Operators.same(Operators.binary("%", value, new Int(BigInteger.TWO), budget), Int.of(1));
    }

    private static boolean cased(String name, String text) {
        return name.equals("lower") ? Methods.isLower(text) : Methods.isUpper(text);
    }
}
