// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** A {@link TokenConstraint} threw, or allowed no token; its generation ended there, no other is touched. */
public final class ConstraintException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * A constraint allowed nothing.
     *
     * @param message one line: after how many tokens
     */
    public ConstraintException(String message) {
        super(message);
    }

    /**
     * A constraint threw.
     *
     * @param message one line: after how many tokens, and what
     * @param cause what it threw
     */
    public ConstraintException(String message, Throwable cause) {
        super(message, cause);
    }
}
