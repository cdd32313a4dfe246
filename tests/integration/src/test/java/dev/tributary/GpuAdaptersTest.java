// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** Many streams adapters on a GPU. */
@Tag("gpu")
class GpuAdaptersTest extends AdaptersTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
