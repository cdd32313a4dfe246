// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_rms_norm_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#rmsNorm}: {@code y = x / sqrt(mean(x²) + epsilon) · weight} over the last dimension.
 */
public final class RmsNormParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public RmsNormParams(Arena arena) {
        super(arena, trib_rms_norm_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public RmsNormParams step(KernelStep step) {
        trib_rms_norm_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code rows}.
     *
     * @param rows which rows of the step are worked on
     * @return these params
     */
    public RmsNormParams rows(Rows rows) {
        trib_rms_norm_params.rows(segment, rows.code);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [R + Q, groups, width] F32
     * @return these params
     */
    public RmsNormParams x(Tensor x) {
        x.writeTo(trib_rms_norm_params.x(segment));
        return this;
    }

    /**
     * Sets {@code weight}.
     *
     * @param weight [width] BF16, F16 or F32
     * @return these params
     */
    public RmsNormParams weight(Tensor weight) {
        weight.writeTo(trib_rms_norm_params.weight(segment));
        return this;
    }

    /**
     * Sets {@code y}.
     *
     * @param y shaped as x: F32, which may be x itself, or BF16 or F16, rounded, elsewhere than x
     * @return these params
     */
    public RmsNormParams y(Tensor y) {
        y.writeTo(trib_rms_norm_params.y(segment));
        return this;
    }

    /**
     * Sets {@code epsilon}.
     *
     * @param epsilon added to the mean of the squares
     * @return these params
     */
    public RmsNormParams epsilon(float epsilon) {
        trib_rms_norm_params.epsilon(segment, epsilon);
        return this;
    }
}
