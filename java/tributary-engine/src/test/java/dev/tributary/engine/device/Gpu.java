// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.DeviceException;
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
        require(provider.get().obstacle());
        return provider.get().open(0, 0);
    }

    /** Skips a test where there is no GPU; where there is one and what is ours to bring is missing, it fails. */
    static void require(Optional<DeviceException> obstacle) {
        if (obstacle.isEmpty()) {
            return;
        }
        String message = String.valueOf(obstacle.get().getMessage());
        switch (obstacle.get().reason()) {
            case NATIVE_LIBRARY, RUNTIME_MISSING, FAILURE ->
                throw new AssertionError("there is a GPU, but " + message, obstacle.get());
            default -> abort("no GPU: " + message);
        }
    }
}
