// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_commit_path_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#commitPath}: moves K and V of the accepted nodes behind the committed tokens, in
 * every layer.
 */
public final class CommitPathParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public CommitPathParams(Arena arena) {
        super(arena, trib_commit_path_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public CommitPathParams step(KernelStep step) {
        trib_commit_path_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code cache}.
     *
     * @param cache the KV cache
     * @return these params
     */
    public CommitPathParams cache(KvCache cache) {
        cache.writeTo(trib_commit_path_params.cache(segment));
        return this;
    }

    /**
     * Sets the accepted paths, as {@link KernelContext#verifyTree} wrote them.
     *
     * @param count int32 [S]
     * @param node int32 [S, {@link KernelLimits#MAX_PATH}]
     * @return these params
     */
    public CommitPathParams accepted(long count, long node) {
        trib_commit_path_params.accepted_count(segment, count);
        trib_commit_path_params.accepted_node(segment, node);
        return this;
    }

    @Override
    public CommitPathParams workspace(long address, long bytes) {
        trib_commit_path_params.workspace(segment, address);
        trib_commit_path_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_COMMIT_PATH();
    }
}
