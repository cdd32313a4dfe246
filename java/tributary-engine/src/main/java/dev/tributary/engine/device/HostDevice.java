// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import com.sun.management.OperatingSystemMXBean;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.kernels.KernelContext;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Stream;

/** The host processor: ordinary memory, kernels on a thread pool. */
public final class HostDevice implements Device {
    private static final long ALIGNMENT = 64;
    private static final Path CGROUP = Path.of("/sys/fs/cgroup");

    private final Set<Arena> arenas = new HashSet<>();
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
        long free = figure(Path.of("/proc/meminfo"), "MemAvailable:")
                .map(kilobytes -> 1024 * kilobytes)
                .orElseGet(system::getFreeMemorySize);
        // A container has a limit of its own; page cache within it would be given up.
        Optional<Long> limit = figure(CGROUP.resolve("memory.max"), "");
        Optional<Long> used = figure(CGROUP.resolve("memory.current"), "");
        if (limit.isPresent() && used.isPresent()) {
            long cached =
                    figure(CGROUP.resolve("memory.stat"), "inactive_file ").orElse(0L);
            free = Math.min(free, Math.max(0, limit.get() - used.get() + cached));
        }
        return free;
    }

    /** The number behind a name at the start of a line. */
    private static Optional<Long> figure(Path file, String name) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.filter(line -> line.startsWith(name))
                    .map(line -> line.substring(name.length()).replaceAll("[^0-9]", ""))
                    .filter(digits -> !digits.isEmpty())
                    .map(Long::parseLong)
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
    public boolean isSynchronous() {
        return true;
    }

    /** A call costs what it costs: there is nothing to keep. */
    @Override
    public DeviceWork record(Runnable launches) {
        return new DeviceWork() {
            @Override
            public void run() {
                launches.run();
            }

            @Override
            public boolean isPrepared() {
                return true;
            }

            @Override
            public OptionalLong deviceNanos() {
                return OptionalLong.empty();
            }

            @Override
            public void close() {}
        };
    }

    @Override
    public DeviceMemory allocate(long bytes) {
        return memory(bytes);
    }

    @Override
    public TransferBlock allocateBlock(long bytes) {
        return memory(bytes);
    }

    @SuppressWarnings("MustBeClosedChecker") // closed with the memory, or with the device
    private Memory memory(long bytes) {
        Arena arena = Arena.ofConfined();
        try {
            Memory memory = new Memory(this, arena, arena.allocate(bytes, ALIGNMENT));
            arenas.add(arena);
            return memory;
        } catch (OutOfMemoryError e) {
            arena.close();
            throw new InsufficientMemoryException("the host has no " + bytes + " bytes left", e);
        }
    }

    @Override
    public void close() {
        try {
            kernels.close();
        } finally {
            arenas.forEach(Arena::close);
            arenas.clear();
        }
    }

    private record Memory(HostDevice device, Arena arena, MemorySegment host) implements DeviceMemory, TransferBlock {
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
        public void read(long offset, MemorySegment target) {
            MemorySegment.copy(host, offset, target, 0, target.byteSize());
        }

        @Override
        public void copy(long from, long to, long count) {
            MemorySegment.copy(host, from, host, to, count);
        }

        @Override
        public void close() {
            if (device.arenas.remove(arena)) {
                arena.close();
            }
        }

        @Override
        public void push(long bytes) {}

        @Override
        public void pull(long offset, long bytes) {}
    }
}
