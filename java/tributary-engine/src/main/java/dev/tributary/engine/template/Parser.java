// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.engine.template.Node.CallArguments;
import dev.tributary.engine.template.Node.Expression;
import dev.tributary.engine.template.Node.Statement;
import dev.tributary.engine.template.Node.Target;
import dev.tributary.engine.template.Token.Kind;
import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/**
 * Reads tokens with Jinja's grammar and precedence. What is not supported is refused here, with its name and line, so that
 * a template that loads has no surprise of that kind left.
 */
final class Parser {
    /** Deeper than any template, shallow enough for the stack. */
    private static final int MAX_DEPTH = 200;

    private static final Set<String> REFUSED =
            Set.of("block", "extends", "include", "import", "from", "autoescape", "do", "trans", "pluralize", "debug");

    private final List<Token> tokens;
    private int at;
    private int depth;
    private int loops;
    // As Jinja: an unknown filter or test fails at once, unless a condition may keep it from being reached.
    private boolean conditional;
    // The first such failure of a statement; in "x | unknown if y" the condition comes too late to prevent it.
    private Optional<TemplateFailure> unknown = Optional.empty();
    // The names that each macro around here reads.
    private final Deque<Set<String>> macros = new ArrayDeque<>();

    private Parser(List<Token> tokens) {
        this.tokens = tokens;
    }

    /** {@return the statements of a template} */
    static List<Statement> parse(String source) {
        Parser parser = new Parser(Lexer.tokens(source));
        return parser.statements();
    }

    private Token current() {
        return tokens.get(at);
    }

    private Token look() {
        return tokens.get(Math.min(at + 1, tokens.size() - 1));
    }

    private Token next() {
        Token token = current();
        if (!token.is(Kind.END)) {
            at++;
        }
        return token;
    }

    private boolean skipName(String name) {
        if (current().isName(name)) {
            at++;
            return true;
        }
        return false;
    }

    private boolean skipOperator(String operator) {
        if (current().isOperator(operator)) {
            at++;
            return true;
        }
        return false;
    }

    private static TemplateFailure unexpected(Token token, String expected) {
        return new TemplateFailure(token.line(), "got " + token.shown() + ", expected " + expected);
    }

    private Token expect(Kind kind) {
        if (!current().is(kind)) {
            throw unexpected(current(), kind.toString());
        }
        return next();
    }

    private void expectOperator(String operator) {
        if (!skipOperator(operator)) {
            throw unexpected(current(), "'" + operator + "'");
        }
    }

    private void expectName(String name) {
        if (!skipName(name)) {
            throw unexpected(current(), "'" + name + "'");
        }
    }

    private void enter() {
        if (++depth > MAX_DEPTH) {
            throw new TemplateFailure(
                    current().line(), "nested deeper than the " + MAX_DEPTH + " levels that are supported");
        }
    }

    // Statements

    /** Up to a tag with one of these names, at which the parser then stands; without names, up to the end. */
    private List<Statement> statements(String... ends) {
        enter();
        List<Statement> statements = new ArrayList<>();
        while (true) {
            Token token = next();
            switch (token.kind()) {
                case DATA -> statements.add(new Node.Text(token.line(), token.text()));
                case VARIABLE_BEGIN -> {
                    statements.add(new Node.Output(token.line(), tuple(true)));
                    requireKnown();
                    expect(Kind.VARIABLE_END);
                }
                case BLOCK_BEGIN -> {
                    if (Arrays.stream(ends).anyMatch(current()::isName)) {
                        depth--;
                        return List.copyOf(statements);
                    }
                    statements.add(statement(ends));
                    requireKnown();
                    expect(Kind.BLOCK_END);
                }
                default -> {
                    if (ends.length > 0) {
                        throw unexpected(token, "the tag '" + String.join("' or '", ends) + "'");
                    }
                    depth--;
                    return List.copyOf(statements);
                }
            }
        }
    }

    /** A body up to its end, which is passed; what is unknown in it cannot be excused by a condition outside. */
    private List<Statement> scope(String end) {
        boolean outer = conditional;
        conditional = false;
        expect(Kind.BLOCK_END);
        List<Statement> body = statements(end);
        next();
        conditional = outer;
        return body;
    }

