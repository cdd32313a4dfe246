// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** The device or its native library failed, or could not be loaded. */
public final class DeviceException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     */
    public DeviceException(String message) {
        super(message);
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public DeviceException(String message, Throwable cause) {
        super(message, cause);
    }
}
