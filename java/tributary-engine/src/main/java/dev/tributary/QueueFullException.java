// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** A request was refused, since as many wait as {@link LoadOptions#queueCapacity()} allows; later it may be taken. */
public final class QueueFullException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public QueueFullException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public QueueFullException(String message, Throwable cause) {
        super(message, cause);
    }
}
