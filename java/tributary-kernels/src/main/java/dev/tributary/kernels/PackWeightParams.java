// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_pack_weight_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#packWeight}: copies rows into a weight of the backend's own order. Memory that no
 * row is packed into must be zero.
 */
public final class PackWeightParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public PackWeightParams(Arena arena) {
        super(arena, trib_pack_weight_params.layout());
    }

    /**
     * Sets {@code source}.
     *
     * @param source [n, K], row-major, BF16 or F16
     * @return these params
     */
    public PackWeightParams source(Tensor source) {
        source.writeTo(trib_pack_weight_params.source(segment));
        return this;
    }

    /**
     * Sets {@code destination}.
     *
     * @param destination [N, K], PACKED or PACKED_GATE, of the same dtype
     * @return these params
     */
    public PackWeightParams destination(Tensor destination) {
        destination.writeTo(trib_pack_weight_params.destination(segment));
        return this;
    }

    /**
     * Sets {@code firstRow}.
     *
     * @param firstRow row of the destination that the first row goes to
     * @return these params
     */
    public PackWeightParams firstRow(long firstRow) {
        trib_pack_weight_params.first_row(segment, count("firstRow", firstRow));
        return this;
    }
}
