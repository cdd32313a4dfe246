// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.kernels.KernelContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Counts what would be allocated on a device and allocates none of it there: so that what a decoder needs can be asked
 * before it is built. Its kernels may be asked for sizes and must not be run.
 */
public final class MeasuringDevice implements Device {
    /** Aligned for anything, and not none. */
    public static final long NO_ADDRESS = 1L << 12;

    private final Device device;
    private final Arena arena;
    private long bytes;

    /**
     * Begins to count.
     *
     * @param device whose kernels tell sizes
     */
    @SuppressWarnings("MustBeClosedChecker") // closed with this
    public MeasuringDevice(Device device) {
        this.device = device;
        arena = Arena.ofConfined();
    }

    /** {@return what was asked for so far} */
    public long bytes() {
        return bytes;
    }

    @Override
    public String description() {
        return device.description();
    }

    @Override
    public long availableBytes() {
        return device.availableBytes();
    }

    @Override
    public KernelContext kernels() {
        return device.kernels();
    }

    @Override
    public boolean isSynchronous() {
        return device.isSynchronous();
    }

    @Override
    public DeviceWork record(Runnable launches) {
        throw new IllegalStateException("nothing runs on a device that only counts");
    }

    @Override
    public DeviceMemory allocate(long size) {
        bytes += size;
        return new Imagined(size);
    }

    /** Blocks are small and written while a plan is laid out, so they are real. */
    @Override
    public TransferBlock allocateBlock(long size) {
        bytes += size;
        return new Block(arena.allocate(size, Long.BYTES));
    }

    /** Frees the blocks; the device itself stays open. */
    @Override
    public void close() {
        arena.close();
    }

    private record Imagined(long bytes) implements DeviceMemory {
        @Override
        public long address() {
            return NO_ADDRESS;
        }

        @Override
        public void write(long offset, MemorySegment source) {}

        @Override
        public void read(long offset, MemorySegment target) {}

        @Override
        public void copy(long from, long to, long count) {}

        @Override
        public void close() {}
    }

    private record Block(MemorySegment host) implements TransferBlock {
        @Override
        public long address() {
            return NO_ADDRESS;
        }

        @Override
        public void push(long bytes) {}

        @Override
        public void pull(long offset, long size) {}
    }
}
