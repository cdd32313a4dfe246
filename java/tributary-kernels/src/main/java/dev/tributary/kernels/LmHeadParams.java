// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_lm_head_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#lmHead}: {@code logits = x Wᵀ}, reduced per row to argmax, maximum, log-sum-exp and
 * the top k.
 */
public final class LmHeadParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public LmHeadParams(Arena arena) {
        super(arena, trib_lm_head_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public LmHeadParams step(KernelStep step) {
        trib_lm_head_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code rows}.
     *
     * @param rows which rows of the step are worked on
     * @return these params
     */
    public LmHeadParams rows(Rows rows) {
        trib_lm_head_params.rows(segment, rows.code);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [R + Q, h] after the final norm: F32, or of the weight's type, which gives the same bits
     * @return these params
     */
    public LmHeadParams x(Tensor x) {
        x.writeTo(trib_lm_head_params.x(segment));
        return this;
    }

    /**
     * Sets {@code weight}.
     *
     * @param weight [V, h] PACKED
     * @return these params
     */
    public LmHeadParams weight(Tensor weight) {
        weight.writeTo(trib_lm_head_params.weight(segment));
        return this;
    }

    /**
     * Takes {@code x[index[i]]} for {@code i < *count} instead of the step's rows, with outputs at i.
     *
     * @param index int32 [maxRows]; 0 for none
     * @param count int32 [1]; 0 for none
     * @return these params
     */
    public LmHeadParams rowIndex(long index, long count) {
        trib_lm_head_params.row_index(segment, index);
        trib_lm_head_params.row_count(segment, count);
        return this;
    }

    /**
     * Sets {@code maxRows}.
     *
     * @param maxRows capacity of the outputs: R + Q, or that of the row index
     * @return these params
     */
    public LmHeadParams maxRows(int maxRows) {
        trib_lm_head_params.max_rows(segment, count("maxRows", maxRows));
        return this;
    }

    /**
     * Sets {@code k}.
     *
     * @param k tokens of the top k: 0 … {@link KernelLimits#MAX_TOP_K}
     * @return these params
     */
    public LmHeadParams k(int k) {
        trib_lm_head_params.k(segment, count("k", k));
        return this;
    }

    /**
     * Sets {@code vocabularyOffset}.
     *
     * @param vocabularyOffset added to every token id: the first id of this shard of the vocabulary
     * @return these params
     */
    public LmHeadParams vocabularyOffset(int vocabularyOffset) {
        trib_lm_head_params.vocabulary_offset(segment, count("vocabularyOffset", vocabularyOffset));
        return this;
    }

    /**
     * Sets {@code argmax}.
     *
     * @param argmax address of out, int32 [maxRows]; ties go to the lowest id
     * @return these params
     */
    public LmHeadParams argmax(long argmax) {
        trib_lm_head_params.argmax(segment, argmax);
        return this;
    }

    /**
     * Sets {@code maxLogit}.
     *
     * @param maxLogit address of out, float [maxRows]; 0 for none
     * @return these params
     */
    public LmHeadParams maxLogit(long maxLogit) {
        trib_lm_head_params.max_logit(segment, maxLogit);
        return this;
    }

    /**
     * Sets {@code logSumExp}.
     *
     * @param logSumExp address of out, float [maxRows]
     * @return these params
     */
    public LmHeadParams logSumExp(long logSumExp) {
        trib_lm_head_params.log_sum_exp(segment, logSumExp);
        return this;
    }

    /**
     * Sets where the top k go, in descending order, ties to the lower id. Both 0 when k = 0.
     *
     * @param ids out, int32 [maxRows, k]
     * @param logits out, float [maxRows, k]
     * @return these params
     */
    public LmHeadParams top(long ids, long logits) {
        trib_lm_head_params.top_ids(segment, ids);
        trib_lm_head_params.top_logits(segment, logits);
        return this;
    }

    /**
     * Sets {@code logits}.
     *
     * @param logits out, [maxRows, V] F32; {@link Tensor#NONE} for none
     * @return these params
     */
    public LmHeadParams logits(Tensor logits) {
        logits.writeTo(trib_lm_head_params.logits(segment));
        return this;
    }

    @Override
    public LmHeadParams workspace(long address, long bytes) {
        trib_lm_head_params.workspace(segment, address);
        trib_lm_head_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_LM_HEAD();
    }
}
