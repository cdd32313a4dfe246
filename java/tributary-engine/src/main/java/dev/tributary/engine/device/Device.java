// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.kernels.KernelContext;

/**
 * Where a model computes: memory and a kernel context. The engine knows devices by this interface only. Used by one
 * thread, the device thread, from opening to closing.
 *
 * <p>What is asked of a device is done in the order of asking. On the host it is done on return; a GPU only enqueues it,
 * and {@link TransferBlock#pull} waits.
 */
public interface Device extends AutoCloseable {
    /** {@return one line for people} */
    String description();

    /** {@return bytes that can still be allocated, as far as is known} */
    long availableBytes();

    /** {@return the context whose stream orders this device's work} */
    KernelContext kernels();

    /** {@return whether a launch has done its work on return, so that clocks around it tell what it took} */
    boolean isSynchronous();

    /**
     * Memory of the device, zeroed, aligned to 64 bytes, freed by {@link #close()}.
     *
     * @param bytes at least 1
     * @return the memory
     */
    DeviceMemory allocate(long bytes);

    /**
     * A block that both sides see: written or read in host memory, moved as a whole or in part.
     *
     * @param bytes at least 1
     * @return the block, zeroed
     */
    TransferBlock allocateBlock(long bytes);

    /**
     * Launches that will be run many times. They must be the same each time: what differs lies in device memory. They
     * neither allocate nor wait.
     *
     * @param launches calls operations of {@link #kernels()}, and nothing else of this device
     * @return the work; nothing has run yet
     */
    DeviceWork record(Runnable launches);

    /** Ends the context, then frees all memory. */
    @Override
    void close();
}