    private Statement statement(String[] ends) {
        Token tag = current();
        if (!tag.is(Kind.NAME)) {
            throw unexpected(tag, "the name of a tag");
        }
        at++;
        int line = tag.line();
        return switch (tag.text()) {
            case "if" -> branches(line);
            case "for" -> loop(line);
            case "set" -> set(line);
            case "with" -> with(line);
            case "macro" -> macro(line);
            case "call" -> callBlock(line);
            case "filter" -> filterBlock(line);
            case "print" -> new Node.Output(line, tuple(true));
            case "generation" -> generation(line);
            case "break" -> {
                requireLoop(tag);
                yield new Node.Break(line);
            }
            case "continue" -> {
                requireLoop(tag);
                yield new Node.Continue(line);
            }
            default -> {
                String name = tag.text();
                if (REFUSED.contains(name)) {
                    throw new TemplateFailure(line, "the tag '" + name + "' is not supported");
                }
                throw new TemplateFailure(
                        line,
                        "the tag '" + name + "' is unknown"
                                + (ends.length > 0 ? ", expected '" + String.join("' or '", ends) + "'" : ""));
            }
        };
    }

    private void requireLoop(Token tag) {
        if (loops == 0) {
            throw new TemplateFailure(tag.line(), "'" + tag.text() + "' stands outside a loop");
        }
    }

    private Statement branches(int line) {
        boolean outer = conditional;
        conditional = true;
        Statement result = branch(line);
        conditional = outer;
        return result;
    }

    private Statement branch(int line) {
        Expression test = tuple(false);
        expect(Kind.BLOCK_END);
        List<Statement> then = statements("elif", "else", "endif");
        Token end = next();
        if (end.isName("elif")) {
            enter();
            Statement otherwise = branch(end.line());
            depth--;
            return new Node.If(line, test, then, List.of(otherwise));
        }
        List<Statement> otherwise = List.of();
        if (end.isName("else")) {
            expect(Kind.BLOCK_END);
            otherwise = statements("endif");
            next();
        }
        return new Node.If(line, test, then, otherwise);
    }

    private Statement loop(int line) {
        Target target = target(false);
        expectName("in");
        Expression items = tuple(false, "recursive");
        Optional<Expression> condition = Optional.empty();
        if (skipName("if")) {
            condition = Optional.of(expression());
        }
        boolean recursive = skipName("recursive");
        expect(Kind.BLOCK_END);
        boolean outer = conditional;
        conditional = false;
        loops++;
        List<Statement> body = statements("endfor", "else");
        loops--;
        List<Statement> otherwise = List.of();
        if (next().isName("else")) {
            expect(Kind.BLOCK_END);
            otherwise = statements("endfor");
            next();
        }
        conditional = outer;
        return new Node.For(line, target, items, condition, recursive, body, otherwise);
    }

    private Statement set(int line) {
        Target target = target(true);
        if (skipOperator("=")) {
            return new Node.Set(line, target, tuple(true));
        }
        Optional<Node.Filter> filter = Optional.empty();
        while (current().isOperator("|")) {
            filter = Optional.of(filter(filter.map(inner -> inner)));
        }
        return new Node.SetBlock(line, target, filter, scope("endset"));
    }

    private Statement with(int line) {
        List<Target> targets = new ArrayList<>();
        List<Expression> values = new ArrayList<>();
        while (!current().is(Kind.BLOCK_END)) {
            if (!targets.isEmpty()) {
                expectOperator(",");
            }
            targets.add(target(false));
            expectOperator("=");
            values.add(expression());
        }
        return new Node.With(line, targets, values, scope("endwith"));
    }

    private record Signature(List<String> parameters, List<Expression> defaults) {
        static final Signature NONE = new Signature(List.of(), List.of());
    }

    private Statement macro(int line) {
        String name = expect(Kind.NAME).text();
        requireAssignable(name, line);
        macros.push(new HashSet<>());
        return callable(line, name, signature(), "endmacro");
    }

