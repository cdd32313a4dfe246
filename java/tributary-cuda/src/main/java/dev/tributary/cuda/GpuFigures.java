// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaDeviceGetPCIBusId;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetHandleByPciBusId_v2;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetUtilizationRates;
import static org.bytedeco.cuda.global.nvml.nvmlInit_v2;
import static org.bytedeco.cuda.global.nvml.nvmlShutdown;
import static org.bytedeco.cuda.global.nvml.nvmlSystemGetDriverVersion;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.OptionalInt;
import org.bytedeco.cuda.nvml.nvmlDevice_st;
import org.bytedeco.cuda.nvml.nvmlUtilization_t;
import org.bytedeco.javacpp.BytePointer;

/**
 * What NVML tells of a GPU.
 *
 * @param driver the driver's version, such as "580.95.05"; empty where NVML does not tell
 * @param utilisation percent of the last moments in which some kernel ran, of whatever process
 */
record GpuFigures(String driver, OptionalInt utilisation) {
    private static final GpuFigures NONE = new GpuFigures("", OptionalInt.empty());
    private static final int TEXT_BYTES = 96;

    /** {@return the figures of a GPU; none where NVML is missing, which nothing depends on} */
    static GpuFigures of(int ordinal) {
        try {
            if (nvmlInit_v2() != 0) {
                return NONE;
            }
            try (Arena arena = Arena.ofConfined()) {
                return ask(arena, ordinal);
            } finally {
                nvmlShutdown();
            }
        } catch (LinkageError absent) {
            return NONE;
        }
    }

    private static GpuFigures ask(Arena arena, int ordinal) {
        byte[] text = new byte[TEXT_BYTES];
        String driver = nvmlSystemGetDriverVersion(text, text.length) == 0 ? untilZero(text) : "";
        if (cudaDeviceGetPCIBusId(text, text.length, ordinal) != 0) {
            return new GpuFigures(driver, OptionalInt.empty());
        }
        BytePointer bus = new BytePointer(Address.of(arena.allocateFrom(untilZero(text))));
        nvmlDevice_st handle = new nvmlDevice_st();
        MemorySegment rates = arena.allocate(2L * Integer.BYTES, Integer.BYTES);
        nvmlUtilization_t utilisation = new nvmlUtilization_t(Address.of(rates));
        boolean known = nvmlDeviceGetHandleByPciBusId_v2(bus, handle) == 0
                && nvmlDeviceGetUtilizationRates(handle, utilisation) == 0;
        return new GpuFigures(driver, known ? OptionalInt.of(utilisation.gpu()) : OptionalInt.empty());
    }

    private static String untilZero(byte[] text) {
        int length = 0;
        while (length < text.length && text[length] != 0) {
            length++;
        }
        return new String(text, 0, length, StandardCharsets.UTF_8);
    }
}
