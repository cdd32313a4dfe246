// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.template;

/** Why a template cannot be parsed or rendered; the line is added by the innermost construct that has one. */
final class TemplateFailure extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int line;

    TemplateFailure(String message) {
        this(0, message);
    }

    /**
     * @param line from 1; 0 = not known yet
     * @param message what was given, what is expected
     */
    TemplateFailure(int line, String message) {
        // Templates fail in ordinary operation, when a conversation does not suit the model: no stack trace is kept.
        super(message, null, false, false);
        this.line = line;
    }

    int line() {
        return line;
    }

    String text() {
        return String.valueOf(getMessage());
    }

    /** {@return this failure, at a line unless it has one} */
    TemplateFailure at(int where) {
        return line > 0 ? this : new TemplateFailure(where, text());
    }
}