    private Statement callBlock(int line) {
        macros.push(new HashSet<>());
        Signature signature = atOperator("(") ? signature() : Signature.NONE;
        Token begin = current();
        if (!(expression() instanceof Node.Call call)) {
            throw unexpected(begin, "a call");
        }
        return new Node.CallBlock(line, call, callable(line, "caller", signature, "endcall"));
    }

    private Signature signature() {
        List<String> parameters = new ArrayList<>();
        List<Expression> defaults = new ArrayList<>();
        expectOperator("(");
        while (!skipOperator(")")) {
            if (!parameters.isEmpty()) {
                expectOperator(",");
            }
            Token parameter = expect(Kind.NAME);
            requireAssignable(parameter.text(), parameter.line());
            if (parameters.contains(parameter.text())) {
                throw new TemplateFailure(
                        parameter.line(), "the parameter '" + parameter.text() + "' is declared twice");
            }
            parameters.add(parameter.text());
            if (skipOperator("=")) {
                defaults.add(expression());
            } else if (!defaults.isEmpty()) {
                throw new TemplateFailure(
                        parameter.line(),
                        "the parameter '" + parameter.text() + "' has no default, but one before it has");
            }
        }
        return new Signature(List.copyOf(parameters), List.copyOf(defaults));
    }

    /** The body of a macro whose names are collected already. */
    private Node.Macro callable(int line, String name, Signature signature, String end) {
        int outerLoops = loops;
        loops = 0;
        List<Statement> body = scope(end);
        loops = outerLoops;
        Set<String> names = macros.pop();
        if (!macros.isEmpty()) {
            macros.peek().addAll(names);
        }
        return new Node.Macro(
                line,
                name,
                signature.parameters(),
                signature.defaults(),
                body,
                names.contains("varargs"),
                names.contains("kwargs"),
                names.contains("caller"));
    }

    private Statement generation(int line) {
        int outerLoops = loops;
        loops = 0;
        List<Statement> body = scope("endgeneration");
        loops = outerLoops;
        return new Node.Generation(line, body);
    }

    private Statement filterBlock(int line) {
        Node.Filter filter = namedFilter(Optional.empty());
        while (current().isOperator("|")) {
            filter = filter(Optional.of(filter));
        }
        return new Node.FilterBlock(line, filter, scope("endfilter"));
    }

    // Targets

    private static void requireAssignable(String name, int line) {
        if (Set.of("true", "false", "none", "True", "False", "None").contains(name)) {
            throw new TemplateFailure(line, "'" + name + "' cannot be assigned to");
        }
    }

    private Target target(boolean namespaces) {
        Token begin = current();
        List<Target> targets = new ArrayList<>();
        boolean comma = false;
        while (true) {
            if (!targets.isEmpty() && (current().isOperator("=") || current().isName("in"))) {
                break;
            }
            targets.add(singleTarget(namespaces));
            if (!skipOperator(",")) {
                break;
            }
            comma = true;
        }
        return comma ? new Node.TupleTarget(begin.line(), targets) : targets.getFirst();
    }

    private Target singleTarget(boolean namespaces) {
        Token token = current();
        if (token.isOperator("(") || token.isOperator("[")) {
            at++;
            enter();
            Target inner = target(namespaces);
            depth--;
            expectOperator(token.text().equals("(") ? ")" : "]");
            return inner;
        }
        expect(Kind.NAME);
        requireAssignable(token.text(), token.line());
        if (namespaces && skipOperator(".")) {
            read(token.text());
            return new Node.NamespaceTarget(
                    token.line(), token.text(), expect(Kind.NAME).text());
        }
        return new Node.NameTarget(token.text());
    }

    // Expressions

    /** One expression, or several with commas between. */
    private Expression tuple(boolean conditions, String... ends) {
        Token begin = current();
        List<Expression> items = new ArrayList<>();
        boolean comma = false;
        while (!endsTuple(ends)) {
            items.add(conditions ? expression() : or());
            if (!skipOperator(",")) {
                break;
            }
            comma = true;
        }
        if (comma) {
            return new Node.TupleOf(begin.line(), List.copyOf(items));
        }
        if (items.isEmpty()) {
            throw unexpected(begin, "an expression");
        }
        return items.getFirst();
    }

