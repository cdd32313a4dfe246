// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import java.lang.foreign.MemorySegment;

/** Memory of a device; owned by the device. */
public interface DeviceMemory {
    /** {@return address in the device's memory} */
    long address();

    /** {@return size in bytes} */
    long bytes();

    /**
     * Copies host memory to the device, done on return.
     *
     * @param offset first byte written
     * @param source what to write
     */
    void write(long offset, MemorySegment source);
}
