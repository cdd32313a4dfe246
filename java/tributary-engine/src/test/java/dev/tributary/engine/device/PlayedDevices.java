// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.DeviceException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.kernels.KernelContext;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/** GPUs that tests play: their memory is the host's, and has an end when a test says so. */
public final class PlayedDevices {
    private PlayedDevices() {}

    /**
     * A choice among devices that are not found as services.
     *
     * @param gpu what {@code auto} and {@code cuda} open
     * @return the choice
     */
    public static DeviceSelection of(Gpu gpu) {
        return new DeviceSelection(List.of(new Provider(gpu)));
    }

    /** A GPU, whatever opens it. */
    public static final class Gpu {
        private final long availableBytes;
        private boolean exhausted;
        private int allocations = Integer.MAX_VALUE;
        private long takenBytes;

        /**
         * A GPU of this size.
         *
         * @param availableBytes what it says is free
         */
        public Gpu(long availableBytes) {
            this.availableBytes = availableBytes;
        }

        /**
         * Whether there is no memory left for a pass; any thread may say so.
         *
         * @param value whether
         */
        public synchronized void exhausted(boolean value) {
            exhausted = value;
        }

        /**
         * How often memory may be taken until there is none left; passes that need none still run. Any thread may say so.
         *
         * @param count how often
         */
        public synchronized void allows(int count) {
            allocations = count;
        }

        /** {@return bytes that were taken and not given back} */
        public synchronized long takenBytes() {
            return takenBytes;
        }

        private synchronized void take(long bytes) {
            requireMemory();
            if (allocations == 0) {
                throw new InsufficientMemoryException("cuda:0 has no " + bytes + " bytes left");
            }
            allocations -= allocations == Integer.MAX_VALUE ? 0 : 1;
            takenBytes += bytes;
        }

        private synchronized void giveBack(long bytes) {
            takenBytes -= bytes;
        }

        private synchronized void requireMemory() {
            if (exhausted) {
                throw new InsufficientMemoryException("linear: cudaErrorMemoryAllocation (2): out of memory");
            }
        }
    }

    private record Provider(Gpu gpu) implements DeviceProvider {
        @Override
        public String name() {
            return "cuda";
        }

        @Override
        public Optional<DeviceException> obstacle() {
            return Optional.empty();
        }

        @Override
        public int firstUsable() {
            return 0;
        }

        @Override
        public Device open(int ordinal, long memoryLimit) {
            return new Opened(gpu, new SplitDevice());
        }
    }

    private record Opened(Gpu gpu, SplitDevice device) implements Device {
        @Override
        public String description() {
            return "cuda:0, played";
        }

        @Override
        public long availableBytes() {
            return gpu.availableBytes;
        }

        @Override
        public KernelContext kernels() {
            return device.kernels();
        }

        @Override
        public boolean isSynchronous() {
            return false;
        }

        @Override
        public DeviceMemory allocate(long bytes) {
            gpu.take(bytes);
            return new Taken(gpu, device.allocate(bytes));
        }

        @Override
        public TransferBlock allocateBlock(long bytes) {
            gpu.take(bytes);
            return device.allocateBlock(bytes);
        }

        @Override
        public DeviceWork record(Runnable launches) {
            DeviceWork work = device.record(launches);
            return new DeviceWork() {
                @Override
                public void run() {
                    gpu.requireMemory();
                    work.run();
                }

                @Override
                public boolean isPrepared() {
                    return work.isPrepared();
                }

                @Override
                public OptionalLong deviceNanos() {
                    return work.deviceNanos();
                }

                @Override
                public void close() {
                    work.close();
                }
            };
        }

        @Override
        public void close() {
            device.close();
        }
    }

    /** Memory that is counted. */
    private record Taken(Gpu gpu, DeviceMemory memory) implements DeviceMemory {
        @Override
        public long address() {
            return memory.address();
        }

        @Override
        public long bytes() {
            return memory.bytes();
        }

        @Override
        public void write(long offset, MemorySegment source) {
            memory.write(offset, source);
        }

        @Override
        public void read(long offset, MemorySegment target) {
            memory.read(offset, target);
        }

        @Override
        public void copy(long from, long to, long count) {
            memory.copy(from, to, count);
        }

        @Override
        public void close() {
            gpu.giveBack(memory.bytes());
            memory.close();
        }
    }
}
