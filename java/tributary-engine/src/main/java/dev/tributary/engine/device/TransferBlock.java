// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import java.lang.foreign.MemorySegment;

/**
 * One block of memory with a side on the host and a side on the device. On the host backend both are the same memory
 * and moving it costs nothing; on a GPU the host's side is pinned and a move is one asynchronous copy.
 */
public interface TransferBlock {
    /** {@return the host's side} */
    MemorySegment host();

    /** {@return the address of the device's side} */
    long address();

    /**
     * Moves the beginning of the host's side to the device, in stream order. It must not change until a pull has returned.
     *
     * @param bytes how many
     */
    void push(long bytes);

    /** Moves all of the host's side to the device, likewise. */
    default void push() {
        push(host().byteSize());
    }

    /**
     * Moves a part of the device's side to the host and waits until it is there, and with it all that was asked of the
     * device before.
     *
     * @param offset first byte
     * @param bytes how many
     */
    void pull(long offset, long bytes);

    /** Moves all of the device's side to the host, likewise. */
    default void pull() {
        pull(0, host().byteSize());
    }
}
