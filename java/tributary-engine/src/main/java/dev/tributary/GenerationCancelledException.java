// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** The generation was cancelled before it ended. */
public final class GenerationCancelledException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public GenerationCancelledException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public GenerationCancelledException(String message, Throwable cause) {
        super(message, cause);
    }
}
