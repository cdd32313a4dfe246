// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/**
 * A model has no chat template that can be used, or its template cannot render this conversation: it holds a construct that
 * is not supported, fails, refuses the order of the messages, or takes more time or memory than it may.
 */
public final class ChatTemplateException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /** Line of the template. */
    private final int line;

    /**
     * An exception at a line of a template.
     *
     * @param message one line: what was given, what is expected
     * @param line line of the template, from 1; 0 = none
     */
    public ChatTemplateException(String message, int line) {
        super(message);
        this.line = line;
    }

    /** {@return the line of the template that failed, from 1; 0 when no line did} */
    public int line() {
        return line;
    }
}
