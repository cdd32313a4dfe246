// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import org.junit.jupiter.api.Tag;

/** What texts have in common, on a GPU. */
@Tag("gpu")
class GpuPrefixSharingTest extends PrefixSharingTest {
    @Override
    String device() {
        return Gpu.required();
    }
}
