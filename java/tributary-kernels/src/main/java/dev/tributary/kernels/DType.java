// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;

/**
 * Type of a tensor's elements. Weights and KV cache are BF16 or F16, activations F32; activations that only feed matrix
 * products may have the weight's type instead, to which the product rounds them anyway.
 */
public enum DType {
    /** IEEE 754 binary32. */
    F32(Tributary.TRIB_DTYPE_F32(), 4),
    /** bfloat16: the upper half of binary32. */
    BF16(Tributary.TRIB_DTYPE_BF16(), 2),
    /** IEEE 754 binary16. */
    F16(Tributary.TRIB_DTYPE_F16(), 2);

    final int code;
    private final int byteSize;

    DType(int code, int byteSize) {
        this.code = code;
        this.byteSize = byteSize;
    }

    /** {@return the size of one element in bytes} */
    public int byteSize() {
        return byteSize;
    }
}
