// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import java.lang.foreign.MemorySegment;

/** Memory of a device: freed with the device, or earlier by {@link #close()}. */
public interface DeviceMemory extends AutoCloseable {
    /** {@return address in the device's memory} */
    long address();

    /** {@return size in bytes} */
    long bytes();

    /**
     * Copies host memory to the device, in stream order. The source may change on return.
     *
     * @param offset first byte written
     * @param source what to write
     */
    void write(long offset, MemorySegment source);

    /**
     * Copies from the device, behind all that was asked of it before; done on return.
     *
     * @param offset first byte read
     * @param target where to
     */
    void read(long offset, MemorySegment target);

    /**
     * Copies within this memory, in stream order.
     *
     * @param from first byte read
     * @param to first byte written; what is written does not overlap what is read
     * @param count bytes
     */
    void copy(long from, long to, long count);

    /** Frees the memory; nothing may use its address any more. */
    @Override
    void close();
}
