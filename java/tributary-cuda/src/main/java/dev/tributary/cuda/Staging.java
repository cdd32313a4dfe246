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
import java.util.List;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/**
 * Copies between any host memory and the device through two pinned buffers, so that one is filled while the other is on
 * its way.
 */
final class Staging implements AutoCloseable {
    private static final long BUFFER_BYTES = 8L << 20;

    private record Buffer(PinnedMemory memory, CUevent_st copied) {}

    private final CUstream_st stream;
    private final List<Buffer> buffers;
    private int next;

    /**
     * Takes the buffers.
     *
     * @param stream that copies run on
     */
    Staging(CUstream_st stream) {
        this.stream = stream;
        buffers = List.of(buffer(), buffer());
    }

    private static Buffer buffer() {
        CUevent_st copied = new CUevent_st();
        CudaCalls.check(cudaEventCreateWithFlags(copied, cudaEventDisableTiming), "cudaEventCreate");
        return new Buffer(new PinnedMemory(BUFFER_BYTES), copied);
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

    @Override
    public void close() {
        for (Buffer buffer : buffers) {
            CudaCalls.check(cudaEventDestroy(buffer.copied), "cudaEventDestroy");
            buffer.memory.close();
        }
    }
}
