// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

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
        assumeTrue(
                obstacle.isEmpty(),
                () -> "no GPU: " + obstacle.map(Throwable::getMessage).orElse(""));
        return "cuda";
    }
}
