// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_gather_rows_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#gatherRows}: {@code y[i] = x[index[i]]} for {@code i < *count}.
 */
public final class GatherRowsParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public GatherRowsParams(Arena arena) {
        super(arena, trib_gather_rows_params.layout());
    }

    /**
     * Sets the rows to gather.
     *
     * @param address int32 [maxRows]
     * @param maxRows capacity of the index
     * @return these params
     */
    public GatherRowsParams index(long address, int maxRows) {
        trib_gather_rows_params.index(segment, address);
        trib_gather_rows_params.max_rows(segment, count("maxRows", maxRows));
        return this;
    }

    /**
     * Sets {@code count}.
     *
     * @param count address of int32 [1]: rows to gather
     * @return these params
     */
    public GatherRowsParams count(long count) {
        trib_gather_rows_params.count(segment, count);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [*, n] F32
     * @return these params
     */
    public GatherRowsParams x(Tensor x) {
        x.writeTo(trib_gather_rows_params.x(segment));
        return this;
    }

    /**
     * Sets {@code y}.
     *
     * @param y [≥ maxRows, n] F32; may not overlap x
     * @return these params
     */
    public GatherRowsParams y(Tensor y) {
        y.writeTo(trib_gather_rows_params.y(segment));
        return this;
    }
}
