// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.kernels.KernelContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;

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
        var system = ManagementFactory.getOperatingSystemMXBean();
        return system instanceof com.sun.management.OperatingSystemMXBean sun
                ? sun.getFreeMemorySize()
                : Long.MAX_VALUE;
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
