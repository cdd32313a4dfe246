// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaDeviceReset;
import static org.bytedeco.cuda.global.cudart.cudaDeviceScheduleSpin;
import static org.bytedeco.cuda.global.cudart.cudaFree;
import static org.bytedeco.cuda.global.cudart.cudaGetLastError;
import static org.bytedeco.cuda.global.cudart.cudaInitDevice;
import static org.bytedeco.cuda.global.cudart.cudaInitDeviceFlagsAreValid;
import static org.bytedeco.cuda.global.cudart.cudaMalloc;
import static org.bytedeco.cuda.global.cudart.cudaMemGetInfo;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyAsync;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyDeviceToDevice;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyDeviceToHost;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyHostToDevice;
import static org.bytedeco.cuda.global.cudart.cudaMemsetAsync;
import static org.bytedeco.cuda.global.cudart.cudaSetDevice;
import static org.bytedeco.cuda.global.cudart.cudaStreamCreateWithFlags;
import static org.bytedeco.cuda.global.cudart.cudaStreamDestroy;
import static org.bytedeco.cuda.global.cudart.cudaStreamNonBlocking;
import static org.bytedeco.cuda.global.cudart.cudaStreamSynchronize;
import static org.bytedeco.cuda.global.cudart.cudaSuccess;

import dev.tributary.InsufficientMemoryException;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.DeviceMemory;
import dev.tributary.engine.device.DeviceWork;
import dev.tributary.engine.device.KernelFailure;
import dev.tributary.engine.device.TransferBlock;
import dev.tributary.kernels.KernelContext;
import dev.tributary.kernels.KernelException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * A GPU: one stream, pooled memory, graphs. A thread that waits spins, since a pass lasts less than a millisecond and
 * waking a thread takes long beside that.
 */
final class CudaDevice implements Device {
    /** Left to CUDA itself: kernels that are loaded at their first launch, graphs, its own heap. */
    private static final long RESERVE_BYTES = 256L << 20;

    private static final System.Logger LOG = System.getLogger(CudaDevice.class.getName());

    /**
     * How many devices are open on each GPU, by ordinal; also the lock under which one is opened, and under which the
     * last one gives the GPU's context up: all share it.
     */
    private static final Map<Integer, Integer> OPEN = new HashMap<>();

    private final int ordinal;
    private final MemoryPool pool;
    private final CUstream_st stream = new CUstream_st();
    /** What {@link #close()} undoes, the newest first. */
    private final Deque<Runnable> undo = new ArrayDeque<>();

    private final Set<Memory> memories = new HashSet<>();
    private final Set<RecordedWork> works = new HashSet<>();
    private final List<Block> blocks = new ArrayList<>();
    private final KernelContext kernels;
    private final Staging staging;
    private final String description;
    private boolean opened;
    private boolean closed;

