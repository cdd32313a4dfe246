// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.tributary.kernels.KernelContext;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * The host playing a GPU: a block has two sides, launches may not allocate, and what is not pulled is garbage. So what a
 * GPU would punish on a machine that has one fails on every machine.
 */
public final class SplitDevice implements Device {
    private final HostDevice host = new HostDevice(2);
    private final Arena arena = Arena.ofConfined();
    private final List<Work> works = new ArrayList<>();
    private boolean launching;

    /** {@return what was recorded so far} */
    public List<Work> works() {
        return works;
    }

    @Override
    public String description() {
        return "split " + host.description();
    }

    @Override
    public long availableBytes() {
        return host.availableBytes();
    }

    @Override
    public KernelContext kernels() {
        return host.kernels();
    }

    @Override
    public boolean isSynchronous() {
        return false;
    }

    @Override
    public DeviceMemory allocate(long bytes) {
        assertFalse(launching, "memory is taken among launches");
        return host.allocate(bytes);
    }

    @Override
    public TransferBlock allocateBlock(long bytes) {
        return new Block(arena.allocate(bytes, 64), allocate(bytes));
    }

    @Override
    public DeviceWork record(Runnable launches) {
        assertFalse(launching, "work is recorded among launches");
        Work work = new Work(launches);
        works.add(work);
        return work;
    }

    @Override
    public void close() {
        host.close();
        arena.close();
    }

    /** Launches that count their runs. */
    public final class Work implements DeviceWork {
        private final Runnable launches;
        private int runs;
        private OptionalLong nanos = OptionalLong.empty();

        Work(Runnable launches) {
            this.launches = launches;
        }

        /** {@return how often it has run} */
        public int runs() {
            return runs;
        }

        @Override
        public void run() {
            launching = true;
            long begin = System.nanoTime();
            try {
                launches.run();
            } finally {
                launching = false;
            }
            nanos = OptionalLong.of(System.nanoTime() - begin);
            runs++;
        }

        @Override
        public boolean isPrepared() {
            return runs > 1;
        }

        @Override
        public OptionalLong deviceNanos() {
            return nanos;
        }

        @Override
        public void close() {
            works.remove(this);
        }
    }

    private final class Block implements TransferBlock {
        private final MemorySegment hostSide;
        private final DeviceMemory deviceSide;

        Block(MemorySegment hostSide, DeviceMemory deviceSide) {
            this.hostSide = hostSide;
            this.deviceSide = deviceSide;
        }

        @Override
        public MemorySegment host() {
            return hostSide;
        }

        @Override
        public long address() {
            return deviceSide.address();
        }

        @Override
        public void push(long bytes) {
            assertFalse(launching, "a block is moved among launches");
            deviceSide.write(0, hostSide.asSlice(0, bytes));
        }

        @Override
        public void pull(long offset, long bytes) {
            assertFalse(launching, "a block is moved among launches");
            hostSide.fill((byte) 0x5a);
            deviceSide.read(offset, hostSide.asSlice(offset, bytes));
        }
    }
}
