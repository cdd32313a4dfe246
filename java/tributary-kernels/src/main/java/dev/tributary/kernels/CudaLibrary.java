// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

/** Finds libtributary_cuda and loads it as a backend, once per process, as libtributary itself is loaded. */
public final class CudaLibrary {
    private sealed interface Outcome {}

    private record Loaded() implements Outcome {}

    private record Failed(KernelException reason) implements Outcome {}

    /** Initialised at first use and never throwing, like {@link NativeLibrary}. */
    private static final class Once {
        static final Outcome OUTCOME = attempt();

        private static Outcome attempt() {
            try {
                NativeLibrary.require();
                KernelContext.loadBackend(
                        LibrarySearch.ofThisProcess(LibrarySearch.Library.CUDA).find());
                return new Loaded();
            } catch (KernelException reason) {
                return new Failed(reason);
            }
        }
    }

    private CudaLibrary() {}

    /**
     * Makes sure that the backend is loaded.
     *
     * @throws KernelException if it could not be; every call says so alike
     */
    public static void require() {
        if (Once.OUTCOME instanceof Failed(KernelException reason)) {
            throw new KernelException(reason.status(), String.valueOf(reason.getMessage()), reason);
        }
    }
}
