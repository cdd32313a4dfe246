// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Optional;
import java.util.ServiceLoader;

/** For tests that need a GPU. */
public final class Gpu {
    private Gpu() {}

    /** {@return the first GPU; a test that calls this is skipped where none can be used, and says why} */
    public static Device open() {
        Optional<DeviceProvider> provider =
                ServiceLoader.load(DeviceProvider.class).findFirst();
        assumeTrue(provider.isPresent(), "no GPU: tributary-cuda is not on the class path");
        provider.get().obstacle().ifPresent(obstacle -> assumeTrue(false, () -> "no GPU: " + obstacle.getMessage()));
        return provider.get().open(0, 0);
    }
}
