// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.opentest4j.TestAbortedException;

/** Tests of a GPU are skipped where there is none, and only there. */
class GpuTest {
    private static void require(Reason reason) {
        Gpu.require(Optional.of(new DeviceException("it cannot be used", reason)));
    }

    @Test
    void withoutAGpuTheyAreSkipped() {
        for (Reason reason :
                List.of(Reason.DRIVER_MISSING, Reason.DRIVER_TOO_OLD, Reason.NO_DEVICE, Reason.UNSUPPORTED_DEVICE)) {
            assertThrows(TestAbortedException.class, () -> require(reason), reason.toString());
        }
    }

    @Test
    void withAGpuTheyFailWhenALibraryIsMissing() {
        for (Reason reason : List.of(Reason.NATIVE_LIBRARY, Reason.RUNTIME_MISSING, Reason.FAILURE)) {
            assertThrows(AssertionError.class, () -> require(reason), reason.toString());
        }
        Gpu.require(Optional.empty());
    }
}
