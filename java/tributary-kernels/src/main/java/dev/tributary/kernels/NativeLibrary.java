// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.KernelException.Status;
import dev.tributary.kernels.ffi.Tributary;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Loads libtributary once per class loader. The generated bindings look their symbols up in what this class loader has
 * loaded, so {@link #require} comes before any of them is touched.
 */
final class NativeLibrary {
    private sealed interface Outcome {}

    private record Loaded(String version) implements Outcome {}

    private record Failed(KernelException reason) implements Outcome {}

    /** Initialised at first use and never throwing: a failure in here would surface later as NoClassDefFoundError. */
    private static final class Once {
        static final Outcome OUTCOME = attempt();

        private static Outcome attempt() {
            try {
                load(LibrarySearch.ofThisProcess(LibrarySearch.Library.HOST).find());
                return new Loaded(Tributary.trib_version().getString(0));
            } catch (KernelException reason) {
                return new Failed(reason);
            } catch (RuntimeException | LinkageError reason) {
                return new Failed(new KernelException(
                        Status.LIBRARY_UNLOADABLE, "libtributary could not be loaded: " + reason.getMessage(), reason));
            }
        }
    }

    private NativeLibrary() {}

    /**
     * Makes sure that the library is loaded.
     *
     * @return the library's version
     * @throws KernelException if it could not be; every call says so alike
     */
    static String require() {
        return switch (Once.OUTCOME) {
            case Loaded(String version) -> version;
            // A new exception, for the stack of this caller; the cause has that of the attempt.
            case Failed(KernelException reason) ->
                throw new KernelException(reason.status(), String.valueOf(reason.getMessage()), reason);
        };
    }

    /**
     * Loads a library for good, after its ABI was checked.
     *
     * @throws KernelException if it is missing, unloadable, or of another ABI
     */
    static void load(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new KernelException(Status.LIBRARY_MISSING, "there is no file " + file);
        }
        try {
            ElfFile.defect(file).ifPresent(reason -> {
                throw unloadable(file, reason, null);
            });
        } catch (IOException error) {
            throw unloadable(file, String.valueOf(error), error);
        }
        // System.load cannot be undone, and its symbols would stand before those of a right library: so look first.
        try (Arena arena = Arena.ofConfined()) {
            checkAbi(file, open(file, arena));
            System.load(file.toString());
        } catch (UnsatisfiedLinkError error) {
            throw unloadable(file, String.valueOf(error.getMessage()), error);
        }
    }

    private static SymbolLookup open(Path file, Arena arena) {
        try {
            return SymbolLookup.libraryLookup(file, arena);
        } catch (IllegalArgumentException error) {
            // It does not say why. System.load does, and loads no more than libraryLookup could.
            try {
                System.load(file.toString());
            } catch (UnsatisfiedLinkError reason) {
                throw unloadable(file, String.valueOf(reason.getMessage()), reason);
            }
            throw unloadable(file, String.valueOf(error.getMessage()), error);
        }
    }

    private static void checkAbi(Path file, SymbolLookup symbols) {
        int found = symbols.find("trib_abi_version")
                .map(address ->
                        Linker.nativeLinker().downcallHandle(address, FunctionDescriptor.of(ValueLayout.JAVA_INT)))
                .map(NativeLibrary::invoke)
                .orElseThrow(() -> new KernelException(
                        Status.LIBRARY_MISMATCH, file + " is not libtributary: it has no trib_abi_version"));
        int expected = Tributary.TRIB_ABI_VERSION();
        if (found != expected) {
            throw new KernelException(
                    Status.LIBRARY_MISMATCH,
                    file + " has ABI version " + found + ", these classes need " + expected
                            + ": library and classes are of different builds");
        }
    }

    private static int invoke(MethodHandle abiVersion) {
        try {
            return (int) abiVersion.invokeExact();
        } catch (RuntimeException | Error unchecked) {
            throw unchecked;
        } catch (Throwable impossible) {
            throw new AssertionError("a downcall throws no checked exception", impossible);
        }
    }

    private static KernelException unloadable(Path file, String reason, @Nullable Throwable cause) {
        return new KernelException(Status.LIBRARY_UNLOADABLE, file + " cannot be loaded: " + reason, cause);
    }
}
