// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** An option, or a combination of options, is not valid for this model or this machine. */
public final class ConfigurationException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public ConfigurationException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public ConfigurationException(String message, Throwable cause) {
        super(message, cause);
    }
}
