// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

import dev.tributary.ChatTemplateException;
import dev.tributary.engine.template.Node.Statement;
import java.time.Clock;
import java.time.LocalDateTime;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A chat template, parsed: renders variables to text exactly as transformers does. Immutable; any thread may use it. */
public final class Template {
    /** Far above any real template. */
    private static final int MAX_SOURCE = 1 << 20;

    private final String name;
    private final List<Statement> statements;

    private Template(String name, List<Statement> statements) {
        this.name = name;
        this.statements = statements;
    }

    /**
     * Parses a template.
     *
     * @param name where it comes from, for messages
     * @param source its text
     * @return the template
     * @throws ChatTemplateException when it is malformed or holds a construct that is not supported: name and line
     */
    public static Template parse(String name, String source) {
        if (source.length() > MAX_SOURCE) {
            throw new ChatTemplateException(
                    name + ": " + source.length() + " characters, at most " + MAX_SOURCE + " are accepted", 0);
        }
        try {
            return new Template(name, Parser.parse(source));
        } catch (TemplateFailure e) {
            throw failure(name, e);
        } catch (StackOverflowError e) {
            throw new ChatTemplateException(name + ": nested too deeply for the stack of this thread", 0);
        }
    }

    /**
     * Renders the template.
     *
     * @param variables what JSON can hold, as Java sees it: null, Boolean, Number, CharSequence, List and Map in order
     * @param clock what {@code strftime_now} reads
     * @return the text
     * @throws ChatTemplateException when the template fails, refuses the conversation, or takes more than it may
     */
    public String render(Map<String, ? extends @Nullable Object> variables, Clock clock) {
        Budget budget = new Budget();
        try {
            Scope scope = Scope.outermost();
            Builtin.all(LocalDateTime.now(clock), budget).forEach(scope::set);
            variables.forEach((variable, value) -> scope.set(variable, JavaValues.value(variable, value)));
            return new Interpreter(budget).render(statements, scope.inside());
        } catch (TemplateFailure e) {
            throw failure(name, e);
        } catch (StackOverflowError e) {
            throw new ChatTemplateException(name + ": nested too deeply for the stack of this thread", 0);
        }
    }

    private static ChatTemplateException failure(String name, TemplateFailure e) {
        return new ChatTemplateException(name + (e.line() > 0 ? ": line " + e.line() : "") + ": " + e.text(), e.line());
    }
}
