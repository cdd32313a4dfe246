// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** Mixed batches on a GPU. */
@Tag("gpu")
class GpuMixedBatchesTest extends MixedBatchesTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
