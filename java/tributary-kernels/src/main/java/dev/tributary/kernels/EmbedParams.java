// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_embed_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#embed}: {@code y[r] = table[tokens[r]]} for main rows.
 */
public final class EmbedParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public EmbedParams(Arena arena) {
        super(arena, trib_embed_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public EmbedParams step(KernelStep step) {
        trib_embed_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code tokens}.
     *
     * @param tokens address of int32 [R], each in 0 … V − 1
     * @return these params
     */
    public EmbedParams tokens(long tokens) {
        trib_embed_params.tokens(segment, tokens);
        return this;
    }

    /**
     * Sets {@code table}.
     *
     * @param table [V, h] PACKED, BF16 or F16
     * @return these params
     */
    public EmbedParams table(Tensor table) {
        table.writeTo(trib_embed_params.table(segment));
        return this;
    }

    /**
     * Sets {@code y}.
     *
     * @param y [R + Q, h] F32
     * @return these params
     */
    public EmbedParams y(Tensor y) {
        y.writeTo(trib_embed_params.y(segment));
        return this;
    }
}
