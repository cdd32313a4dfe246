// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assumptions.abort;

import dev.tributary.engine.device.DeviceProvider;
import java.util.Optional;
import java.util.ServiceLoader;

/** For tests that need a GPU. */
final class Gpu {
    private Gpu() {}

    /** {@return the name of the first GPU; a test that calls this is skipped where none can be used, and says why} */
    static String required() {
        Optional<DeviceException> obstacle = ServiceLoader.load(DeviceProvider.class)
                .findFirst()
                .orElseThrow(() -> new AssertionError("tributary-cuda is not on the class path"))
                .obstacle();
        obstacle.ifPresent(Gpu::skipOrFail);
        return "cuda";
    }

    /** Skips a test where there is no GPU; where there is one and what is ours to bring is missing, it fails. */
    static void skipOrFail(DeviceException obstacle) {
        switch (obstacle.reason()) {
            case NATIVE_LIBRARY, RUNTIME_MISSING, FAILURE ->
                throw new AssertionError("there is a GPU, but " + obstacle.getMessage(), obstacle);
            default -> abort("no GPU: " + obstacle.getMessage());
        }
    }
}
