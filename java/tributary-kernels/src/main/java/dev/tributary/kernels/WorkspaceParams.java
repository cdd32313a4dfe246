// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;

/**
 * Params of an operation that needs workspace. How much is asked of {@link KernelContext#workspaceSize} once everything
 * else is set; operations of one context run one after another and may share the same workspace.
 */
public abstract sealed class WorkspaceParams extends KernelParams
        permits LinearParams,
                MultiStreamAttentionParams,
                EdgeConfidenceParams,
                LmHeadParams,
                TopKParams,
                VerifyTreeParams,
                CommitPathParams {

    WorkspaceParams(Arena arena, GroupLayout layout) {
        super(arena, layout);
    }

    /**
     * Sets the workspace.
     *
     * @param address address of the workspace; 0 for none
     * @param bytes its size in bytes, at least {@link KernelContext#workspaceSize}
     * @return these params
     */
    public abstract WorkspaceParams workspace(long address, long bytes);

    /** The operation's number in the C ABI. */
    abstract int operation();
}
