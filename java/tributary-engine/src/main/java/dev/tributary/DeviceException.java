// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.Optional;

/**
 * The device or its native library failed, or could not be used. A device that fails takes the model on it with it, and
 * no other.
 */
public final class DeviceException extends TributaryException {
    private static final long serialVersionUID = 1L;

    /** What kind of thing went wrong. */
    public enum Reason {
        /** The device failed at its work. */
        FAILURE,
        /** A library of this project is missing or cannot be loaded. */
        NATIVE_LIBRARY,
        /** The GPU's driver is missing, or refuses to start. */
        DRIVER_MISSING,
        /** The GPU's driver is older than this library needs. */
        DRIVER_TOO_OLD,
        /** The runtime library of the GPU's vendor is missing. */
        RUNTIME_MISSING,
        /** There is no such device. */
        NO_DEVICE,
        /** The device is of a kind that this library has no kernels for. */
        UNSUPPORTED_DEVICE
    }

    /**
     * What the device's own interface said.
     *
     * @param value its error code
     * @param name its name of the code, such as {@code cudaErrorIllegalAddress}
     * @param operation what was being done
     */
    public record Code(int value, String name, String operation) {}

    /** What kind of thing went wrong. */
    private final Reason reason;

    private final transient Optional<Code> code;

    /**
     * An exception without a cause.
     *
     * @param message one line: what was given, what is expected
     * @param reason what kind of thing went wrong
     */
    public DeviceException(String message, Reason reason) {
        super(message);
        this.reason = reason;
        code = Optional.empty();
    }

    /**
     * An exception with a cause.
     *
     * @param message one line: what was given, what is expected
     * @param reason what kind of thing went wrong
     * @param cause what was caught
     */
    public DeviceException(String message, Reason reason, Throwable cause) {
        super(message, cause);
        this.reason = reason;
        code = cause instanceof DeviceException before ? before.code : Optional.empty();
    }

    /**
     * A failure at work; one that is thrown again keeps its reason and code.
     *
     * @param message one line: what was given, what is expected
     * @param cause what was caught
     */
    public DeviceException(String message, Throwable cause) {
        this(message, cause instanceof DeviceException before ? before.reason : Reason.FAILURE, cause);
    }

    /**
     * An error of the device's own interface.
     *
     * @param code what it said; the message names all of it
     * @param text CUDA's own words, or the like
     */
    public DeviceException(Code code, String text) {
        super(code.operation() + ": " + code.name() + " (" + code.value() + "): " + text);
        reason = Reason.FAILURE;
        this.code = Optional.of(code);
    }

    /** {@return what kind of thing went wrong} */
    public Reason reason() {
        return reason;
    }

    /** {@return what the device's own interface said, where it said anything} */
    public Optional<Code> code() {
        return code == null ? Optional.empty() : code; // null when it was serialised
    }
}
