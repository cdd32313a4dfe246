// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_multi_stream_attention_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#multiStreamAttention}: {@code softmax(scale · q Kᵀ) V} over the keys that each row
 * sees.
 */
public final class MultiStreamAttentionParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public MultiStreamAttentionParams(Arena arena) {
        super(arena, trib_multi_stream_attention_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public MultiStreamAttentionParams step(KernelStep step) {
        trib_multi_stream_attention_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code rows}.
     *
     * @param rows which rows of the step are worked on
     * @return these params
     */
    public MultiStreamAttentionParams rows(Rows rows) {
        trib_multi_stream_attention_params.rows(segment, rows.code);
        return this;
    }

    /**
     * Sets {@code q}.
     *
     * @param q [R + Q, q_heads, d] of the cache's dtype, rotated
     * @return these params
     */
    public MultiStreamAttentionParams q(Tensor q) {
        q.writeTo(trib_multi_stream_attention_params.q(segment));
        return this;
    }

    /**
     * Sets {@code y}.
     *
     * @param y [R + Q, q_heads, d] F32, BF16 or F16; may not overlap q
     * @return these params
     */
    public MultiStreamAttentionParams y(Tensor y) {
        y.writeTo(trib_multi_stream_attention_params.y(segment));
        return this;
    }

    /**
     * Sets {@code cache}.
     *
     * @param cache the KV cache
     * @return these params
     */
    public MultiStreamAttentionParams cache(KvCache cache) {
        cache.writeTo(trib_multi_stream_attention_params.cache(segment));
        return this;
    }

    /**
     * Sets {@code streamK}.
     *
     * @param streamK [Q, kv_heads, d] of the cache's dtype; {@link Tensor#NONE} when Q = 0
     * @return these params
     */
    public MultiStreamAttentionParams streamK(Tensor streamK) {
        streamK.writeTo(trib_multi_stream_attention_params.stream_k(segment));
        return this;
    }

    /**
     * Sets {@code streamV}.
     *
     * @param streamV as streamK
     * @return these params
     */
    public MultiStreamAttentionParams streamV(Tensor streamV) {
        streamV.writeTo(trib_multi_stream_attention_params.stream_v(segment));
        return this;
    }

    /**
     * Sets {@code layer}.
     *
     * @param layer layer of the cache
     * @return these params
     */
    public MultiStreamAttentionParams layer(int layer) {
        trib_multi_stream_attention_params.layer(segment, count("layer", layer));
        return this;
    }

    /**
     * Sets {@code scale}.
     *
     * @param scale factor of the scores, usually 1/√d
     * @return these params
     */
    public MultiStreamAttentionParams scale(float scale) {
        trib_multi_stream_attention_params.scale(segment, scale);
        return this;
    }

    /**
     * Sets what the next operation reads, for a device to fetch ahead.
     *
     * @param address address of the weight of the operation that follows, never written while a pass runs
     * @param bytes the weight's size
     * @return these params
     */
    public MultiStreamAttentionParams nextRead(long address, long bytes) {
        trib_multi_stream_attention_params.next_read(segment, address);
        trib_multi_stream_attention_params.next_read_bytes(segment, count("bytes", bytes));
        return this;
    }

    @Override
    public MultiStreamAttentionParams workspace(long address, long bytes) {
        trib_multi_stream_attention_params.workspace(segment, address);
        trib_multi_stream_attention_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_ATTENTION();
    }
}
