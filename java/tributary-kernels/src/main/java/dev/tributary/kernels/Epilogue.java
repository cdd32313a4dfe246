// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;

/** What {@link KernelContext#linear} does with its product. */
public enum Epilogue {
    /** {@code y = product}. */
    NONE(Tributary.TRIB_EPILOGUE_NONE()),
    /** {@code y += product}. */
    RESIDUAL(Tributary.TRIB_EPILOGUE_RESIDUAL()),
    /** {@code y = silu(gate) · up}, of a weight packed as {@link Layout#PACKED_GATE}. */
    SILU_GATE(Tributary.TRIB_EPILOGUE_SILU_GATE());

    final int code;

    Epilogue(int code) {
        this.code = code;
    }
}
