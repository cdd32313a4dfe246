// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;

/** Order of a tensor's elements in memory. */
public enum Layout {
    /** By strides; the last is 1. */
    ROW_MAJOR(Tributary.TRIB_LAYOUT_ROW_MAJOR()),
    /** The backend's own order of a weight [N, K], written by {@link KernelContext#packWeight}. */
    PACKED(Tributary.TRIB_LAYOUT_PACKED()),
    /** Likewise for [2I, K] = gate rows, then up rows, so that {@link Epilogue#SILU_GATE} finds both together. */
    PACKED_GATE(Tributary.TRIB_LAYOUT_PACKED_GATE());

    final int code;

    Layout(int code) {
        this.code = code;
    }
}
