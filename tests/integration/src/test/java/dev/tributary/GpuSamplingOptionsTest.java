// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** Sampling options on a GPU. */
@Tag("gpu")
class GpuSamplingOptionsTest extends SamplingOptionsTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
