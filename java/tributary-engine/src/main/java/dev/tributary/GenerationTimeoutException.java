// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** A generation had not ended when its {@link GenerationOptions#timeout()} was over. */
public final class GenerationTimeoutException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public GenerationTimeoutException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public GenerationTimeoutException(String message, Throwable cause) {
        super(message, cause);
    }
}