    private boolean endsTuple(String[] ends) {
        return switch (current().kind()) {
            case VARIABLE_END, BLOCK_END -> true;
            default -> current().isOperator(")") || Arrays.stream(ends).anyMatch(current()::isName);
        };
    }

    private Expression expression() {
        enter();
        Optional<TemplateFailure> before = unknown;
        Expression value = or();
        while (current().isName("if")) {
            int line = next().line();
            unknown = before;
            boolean outer = conditional;
            conditional = true;
            Expression test = or();
            Optional<Expression> otherwise = Optional.empty();
            if (skipName("else")) {
                otherwise = Optional.of(expression());
            }
            conditional = outer;
            value = new Node.Conditional(line, test, value, otherwise);
        }
        depth--;
        return value;
    }

    private Expression or() {
        Expression left = and();
        while (current().isName("or")) {
            int line = next().line();
            left = new Node.Or(line, left, and());
        }
        return left;
    }

    private Expression and() {
        Expression left = not();
        while (current().isName("and")) {
            int line = next().line();
            left = new Node.And(line, left, not());
        }
        return left;
    }

    private Expression not() {
        if (current().isName("not")) {
            int line = next().line();
            enter();
            Expression operand = not();
            depth--;
            return new Node.Not(line, operand);
        }
        return comparison();
    }

    private Expression comparison() {
        Expression first = sum();
        List<Node.Comparison> rest = new ArrayList<>();
        while (true) {
            Token token = current();
            if (token.is(Kind.OPERATOR)
                    && Set.of("==", "!=", "<", "<=", ">", ">=").contains(token.text())) {
                at++;
                rest.add(new Node.Comparison(token.text(), sum()));
            } else if (skipName("in")) {
                rest.add(new Node.Comparison("in", sum()));
            } else if (token.isName("not") && look().isName("in")) {
                at += 2;
                rest.add(new Node.Comparison("not in", sum()));
            } else {
                return rest.isEmpty() ? first : new Node.Compare(first.line(), first, List.copyOf(rest));
            }
        }
    }

    private boolean atOperator(String... operators) {
        return Arrays.stream(operators).anyMatch(current()::isOperator);
    }

    private Expression sum() {
        Expression left = concatenation();
        while (atOperator("+", "-")) {
            Token operator = next();
            left = new Node.Binary(operator.line(), operator.text(), left, concatenation());
        }
        return left;
    }

    private Expression concatenation() {
        List<Expression> parts = new ArrayList<>(List.of(product()));
        while (skipOperator("~")) {
            parts.add(product());
        }
        return parts.size() == 1
                ? parts.getFirst()
                : new Node.Concat(parts.getFirst().line(), List.copyOf(parts));
    }

    private Expression product() {
        Expression left = power();
        while (atOperator("*", "/", "//", "%")) {
            Token operator = next();
            left = new Node.Binary(operator.line(), operator.text(), left, power());
        }
        return left;
    }

    private Expression power() {
        Expression left = unary(true);
        while (atOperator("**")) {
            Token operator = next();
            left = new Node.Binary(operator.line(), operator.text(), left, unary(true));
        }
        return left;
    }

    private Expression unary(boolean filters) {
        Token token = current();
        Expression value;
        if (token.isOperator("-") || token.isOperator("+")) {
            at++;
            enter();
            Expression operand = unary(false);
            depth--;
            value = token.text().equals("-")
                    ? new Node.Negative(token.line(), operand)
                    : new Node.Positive(token.line(), operand);
        } else {
            value = primary();
        }
        value = postfix(value);
        return filters ? filtered(value) : value;
    }

    private void read(String name) {
        if (!macros.isEmpty()) {
            macros.peek().add(name);
        }
    }

