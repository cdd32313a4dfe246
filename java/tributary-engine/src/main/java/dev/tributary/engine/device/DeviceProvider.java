// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.DeviceException;
import java.util.Optional;

/**
 * A kind of device that a library beside this one brings; a service. Creating a provider and asking it must work on
 * every machine, whatever is missing there.
 */
public interface DeviceProvider {
    /** {@return the kind, as {@code LoadOptions.device} names it} */
    String name();

    /** {@return why no device of this kind can be used on this machine, if none can} */
    Optional<DeviceException> obstacle();

    /** {@return the ordinal of the first device that can be used; without meaning where there is an obstacle} */
    int firstUsable();

    /**
     * Opens a device for the calling thread.
     *
     * @param ordinal which one, from 0
     * @param memoryLimit bytes that it may take; 0 = what is free
     * @return the device; the caller closes it
     * @throws DeviceException when it cannot be opened
     */
    Device open(int ordinal, long memoryLimit);
}
