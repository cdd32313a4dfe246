// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import java.util.OptionalLong;

/**
 * Launches of kernels that are enqueued again and again, while what they work on changes in the device's memory. A
 * device that has graphs keeps them as one.
 */
public interface DeviceWork extends AutoCloseable {
    /** Enqueues the launches, in stream order. */
    void run();

    /** {@return whether another run costs what every later one will, so that nothing is left to prepare} */
    boolean isPrepared();

    /**
     * What the last run took by the device's own clock: from when the device had come to the launches to when it had
     * done the last of them. Known once {@link TransferBlock#pull} has waited for something behind the run.
     *
     * @return nanoseconds; empty before the first run, and always where a device has no clock of its own, as the host
     */
    OptionalLong deviceNanos();

    /** Forgets the launches. */
    @Override
    void close();
}
