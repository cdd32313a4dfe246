// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;

import dev.tributary.DeviceException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.TributaryException;
import dev.tributary.kernels.KernelException.Status;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The device's own code and the name of the operation reach the caller. */
class KernelFailureTest {
    private final RuntimeException cause = new RuntimeException("of the library");

    private TributaryException of(Status status, String message) {
        TributaryException failure = KernelFailure.of(status, message, cause);
        assertEquals(message, failure.getMessage());
        assertSame(cause, failure.getCause());
        return failure;
    }

    @Test
    void anErrorOfTheDeviceKeepsItsCode() {
        for (String operation : new String[] {"linear", "pack_weight", "current device"}) {
            DeviceException failure = assertInstanceOf(
                    DeviceException.class,
                    of(
                            Status.DEVICE_ERROR,
                            operation + ": cudaErrorIllegalAddress (700): an illegal memory access was encountered"));
            assertEquals(
                    Optional.of(new DeviceException.Code(700, "cudaErrorIllegalAddress", operation)), failure.code());
        }
    }

    @Test
    void whatIsNoErrorOfTheDeviceHasNone() {
        DeviceException failure = assertInstanceOf(
                DeviceException.class, of(Status.INVALID_ARGUMENT, "linear: rows is 7, expected 0 to 2"));
        assertEquals(Optional.empty(), failure.code());
    }

    @Test
    void lackOfMemoryIsNoFailureOfTheDevice() {
        assertInstanceOf(
                InsufficientMemoryException.class,
                of(Status.OUT_OF_MEMORY, "linear: cudaErrorMemoryAllocation (2): out of memory"));
    }
}
