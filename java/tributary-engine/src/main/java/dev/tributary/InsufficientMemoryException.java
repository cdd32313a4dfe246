// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** What was asked for does not fit into the memory that it was allowed. */
public final class InsufficientMemoryException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public InsufficientMemoryException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public InsufficientMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
