// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/**
 * The one unchecked exception of this library; its subclasses say which kind of thing went wrong. The message is one
 * line that names what was given and what is expected.
 */
public class TributaryException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public TributaryException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public TributaryException(String message, Throwable cause) {
        super(message, cause);
    }
}
