// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.bytedeco.cuda.global.cudart.cudaFreeHost;
import static org.bytedeco.cuda.global.cudart.cudaHostAlloc;
import static org.bytedeco.cuda.global.cudart.cudaHostAllocDefault;

import dev.tributary.InsufficientMemoryException;
import java.lang.foreign.MemorySegment;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** Host memory that copies to and from the device run over without a detour. Zeroed. */
final class PinnedMemory implements AutoCloseable {
    private final Pointer pointer;
    private final MemorySegment segment;

    /**
     * Takes memory.
     *
     * @param bytes at most 2 GB
     */
    PinnedMemory(long bytes) {
        int size = Math.toIntExact(bytes);
        pointer = new Address(0);
        int code = cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
        if (CudaCalls.isOutOfMemory(code)) {
            throw new InsufficientMemoryException("there is no host memory to pin " + bytes + " bytes for transfers");
        }
        CudaCalls.check(code, "cudaHostAlloc");
        segment = MemorySegment.ofBuffer(new BytePointer(pointer).capacity(size).asByteBuffer());
        segment.fill((byte) 0);
    }

    /** {@return the memory, valid until {@link #close()}} */
    MemorySegment segment() {
        return segment;
    }

    /** {@return where a copy begins} */
    Address at(long offset) {
        return new Address(pointer.address() + offset);
    }

    @Override
    public void close() {
        CudaCalls.check(cudaFreeHost(pointer), "cudaFreeHost");
    }
}
