// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.DeviceException;
import dev.tributary.DeviceException.Reason;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class CudaRuntimeTest {
    /** What bytedeco's classes are where the runtime is missing: the Java machine says why only once. */
    private static final class Bound {
        static {
            load();
        }

        private static void load() {
            throw new UnsatisfiedLinkError("libcudart.so.13: cannot open shared object file");
        }

        static void touch() {}
    }

    @Test
    void whatIsMissingIsNamedEachTime() {
        CudaRuntime runtime = new CudaRuntime(Bound::touch);
        for (int load = 1; load <= 3; load++) {
            DeviceException missing = runtime.obstacle().orElseThrow();
            assertEquals(Reason.RUNTIME_MISSING, missing.reason());
            String message = String.valueOf(missing.getMessage());
            assertTrue(
                    message.startsWith("the CUDA runtime cannot be loaded: libcudart.so.13: cannot open shared object"
                            + " file; libcudart.so.13 comes with CUDA 13"),
                    message);
        }
    }

    @Test
    void whatIsThereIsNoObstacle() {
        CudaRuntime runtime = new CudaRuntime(() -> {});
        assertEquals(Optional.empty(), runtime.obstacle());
        assertEquals(Optional.empty(), runtime.obstacle());
    }
}
