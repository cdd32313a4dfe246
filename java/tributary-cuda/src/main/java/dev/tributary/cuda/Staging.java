// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaEventCreateWithFlags;
import static org.bytedeco.cuda.global.cudart.cudaEventDestroy;
import static org.bytedeco.cuda.global.cudart.cudaEventDisableTiming;
import static org.bytedeco.cuda.global.cudart.cudaEventRecord;
import static org.bytedeco.cuda.global.cudart.cudaEventSynchronize;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyAsync;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyDeviceToHost;
import static org.bytedeco.cuda.global.cudart.cudaMemcpyHostToDevice;
import static org.bytedeco.cuda.global.cudart.cudaStreamSynchronize;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/**
 * Copies between any host memory and the device through two pinned buffers, so that one is filled while the other is on
 * its way.
 */
final class Staging implements AutoCloseable {
    private static final long BUFFER_BYTES = 8L << 20;
    private static final int BUFFERS = 2;

    private record Buffer(PinnedMemory memory, CUevent_st copied) {}

    private final CUstream_st stream;
    private final List<Buffer> buffers = new ArrayList<>();
    private int next;

    /**
     * Takes the buffers.
     *
     * @param stream that copies run on
     */
    Staging(CUstream_st stream) {
        this.stream = stream;
        try {
            while (buffers.size() < BUFFERS) {
                Buffer buffer = new Buffer(new PinnedMemory(BUFFER_BYTES), new CUevent_st());
                buffers.add(buffer);
                CudaCalls.check(cudaEventCreateWithFlags(buffer.copied, cudaEventDisableTiming), "cudaEventCreate");
            }
        } catch (Throwable e) {
            release().ifPresent(e::addSuppressed);
            throw e;
        }
    }

    private Optional<RuntimeException> release() {
        List<Runnable> steps = new ArrayList<>();
        for (Buffer buffer : buffers) {
            if (!buffer.copied.isNull()) { // it may be what could not be made
                steps.add(() -> CudaCalls.check(cudaEventDestroy(buffer.copied), "cudaEventDestroy"));
            }
            steps.add(buffer.memory::close);
        }
        return CudaCalls.runAll(steps);
    }

    /** Copies to the device, in stream order; the source may change on return. */
    void write(long address, MemorySegment source) {
        for (long done = 0; done < source.byteSize(); done += BUFFER_BYTES) {
            long bytes = Math.min(BUFFER_BYTES, source.byteSize() - done);
            Buffer buffer = buffers.get(next);
            next = (next + 1) % buffers.size();
            // Recorded by the copy before the last; an event that was never recorded is over.
            CudaCalls.check(cudaEventSynchronize(buffer.copied), "cudaEventSynchronize");
            MemorySegment.copy(source, done, buffer.memory.segment(), 0, bytes);
            CudaCalls.check(
                    cudaMemcpyAsync(
                            new Address(address + done), buffer.memory.at(0), bytes, cudaMemcpyHostToDevice, stream),
                    "cudaMemcpyAsync");
            CudaCalls.check(cudaEventRecord(buffer.copied, stream), "cudaEventRecord");
        }
    }

    /** Copies from the device, behind all that was asked of it before; done on return. */
    void read(long address, MemorySegment target) {
        for (long done = 0; done < target.byteSize(); done += BUFFER_BYTES) {
            long bytes = Math.min(BUFFER_BYTES, target.byteSize() - done);
            Buffer buffer = buffers.get(next);
            CudaCalls.check(
                    cudaMemcpyAsync(
                            buffer.memory.at(0), new Address(address + done), bytes, cudaMemcpyDeviceToHost, stream),
                    "cudaMemcpyAsync");
            CudaCalls.check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
            MemorySegment.copy(buffer.memory.segment(), 0, target, done, bytes);
        }
    }

    /** Frees everything. The first failure is thrown when all was tried. */
    @Override
    public void close() {
        release().ifPresent(failure -> {
            throw failure;
        });
    }
}
