// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import com.sun.management.OperatingSystemMXBean;
import dev.tributary.kernels.KernelContext;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/** The host processor: ordinary memory, kernels on a thread pool. */
public final class HostDevice implements Device {
    private static final long ALIGNMENT = 64;

    private final Arena arena = Arena.ofConfined();
    private final KernelContext kernels;

    /**
     * Starts the kernels' threads.
     *
     * @param threads threads that compute, the calling one included; 0 = one per core
     */
    public HostDevice(int threads) {
        kernels = KernelContext.host(threads);
    }

    @Override
    public String description() {
        return kernels.description();
    }

    @Override
    public long availableBytes() {
        var system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
        // The bean knows a container's limit, and calls the page cache taken; the kernel knows what it would give up.
        return Math.min(system.getTotalMemorySize(), memoryAvailable().orElseGet(system::getFreeMemorySize));
    }

    private static Optional<Long> memoryAvailable() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/meminfo"))) {
            return lines.filter(line -> line.startsWith("MemAvailable:"))
                    .map(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024)
                    .findFirst();
        } catch (IOException | UncheckedIOException e) {
            return Optional.empty();
        }
    }

    @Override
    public KernelContext kernels() {
        return kernels;
    }

    @Override
    public DeviceMemory allocate(long bytes) {
        return new Memory(arena.allocate(bytes, ALIGNMENT));
    }

    @Override
    public TransferBlock allocateBlock(long bytes) {
        return new Memory(arena.allocate(bytes, ALIGNMENT));
    }

    @Override
    public void close() {
        try {
            kernels.close();
        } finally {
            arena.close();
        }
    }

    private record Memory(MemorySegment host) implements DeviceMemory, TransferBlock {
        @Override
        public long address() {
            return host.address();
        }

        @Override
        public long bytes() {
            return host.byteSize();
        }

        @Override
        public void write(long offset, MemorySegment source) {
            MemorySegment.copy(source, 0, host, offset, source.byteSize());
        }

        @Override
        public void push() {}

        @Override
        public void pull() {}
    }
}
