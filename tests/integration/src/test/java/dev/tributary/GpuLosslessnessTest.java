// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** Losslessness on a GPU. */
@Tag("gpu")
class GpuLosslessnessTest extends LosslessnessTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
