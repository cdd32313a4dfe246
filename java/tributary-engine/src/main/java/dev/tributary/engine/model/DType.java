// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

/** Element types of the safetensors format. The engine computes with {@link #BF16} and {@link #F16} weights. */
public enum DType {
    /** Truth value in a byte. */
    BOOL(1),
    /** Unsigned 8-bit integer. */
    U8(1),
    /** Signed 8-bit integer. */
    I8(1),
    /** 8-bit float, 5 exponent bits. */
    F8_E5M2(1),
    /** 8-bit float, 4 exponent bits. */
    F8_E4M3(1),
    /** 8-bit power of two. */
    F8_E8M0(1),
    /** Unsigned 16-bit integer. */
    U16(2),
    /** Signed 16-bit integer. */
    I16(2),
    /** IEEE half precision. */
    F16(2),
    /** The upper half of an fp32. */
    BF16(2),
    /** Unsigned 32-bit integer. */
    U32(4),
    /** Signed 32-bit integer. */
    I32(4),
    /** IEEE single precision. */
    F32(4),
    /** Unsigned 64-bit integer. */
    U64(8),
    /** Signed 64-bit integer. */
    I64(8),
    /** IEEE double precision. */
    F64(8),
    /** Complex of two fp32. */
    C64(8);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /** {@return bytes of an element} */
    public int bytes() {
        return bytes;
    }
}
