// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** The model was closed, or is being closed, and takes no new requests. */
public final class ModelClosedException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public ModelClosedException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public ModelClosedException(String message, Throwable cause) {
        super(message, cause);
    }
}
