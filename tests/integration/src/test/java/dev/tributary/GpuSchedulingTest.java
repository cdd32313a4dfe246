// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** Scheduling on a GPU. */
@Tag("gpu")
class GpuSchedulingTest extends SchedulingTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
