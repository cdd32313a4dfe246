// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;

/** Which rows of a step an operation works on. */
public enum Rows {
    /** Rows of the main stream. */
    MAIN(Tributary.TRIB_ROWS_MAIN()),
    /** Rows of the speculative streams. */
    STREAM(Tributary.TRIB_ROWS_STREAM()),
    /** Both. */
    ALL(Tributary.TRIB_ROWS_ALL());

    final int code;

    Rows(int code) {
        this.code = code;
    }
}
