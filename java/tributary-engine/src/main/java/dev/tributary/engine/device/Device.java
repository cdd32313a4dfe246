// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.kernels.KernelContext;

/**
 * Where a model computes: memory and a kernel context. The engine knows devices by this interface only. Used by the
 * device thread alone, except while a model is loaded.
 */
public interface Device extends AutoCloseable {
    /** {@return one line for people} */
    String description();

    /** {@return bytes that can still be allocated, as far as is known} */
    long availableBytes();

    /** {@return the context whose stream orders this device's work} */
    KernelContext kernels();

    /**
     * Memory of the device, zeroed, aligned to 64 bytes, freed by {@link #close()}.
     *
     * @param bytes at least 1
     * @return the memory
     */
    DeviceMemory allocate(long bytes);

    /**
     * A block that both sides see: written or read in host memory, moved as a whole.
     *
     * @param bytes at least 1
     * @return the block, zeroed
     */
    TransferBlock allocateBlock(long bytes);

    /** Ends the context, then frees all memory. */
    @Override
    void close();
}