    private Expression primary() {
        Token token = next();
        int line = token.line();
        return switch (token.kind()) {
            case NAME ->
                switch (token.text()) {
                    case "true", "True" -> new Node.Constant(line, Value.Bool.TRUE);
                    case "false", "False" -> new Node.Constant(line, Value.Bool.FALSE);
                    case "none", "None" -> new Node.Constant(line, Value.None.NONE);
                    default -> {
                        read(token.text());
                        yield new Node.Name(line, token.text());
                    }
                };
            case STRING -> {
                StringBuilder text = new StringBuilder(token.text());
                while (current().is(Kind.STRING)) {
                    text.append(next().text());
                }
                yield new Node.Constant(line, new Value.Text(text.toString()));
            }
            case INTEGER -> new Node.Constant(line, new Value.Int(integer(token)));
            case FLOAT ->
                new Node.Constant(
                        line, new Value.Real(Double.parseDouble(token.text().replace("_", ""))));
            case OPERATOR ->
                switch (token.text()) {
                    case "(" -> parenthesized(line);
                    case "[" -> list(line);
                    case "{" -> dict(line);
                    default -> throw unexpected(token, "an expression");
                };
            default -> throw unexpected(token, "an expression");
        };
    }

    private static BigInteger integer(Token token) {
        String digits = token.text().replace("_", "").toLowerCase(Locale.ROOT);
        if (digits.length() > 1000) {
            throw new TemplateFailure(token.line(), "an integer of more than 1000 digits is not supported");
        }
        int radix = digits.startsWith("0b") ? 2 : digits.startsWith("0o") ? 8 : digits.startsWith("0x") ? 16 : 10;
        return new BigInteger(radix == 10 ? digits : digits.substring(2), radix);
    }

    private Expression parenthesized(int line) {
        enter();
        if (skipOperator(")")) {
            depth--;
            return new Node.TupleOf(line, List.of());
        }
        Expression inside = tuple(true);
        expectOperator(")");
        depth--;
        return inside;
    }

    private Expression list(int line) {
        enter();
        List<Expression> items = new ArrayList<>();
        while (!skipOperator("]")) {
            if (!items.isEmpty()) {
                expectOperator(",");
                if (skipOperator("]")) {
                    break;
                }
            }
            items.add(expression());
        }
        depth--;
        return new Node.ListOf(line, List.copyOf(items));
    }

    private Expression dict(int line) {
        enter();
        List<Expression> keys = new ArrayList<>();
        List<Expression> values = new ArrayList<>();
        while (!skipOperator("}")) {
            if (!keys.isEmpty()) {
                expectOperator(",");
                if (skipOperator("}")) {
                    break;
                }
            }
            keys.add(expression());
            expectOperator(":");
            values.add(expression());
        }
        depth--;
        return new Node.DictOf(line, List.copyOf(keys), List.copyOf(values));
    }

    private Expression postfix(Expression value) {
        Expression result = value;
        while (true) {
            if (atOperator(".", "[")) {
                result = subscript(result);
            } else if (atOperator("(")) {
                int line = current().line();
                result = new Node.Call(line, result, arguments());
            } else {
                return result;
            }
        }
    }

    private Expression filtered(Expression value) {
        Expression result = value;
        while (true) {
            if (atOperator("|")) {
                result = filter(Optional.of(result));
            } else if (current().isName("is")) {
                result = test(result);
            } else if (atOperator("(")) {
                int line = current().line();
                result = new Node.Call(line, result, arguments());
            } else {
                return result;
            }
        }
    }

    private Expression subscript(Expression target) {
        Token token = next();
        int line = token.line();
        if (token.isOperator(".")) {
            Token name = next();
            return switch (name.kind()) {
                case NAME -> new Node.Attribute(line, target, name.text());
                case INTEGER -> new Node.Item(line, target, new Node.Constant(line, new Value.Int(integer(name))));
                default -> throw unexpected(name, "a name or an integer behind '.'");
            };
        }
        enter();
        List<Expression> keys = new ArrayList<>();
        boolean comma = false;
        while (!skipOperator("]")) {
            if (!keys.isEmpty()) {
                expectOperator(",");
                comma = true;
            }
            keys.add(key(line));
        }
        depth--;
        if (keys.isEmpty()) {
            throw new TemplateFailure(line, "'[]' holds nothing, expected a key");
        }
        return new Node.Item(line, target, comma ? new Node.TupleOf(line, List.copyOf(keys)) : keys.getFirst());
    }

