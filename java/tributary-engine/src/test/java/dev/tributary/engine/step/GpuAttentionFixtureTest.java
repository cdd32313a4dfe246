// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.Gpu;
import org.junit.jupiter.api.Tag;

/** Attention on a GPU. It needs tributary-cuda on the class path, which this module's own build has not. */
@Tag("gpu")
class GpuAttentionFixtureTest extends AttentionFixtureTest {
    @Override
    Device open() {
        return Gpu.open();
    }
}
