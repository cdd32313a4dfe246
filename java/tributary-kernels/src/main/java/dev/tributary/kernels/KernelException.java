// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import org.jspecify.annotations.Nullable;

/**
 * A call into the native library was refused or failed, or the library could not be loaded. The message is one line: for
 * a refused call it names the operation, the argument, what was given and what was expected.
 */
public final class KernelException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** What kind of thing went wrong. */
    public enum Status {
        /** An argument is null, misaligned, out of range or disagrees with another. */
        INVALID_ARGUMENT,
        /** Well-formed, but the backend does not do it. */
        UNSUPPORTED,
        /** No host memory for a context's own state. */
        OUT_OF_MEMORY,
        /** The device failed; the context is unusable from here on. */
        DEVICE_ERROR,
        /** The library of the backend is not loaded, or could not be. */
        BACKEND_MISSING,
        /** A bug in the native library. */
        INTERNAL_ERROR,
        /** No native library was found, or the one in the jar could not be extracted. */
        LIBRARY_MISSING,
        /** A native library was found but the system refuses to load it. */
        LIBRARY_UNLOADABLE,
        /** A native library was found whose ABI is not the one that these classes were generated for. */
        LIBRARY_MISMATCH;

        /** The status of a native code other than TRIB_OK. */
        static Status of(int code) {
            if (code == Tributary.TRIB_INVALID_ARGUMENT()) {
                return INVALID_ARGUMENT;
            } else if (code == Tributary.TRIB_UNSUPPORTED()) {
                return UNSUPPORTED;
            } else if (code == Tributary.TRIB_OUT_OF_MEMORY()) {
                return OUT_OF_MEMORY;
            } else if (code == Tributary.TRIB_DEVICE_ERROR()) {
                return DEVICE_ERROR;
            } else if (code == Tributary.TRIB_BACKEND_MISSING()) {
                return BACKEND_MISSING;
            }
            // TRIB_INTERNAL_ERROR; a code that the header does not know is a bug of the library too.
            return INTERNAL_ERROR;
        }
    }

    /** What the operation returned. */
    private final Status status;

    KernelException(Status status, String message) {
        this(status, message, null);
    }

    KernelException(Status status, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.status = status;
    }

    /** {@return what kind of thing went wrong} */
    public Status status() {
        return status;
    }
}