    private CudaDevice(int ordinal, long memoryLimit) {
        this.ordinal = ordinal;
        pool = new MemoryPool(new Source(), "cuda:" + ordinal, memoryLimit);
        try {
            synchronized (OPEN) {
                CudaCalls.check(
                        cudaInitDevice(ordinal, cudaDeviceScheduleSpin, cudaInitDeviceFlagsAreValid), "cudaInitDevice");
                CudaCalls.check(cudaSetDevice(ordinal), "cudaSetDevice");
                CudaCalls.check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "cudaStreamCreate");
                OPEN.merge(ordinal, 1, Integer::sum);
                opened = true;
            }
            undo.push(() -> CudaCalls.check(cudaStreamDestroy(stream), "cudaStreamDestroy"));
            undo.push(pool::close);
            staging = new Staging(stream);
            undo.push(staging::close);
            kernels = context(ordinal, stream);
            undo.push(kernels::close);
            // What sets the context up fails here, not in the middle of loading. Other devices of this GPU are let be.
            CudaCalls.check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
            description = describe();
        } catch (Throwable e) {
            try {
                close();
            } catch (RuntimeException suppressed) {
                e.addSuppressed(suppressed);
            }
            throw e;
        }
    }

    static CudaDevice open(int ordinal, long memoryLimit) {
        return new CudaDevice(ordinal, memoryLimit);
    }

    private static KernelContext context(int ordinal, CUstream_st stream) {
        try {
            return KernelContext.cuda(ordinal, stream.address());
        } catch (KernelException e) {
            throw KernelFailure.of(e);
        }
    }

    private String describe() {
        GpuFigures figures = GpuFigures.of(ordinal);
        StringBuilder line = new StringBuilder(kernels.description());
        line.append(String.format(Locale.ROOT, ", %.1f GiB", memoryInfo().total / (double) (1L << 30)));
        if (!figures.driver().isEmpty()) {
            line.append(", driver ").append(figures.driver());
        }
        figures.utilisation().ifPresent(percent -> {
            if (percent > 0) {
                line.append(", ").append(percent).append("% busy when it was opened");
            }
        });
        return line.toString();
    }

    private record MemoryInfo(long free, long total) {}

    private static MemoryInfo memoryInfo() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment total = arena.allocate(ValueLayout.JAVA_LONG);
            CudaCalls.check(
                    cudaMemGetInfo(new SizeTPointer(Address.of(free)), new SizeTPointer(Address.of(total))),
                    "cudaMemGetInfo");
            return new MemoryInfo(free.get(ValueLayout.JAVA_LONG, 0), total.get(ValueLayout.JAVA_LONG, 0));
        }
    }

    @Override
    public String description() {
        return description;
    }

    /** What the limit leaves and the device has, less what CUDA itself will take and a block that is not filled. */
    @Override
    public long availableBytes() {
        long free = memoryInfo().free - RESERVE_BYTES;
        return Math.max(0, Math.min(pool.untaken(), free) - MemoryPool.BLOCK_BYTES);
    }

    @Override
    public KernelContext kernels() {
        return kernels;
    }

    @Override
    public boolean isSynchronous() {
        return false;
    }

    @Override
    public DeviceMemory allocate(long bytes) {
        Memory memory = new Memory(this, zeroed(bytes), bytes);
        memories.add(memory);
        return memory;
    }

    @Override
    public TransferBlock allocateBlock(long bytes) {
        PinnedMemory pinned = new PinnedMemory(bytes);
        try {
            Block block = new Block(this, pinned, zeroed(bytes));
            blocks.add(block);
            return block;
        } catch (InsufficientMemoryException e) {
            pinned.close();
            throw e;
        }
    }

    private long zeroed(long bytes) {
        long address = pool.allocate(bytes);
        CudaCalls.check(cudaMemsetAsync(new Address(address), 0, bytes, stream), "cudaMemsetAsync");
        return address;
    }

    @Override
    public DeviceWork record(Runnable launches) {
        RecordedWork work = new RecordedWork(new StreamRecorder(stream), launches, works::remove);
        works.add(work);
        return work;
    }

    /**
     * Frees everything. After an error that CUDA does not recover from, freeing fails too and means nothing: then the
     * process's context on this GPU is given up as a whole, which frees all there is. The error is one of all who have
     * that context; the last of them gives it up.
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        boolean lost = opened && (cudaSetDevice(ordinal) != cudaSuccess || isLost(stream));
        List<Runnable> steps = new ArrayList<>();
        List.copyOf(works).forEach(work -> steps.add(work::close));
        blocks.forEach(block -> steps.add(block.pinned::close));
        steps.addAll(undo);
        Optional<RuntimeException> failure = CudaCalls.runAll(steps);
        memories.clear();
        // Another's error may have come in between; the default stream, on which nothing runs, knows it too.
        lost |= opened && failure.isPresent() && isLost(new CUstream_st());
        if (opened) {
            leave(ordinal, lost);
        }
        if (!lost && failure.isPresent()) {
            throw failure.get();
        }
    }

    /** Whether the GPU's context has failed for good: an error of one call is not there at the next. */
    private static boolean isLost(CUstream_st stream) {
        if (cudaStreamSynchronize(stream) == cudaSuccess) {
            return false;
        }
        cudaGetLastError();
        return cudaStreamSynchronize(stream) != cudaSuccess;
    }

    private static void leave(int ordinal, boolean lost) {
        synchronized (OPEN) {
            int others = OPEN.getOrDefault(ordinal, 1) - 1;
            if (others > 0) {
                OPEN.put(ordinal, others);
            } else {
                OPEN.remove(ordinal);
            }
            if (lost && others == 0) {
                cudaDeviceReset();
            } else if (lost) {
                LOG.log(
                        System.Logger.Level.WARNING,
                        "cuda:{0} has failed; its memory is returned when the last model on that GPU closes",
                        ordinal);
            }
        }
    }

    /** Blocks of the pool. */
    private static final class Source implements MemoryPool.Source {
        @Override
        public OptionalLong take(long bytes) {
            Pointer pointer = new Address(0);
            int code = cudaMalloc(pointer, bytes);
            if (CudaCalls.isOutOfMemory(code)) {
                return OptionalLong.empty();
            }
            CudaCalls.check(code, "cudaMalloc");
            return OptionalLong.of(pointer.address());
        }

        @Override
        public void giveBack(long address) {
            CudaCalls.check(cudaFree(new Address(address)), "cudaFree");
        }
    }

    private record Memory(CudaDevice device, long address, long bytes) implements DeviceMemory {
        @Override
        public void write(long offset, MemorySegment source) {
            Objects.checkFromIndexSize(offset, source.byteSize(), bytes);
            device.staging.write(address + offset, source);
        }

        @Override
        public void read(long offset, MemorySegment target) {
            Objects.checkFromIndexSize(offset, target.byteSize(), bytes);
            device.staging.read(address + offset, target);
        }

        @Override
        public void copy(long from, long to, long count) {
            Objects.checkFromIndexSize(from, count, bytes);
            Objects.checkFromIndexSize(to, count, bytes);
            CudaCalls.check(
                    cudaMemcpyAsync(
                            new Address(address + to),
                            new Address(address + from),
                            count,
                            cudaMemcpyDeviceToDevice,
                            device.stream),
                    "cudaMemcpyAsync");
        }

        @Override
        public void close() {
            if (device.memories.remove(this)) {
                // The next who gets this memory writes it in stream order too, behind whatever still uses it.
                device.pool.free(address, bytes);
            }
        }
    }

    private static final class Block implements TransferBlock {
        private final CudaDevice device;
        private final PinnedMemory pinned;
        private final long address;

        Block(CudaDevice device, PinnedMemory pinned, long address) {
            this.device = device;
            this.pinned = pinned;
            this.address = address;
        }

        @Override
        public MemorySegment host() {
            return pinned.segment();
        }

        @Override
        public long address() {
            return address;
        }

        @Override
        public void push(long bytes) {
            Objects.checkFromIndexSize(0, bytes, pinned.segment().byteSize());
            CudaCalls.check(
                    cudaMemcpyAsync(new Address(address), pinned.at(0), bytes, cudaMemcpyHostToDevice, device.stream),
                    "cudaMemcpyAsync");
        }

        @Override
        public void pull(long offset, long bytes) {
            Objects.checkFromIndexSize(offset, bytes, pinned.segment().byteSize());
            CudaCalls.check(
                    cudaMemcpyAsync(
                            pinned.at(offset),
                            new Address(address + offset),
                            bytes,
                            cudaMemcpyDeviceToHost,
                            device.stream),
                    "cudaMemcpyAsync");
            CudaCalls.check(cudaStreamSynchronize(device.stream), "the pass");
        }
    }
}
