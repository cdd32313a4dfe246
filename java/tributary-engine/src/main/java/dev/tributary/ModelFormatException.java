// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** A model's or an adapter's files are missing, malformed, inconsistent, or describe something that is not supported. */
public final class ModelFormatException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public ModelFormatException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public ModelFormatException(String message, Throwable cause) {
        super(message, cause);
    }
}
