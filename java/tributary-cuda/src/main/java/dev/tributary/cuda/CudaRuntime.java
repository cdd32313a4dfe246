// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;

/**
 * The CUDA runtime, which bytedeco's classes load when they are initialised. A class whose initialisation failed says why
 * once, and only that it is no class any more from then on: so it is tried once, and what was said then is kept.
 */
final class CudaRuntime {
    private static final CudaRuntime OF_THIS_PROCESS =
            new CudaRuntime(() -> Loader.load(org.bytedeco.cuda.global.cudart.class));

    private final Runnable loader;
    // Guarded by this.
    private boolean tried;
    private Optional<Throwable> cause = Optional.empty();

    /**
     * Nothing is loaded yet.
     *
     * @param loader loads it, or throws what the Java machine throws then
     */
    CudaRuntime(Runnable loader) {
        this.loader = loader;
    }

    /** Why the CUDA runtime cannot be loaded, if it cannot; the same each time. The driver must have been found. */
    static Optional<DeviceException> missing() {
        return OF_THIS_PROCESS.obstacle();
    }

    synchronized Optional<DeviceException> obstacle() {
        if (!tried) {
            tried = true;
            try {
                loader.run();
            } catch (LinkageError | IllegalCallerException e) {
                cause = Optional.of(e);
            }
        }
        // A new exception, for the stack of this caller; the cause has that of the attempt.
        return cause.map(reason -> new DeviceException(
                "the CUDA runtime cannot be loaded: " + rootOf(reason)
                        + "; libcudart.so.13 comes with CUDA 13 (package cuda-cudart-13-0), whose lib64 must be"
                        + " known to ldconfig or be in LD_LIBRARY_PATH",
                Reason.RUNTIME_MISSING,
                reason));
    }

    /** The innermost cause names the file; what is around it lists where else it was looked for. */
    private static String rootOf(Throwable e) {
        Throwable root = e;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return String.valueOf(root.getMessage()).lines().findFirst().orElse("");
    }
}