    private Expression key(int line) {
        Optional<Expression> begin = Optional.empty();
        if (!current().isOperator(":")) {
            Expression key = expression();
            if (!current().isOperator(":")) {
                return key;
            }
            begin = Optional.of(key);
        }
        expectOperator(":");
        Optional<Expression> end = bound();
        Optional<Expression> step = skipOperator(":") ? bound() : Optional.empty();
        return new Node.Slice(line, begin, end, step);
    }

    private Optional<Expression> bound() {
        return atOperator(":", "]", ",") ? Optional.empty() : Optional.of(expression());
    }

    private CallArguments arguments() {
        enter();
        expectOperator("(");
        List<Expression> positional = new ArrayList<>();
        List<Node.Keyword> keywords = new ArrayList<>();
        Optional<Expression> positionals = Optional.empty();
        Optional<Expression> mapping = Optional.empty();
        boolean first = true;
        while (!skipOperator(")")) {
            if (!first) {
                expectOperator(",");
                if (skipOperator(")")) {
                    break;
                }
            }
            first = false;
            Token token = current();
            if (skipOperator("*")) {
                require(positionals.isEmpty() && mapping.isEmpty(), token);
                positionals = Optional.of(expression());
            } else if (skipOperator("**")) {
                require(mapping.isEmpty(), token);
                mapping = Optional.of(expression());
            } else if (token.is(Kind.NAME) && look().isOperator("=")) {
                require(mapping.isEmpty(), token);
                at += 2;
                keywords.add(new Node.Keyword(token.text(), expression()));
            } else {
                require(positionals.isEmpty() && mapping.isEmpty() && keywords.isEmpty(), token);
                positional.add(expression());
            }
        }
        depth--;
        return new CallArguments(List.copyOf(positional), List.copyOf(keywords), positionals, mapping);
    }

    private static void require(boolean holds, Token token) {
        if (!holds) {
            throw new TemplateFailure(
                    token.line(), "the arguments of a call are out of order, expected positional ones first");
        }
    }

    private Node.Filter filter(Optional<Expression> input) {
        expectOperator("|");
        return namedFilter(input);
    }

    private Node.Filter namedFilter(Optional<Expression> input) {
        Token token = current();
        String name = dottedName();
        if (Filters.isRefused(name)) {
            throw new TemplateFailure(token.line(), "the filter '" + name + "' is not supported");
        }
        if (!Filters.isKnown(name)) {
            note(new TemplateFailure(token.line(), "the filter '" + name + "' is unknown"));
        }
        return new Node.Filter(token.line(), input, name, atOperator("(") ? arguments() : CallArguments.NONE);
    }

    private void note(TemplateFailure failure) {
        if (!conditional && unknown.isEmpty()) {
            unknown = Optional.of(failure);
        }
    }

    private void requireKnown() {
        if (unknown.isPresent()) {
            throw unknown.get();
        }
    }

    private String dottedName() {
        StringBuilder name = new StringBuilder(expect(Kind.NAME).text());
        while (skipOperator(".")) {
            name.append('.').append(expect(Kind.NAME).text());
        }
        return name.toString();
    }

    private Expression test(Expression input) {
        Token token = next();
        boolean negated = skipName("not");
        String name = dottedName();
        if (!Tests.isKnown(name)) {
            note(new TemplateFailure(token.line(), "the test '" + name + "' is unknown"));
        }
        CallArguments arguments = CallArguments.NONE;
        if (atOperator("(")) {
            arguments = arguments();
        } else if (beginsOperand()) {
            if (current().isName("is")) {
                throw new TemplateFailure(current().line(), "tests cannot be chained with 'is'");
            }
            arguments = new CallArguments(List.of(postfix(primary())), List.of(), Optional.empty(), Optional.empty());
        }
        Expression test = new Node.Test(token.line(), input, name, arguments);
        return negated ? new Node.Not(token.line(), test) : test;
    }

    private boolean beginsOperand() {
        Token token = current();
        return switch (token.kind()) {
            case NAME -> !token.isName("else") && !token.isName("or") && !token.isName("and");
            case STRING, INTEGER, FLOAT -> true;
            default -> atOperator("[", "{");
        };
    }
}
