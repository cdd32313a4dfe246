// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_linear_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#linear}: {@code y = epilogue(x Wᵀ + bias)}, with low-rank updates on rows of adapter
 * segments.
 */
public final class LinearParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public LinearParams(Arena arena) {
        super(arena, trib_linear_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public LinearParams step(KernelStep step) {
        trib_linear_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code rows}.
     *
     * @param rows which rows of the step are worked on
     * @return these params
     */
    public LinearParams rows(Rows rows) {
        trib_linear_params.rows(segment, rows.code);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [R + Q, K] F32, or of the weight's type, which gives the same bits
     * @return these params
     */
    public LinearParams x(Tensor x) {
        x.writeTo(trib_linear_params.x(segment));
        return this;
    }

    /**
     * Sets {@code weight}.
     *
     * @param weight [N, K] PACKED; [2I, K] PACKED_GATE exactly when the epilogue is SILU_GATE
     * @return these params
     */
    public LinearParams weight(Tensor weight) {
        weight.writeTo(trib_linear_params.weight(segment));
        return this;
    }

    /**
     * Sets {@code bias}.
     *
     * @param bias [N] BF16, F16 or F32; {@link Tensor#NONE} for none
     * @return these params
     */
    public LinearParams bias(Tensor bias) {
        bias.writeTo(trib_linear_params.bias(segment));
        return this;
    }

    /**
     * Sets {@code y}.
     *
     * @param y [R + Q, N] F32, or with SILU_GATE [R + Q, I] F32 or of the weight's type, rounded; may not overlap x
     * @return these params
     */
    public LinearParams y(Tensor y) {
        y.writeTo(trib_linear_params.y(segment));
        return this;
    }

    /**
     * Sets what is done with the product.
     *
     * @param epilogue NONE unless set
     * @return these params
     */
    public LinearParams epilogue(Epilogue epilogue) {
        trib_linear_params.epilogue(segment, epilogue.code);
        return this;
    }

    /**
     * Sets the output parts, such as q | k | v or gate | up; an update of an adapter belongs to a part.
     *
     * @param columns columns of each of the 1 … {@link KernelLimits#MAX_PARTS} parts; their sum is N
     * @return these params
     */
    public LinearParams partColumns(int... columns) {
        if (columns.length < 1 || columns.length > KernelLimits.MAX_PARTS) {
            throw new IllegalArgumentException(
                    "linear has 1 to " + KernelLimits.MAX_PARTS + " output parts, given " + columns.length);
        }
        trib_linear_params.parts(segment, columns.length);
        for (int part = 0; part < KernelLimits.MAX_PARTS; part++) {
            trib_linear_params.part_columns(
                    segment, part, part < columns.length ? count("partColumns", columns[part]) : 0);
        }
        return this;
    }

    /**
     * Sets the table of low-rank updates. Without it no row is updated.
     *
     * @param table {@link LoraEntry} [adapters, parts]
     * @param adapters adapters in the table; 0 for none
     * @param maxRank greatest rank in the table
     * @return these params
     */
    public LinearParams lora(long table, int adapters, int maxRank) {
        trib_linear_params.lora_table(segment, table);
        trib_linear_params.adapters(segment, count("adapters", adapters));
        trib_linear_params.max_rank(segment, count("maxRank", maxRank));
        return this;
    }

    /**
     * Sets which rows each adapter updates.
     *
     * @param address int32 [maxSegments, 3]: first row, end row (indices of the row buffer), adapter or −1
     * @param maxSegments capacity of the segments
     * @param count address of int32 [1]: segments in use
     * @return these params
     */
    public LinearParams segments(long address, int maxSegments, long count) {
        trib_linear_params.segments(segment, address);
        trib_linear_params.max_segments(segment, count("maxSegments", maxSegments));
        trib_linear_params.segment_count(segment, count);
        return this;
    }

    @Override
    public LinearParams workspace(long address, long bytes) {
        trib_linear_params.workspace(segment, address);
        trib_linear_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_LINEAR();
    }
}
