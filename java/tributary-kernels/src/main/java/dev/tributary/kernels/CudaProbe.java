// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * Asks the NVIDIA driver whether CUDA can be used, and of which GPUs, without touching the CUDA runtime: a class that is
 * bound to the runtime cannot be initialised where the driver is missing, and does not say so twice.
 */
public final class CudaProbe {
    /** The driver's library. */
    public static final String DRIVER_LIBRARY = "libcuda.so.1";

    private static final int NAME_BYTES = 256;
    private static final int SUCCESS = 0;
    private static final int NO_DEVICE = 100; // CUDA_ERROR_NO_DEVICE
    private static final int CAPABILITY_MAJOR = 75; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    private static final int CAPABILITY_MINOR = 76; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR

    private final SymbolLookup driver;
    private final Arena arena;

    private CudaProbe(SymbolLookup driver, Arena arena) {
        this.driver = driver;
        this.arena = arena;
    }

    /** What the driver said. */
    public sealed interface Answer permits NoDriver, DriverFailure, Gpus {}

    /**
     * There is no driver.
     *
     * @param reason what the system says about its library
     */
    public record NoDriver(String reason) implements Answer {}

    /**
     * The driver cannot be used.
     *
     * @param operation what was asked of it, such as "cuInit"
     * @param code its error code; 0 when it lacks the function
     * @param name CUDA's name of the code
     */
    public record DriverFailure(String operation, int code, String name) implements Answer {}

    /**
     * The driver works.
     *
     * @param version newest CUDA version that it supports: 1000 · major + 10 · minor
     * @param gpus the GPUs that this process may see, by ordinal; possibly none
     */
    public record Gpus(int version, List<Gpu> gpus) implements Answer {
        /** Copies the list. */
        public Gpus {
            gpus = List.copyOf(gpus);
        }
    }

    /**
     * One GPU.
     *
     * @param name as NVIDIA calls it
     * @param capability its compute capability: 10 · major + minor
     */
    public record Gpu(String name, int capability) {}

    /**
     * Asks the driver of this machine. Nothing stays allocated on any GPU.
     *
     * @return its answer
     */
    public static Answer ask() {
        return ask(DRIVER_LIBRARY);
    }

    static Answer ask(String library) {
        // The driver's library is never unloaded: it starts threads of its own.
        SymbolLookup driver;
        try {
            driver = SymbolLookup.libraryLookup(library, Arena.global());
        } catch (IllegalArgumentException missing) {
            return new NoDriver(String.valueOf(missing.getMessage()));
        }
        try (Arena arena = Arena.ofConfined()) {
            return new CudaProbe(driver, arena).answer();
        } catch (Refusal refusal) {
            return refusal.failure;
        }
    }

    private Answer answer() throws Refusal {
        MemorySegment number = arena.allocate(JAVA_INT);
        check("cuDriverGetVersion", call("cuDriverGetVersion", List.of(ADDRESS), number));
        int version = number.get(JAVA_INT, 0);
        int started = call("cuInit", List.of(JAVA_INT), 0);
        if (started == NO_DEVICE) {
            return new Gpus(version, List.of());
        }
        check("cuInit", started);
        check("cuDeviceGetCount", call("cuDeviceGetCount", List.of(ADDRESS), number));
        int count = number.get(JAVA_INT, 0);
        List<Gpu> gpus = new ArrayList<>();
        for (int ordinal = 0; ordinal < count; ordinal++) {
            check("cuDeviceGet", call("cuDeviceGet", List.of(ADDRESS, JAVA_INT), number, ordinal));
            int device = number.get(JAVA_INT, 0);
            MemorySegment name = arena.allocate(NAME_BYTES);
            check(
                    "cuDeviceGetName",
                    call("cuDeviceGetName", List.of(ADDRESS, JAVA_INT, JAVA_INT), name, NAME_BYTES - 1, device));
            int capability = 10 * attribute(CAPABILITY_MAJOR, device) + attribute(CAPABILITY_MINOR, device);
            gpus.add(new Gpu(name.getString(0), capability));
        }
        return new Gpus(version, gpus);
    }

    private int attribute(int attribute, int device) throws Refusal {
        MemorySegment number = arena.allocate(JAVA_INT);
        check(
                "cuDeviceGetAttribute",
                call("cuDeviceGetAttribute", List.of(ADDRESS, JAVA_INT, JAVA_INT), number, attribute, device));
        return number.get(JAVA_INT, 0);
    }

    private void check(String operation, int code) throws Refusal {
        if (code != SUCCESS) {
            throw new Refusal(new DriverFailure(operation, code, nameOf(code)));
        }
    }

    private String nameOf(int code) {
        MemorySegment name = arena.allocate(ADDRESS);
        try {
            if (call("cuGetErrorName", List.of(JAVA_INT, ADDRESS), code, name) == SUCCESS) {
                return name.get(ADDRESS.withTargetLayout(MemoryLayout.sequenceLayout(NAME_BYTES, JAVA_BYTE)), 0)
                        .getString(0);
            }
        } catch (Refusal older) {
            // A driver without this function has no names.
        }
        return "unknown error";
    }

    private int call(String function, List<MemoryLayout> parameters, Object... arguments) throws Refusal {
        MemorySegment address = driver.find(function)
                .orElseThrow(() -> new Refusal(new DriverFailure(function, 0, "the driver has no such function")));
        MethodHandle handle = Linker.nativeLinker()
                .downcallHandle(address, FunctionDescriptor.of(JAVA_INT, parameters.toArray(MemoryLayout[]::new)));
        try {
            return (int) handle.invokeWithArguments(arguments);
        } catch (RuntimeException | Error unchecked) {
            throw unchecked;
        } catch (Throwable impossible) {
            throw new AssertionError("a downcall throws no checked exception", impossible);
        }
    }

    /** Ends the questions at the first that was not answered. */
    private static final class Refusal extends Exception {
        private static final long serialVersionUID = 1L;

        private final transient DriverFailure failure;

        Refusal(DriverFailure failure) {
            super(failure.operation());
            this.failure = failure;
        }
    }
}
