// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_top_k_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#topK}: the k largest logits of each row, descending, ties to the lower id.
 */
public final class TopKParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public TopKParams(Arena arena) {
        super(arena, trib_top_k_params.layout());
    }

    /**
     * Sets {@code k}.
     *
     * @param k 1 … {@link KernelLimits#MAX_TOP_K}
     * @return these params
     */
    public TopKParams k(int k) {
        trib_top_k_params.k(segment, count("k", k));
        return this;
    }

    /**
     * Sets {@code logits}.
     *
     * @param logits [maxRows, V] F32
     * @return these params
     */
    public TopKParams logits(Tensor logits) {
        logits.writeTo(trib_top_k_params.logits(segment));
        return this;
    }

    /**
     * Sets {@code rowCount}.
     *
     * @param rowCount address of int32 [1]: rows in use
     * @return these params
     */
    public TopKParams rowCount(long rowCount) {
        trib_top_k_params.row_count(segment, rowCount);
        return this;
    }

    /**
     * Sets where the results go.
     *
     * @param ids out, int32 [maxRows, k]
     * @param logits out, float [maxRows, k]
     * @return these params
     */
    public TopKParams top(long ids, long logits) {
        trib_top_k_params.top_ids(segment, ids);
        trib_top_k_params.top_logits(segment, logits);
        return this;
    }

    @Override
    public TopKParams workspace(long address, long bytes) {
        trib_top_k_params.workspace(segment, address);
        trib_top_k_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_TOP_K();
    }
}
