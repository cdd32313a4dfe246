// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_verify_tree_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#verifyTree}: the target's choice along the tree, the accepted path and the bonus
 * token.
 */
public final class VerifyTreeParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public VerifyTreeParams(Arena arena) {
        super(arena, trib_verify_tree_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public VerifyTreeParams step(KernelStep step) {
        trib_verify_tree_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code sampling}.
     *
     * @param sampling address of {@link SamplingEntry} [S]
     * @return these params
     */
    public VerifyTreeParams sampling(long sampling) {
        trib_verify_tree_params.sampling(segment, sampling);
        return this;
    }

    /**
     * Sets {@code rowLogits}.
     *
     * @param rowLogits address of int32 [R]: where in argmax and logits a main row's results stand, −1 = nowhere; 0 =
     *     row r stands at r
     * @return these params
     */
    public VerifyTreeParams rowLogits(long rowLogits) {
        trib_verify_tree_params.row_logits(segment, rowLogits);
        return this;
    }

    /**
     * Sets {@code argmax}.
     *
     * @param argmax address of int32 [*], from {@link KernelContext#lmHead}
     * @return these params
     */
    public VerifyTreeParams argmax(long argmax) {
        trib_verify_tree_params.argmax(segment, argmax);
        return this;
    }

    /**
     * Sets {@code logits}.
     *
     * @param logits [*, V] F32; {@link Tensor#NONE} when every active sequence is greedy
     * @return these params
     */
    public VerifyTreeParams logits(Tensor logits) {
        logits.writeTo(trib_verify_tree_params.logits(segment));
        return this;
    }

    /**
     * Sets where the accepted paths go.
     *
     * @param count out, int32 [S]: nodes of the path, the root included
     * @param node out, int32 [S, {@link KernelLimits#MAX_PATH}]
     * @param row out, int32 [S, {@link KernelLimits#MAX_PATH}]; of a causal sequence entry 0 is its last main row
     * @return these params
     */
    public VerifyTreeParams accepted(long count, long node, long row) {
        trib_verify_tree_params.accepted_count(segment, count);
        trib_verify_tree_params.accepted_node(segment, node);
        trib_verify_tree_params.accepted_row(segment, row);
        return this;
    }

    /**
     * Sets {@code maxAdjustedRows}.
     *
     * @param maxAdjustedRows greatest number of rows, with results, of sequences that have adjustments, allowed tokens or
     *     typical acceptance; 0 = there are none
     * @return these params
     */
    public VerifyTreeParams maxAdjustedRows(int maxAdjustedRows) {
        trib_verify_tree_params.max_adjusted_rows(segment, count("maxAdjustedRows", maxAdjustedRows));
        return this;
    }

    /**
     * Sets where log-probabilities go.
     *
     * @param logSumExp address of float [*], from {@link KernelContext#lmHead}; 0 = none are wanted
     * @param logProbability out, float [S, {@link KernelLimits#MAX_PATH}]: of the token that follows each entry of the
     *     accepted path; of a causal sequence entry 0 is the bonus's; 0 = none are wanted
     * @return these params
     */
    public VerifyTreeParams logProbability(long logSumExp, long logProbability) {
        trib_verify_tree_params.log_sum_exp(segment, logSumExp);
        trib_verify_tree_params.log_probability(segment, logProbability);
        return this;
    }

    /**
     * Sets {@code bonus}.
     *
     * @param bonus address of out, int32 [S]; −1 for inactive sequences
     * @return these params
     */
    public VerifyTreeParams bonus(long bonus) {
        trib_verify_tree_params.bonus(segment, bonus);
        return this;
    }

    @Override
    public VerifyTreeParams workspace(long address, long bytes) {
        trib_verify_tree_params.workspace(segment, address);
        trib_verify_tree_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_VERIFY_TREE();
    }
}
