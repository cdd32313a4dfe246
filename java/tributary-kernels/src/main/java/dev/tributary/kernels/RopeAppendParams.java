// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_rope_append_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#ropeAppend}: rotates q and k; writes q for attention, and k and v of main rows to the
 * cache and of stream rows to the scratch.
 */
public final class RopeAppendParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public RopeAppendParams(Arena arena) {
        super(arena, trib_rope_append_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public RopeAppendParams step(KernelStep step) {
        trib_rope_append_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code rows}.
     *
     * @param rows which rows of the step are worked on
     * @return these params
     */
    public RopeAppendParams rows(Rows rows) {
        trib_rope_append_params.rows(segment, rows.code);
        return this;
    }

    /**
     * Sets {@code q}.
     *
     * @param q [R + Q, q_heads, d] F32
     * @return these params
     */
    public RopeAppendParams q(Tensor q) {
        q.writeTo(trib_rope_append_params.q(segment));
        return this;
    }

    /**
     * Sets {@code k}.
     *
     * @param k [R + Q, kv_heads, d] F32
     * @return these params
     */
    public RopeAppendParams k(Tensor k) {
        k.writeTo(trib_rope_append_params.k(segment));
        return this;
    }

    /**
     * Sets {@code v}.
     *
     * @param v [R + Q, kv_heads, d] F32
     * @return these params
     */
    public RopeAppendParams v(Tensor v) {
        v.writeTo(trib_rope_append_params.v(segment));
        return this;
    }

    /**
     * Sets {@code cosSin}.
     *
     * @param cosSin [positions, rotaryDimension] F32: row p = cosines, then sines, of position p
     * @return these params
     */
    public RopeAppendParams cosSin(Tensor cosSin) {
        cosSin.writeTo(trib_rope_append_params.cos_sin(segment));
        return this;
    }

    /**
     * Sets {@code cache}.
     *
     * @param cache the KV cache
     * @return these params
     */
    public RopeAppendParams cache(KvCache cache) {
        cache.writeTo(trib_rope_append_params.cache(segment));
        return this;
    }

    /**
     * Sets {@code streamK}.
     *
     * @param streamK [Q, kv_heads, d] of the cache's dtype; {@link Tensor#NONE} when Q = 0
     * @return these params
     */
    public RopeAppendParams streamK(Tensor streamK) {
        streamK.writeTo(trib_rope_append_params.stream_k(segment));
        return this;
    }

    /**
     * Sets {@code streamV}.
     *
     * @param streamV as streamK
     * @return these params
     */
    public RopeAppendParams streamV(Tensor streamV) {
        streamV.writeTo(trib_rope_append_params.stream_v(segment));
        return this;
    }

    /**
     * Sets {@code layer}.
     *
     * @param layer layer of the cache
     * @return these params
     */
    public RopeAppendParams layer(int layer) {
        trib_rope_append_params.layer(segment, count("layer", layer));
        return this;
    }

    /**
     * Sets {@code rotaryDimension}.
     *
     * @param rotaryDimension leading elements of a head that are rotated: even, at most d
     * @return these params
     */
    public RopeAppendParams rotaryDimension(int rotaryDimension) {
        trib_rope_append_params.rotary_dim(segment, count("rotaryDimension", rotaryDimension));
        return this;
    }

    /**
     * Sets {@code rotatedQ}.
     *
     * @param rotatedQ out, [R + Q, q_heads, d] of the cache's dtype; may not overlap q
     * @return these params
     */
    public RopeAppendParams rotatedQ(Tensor rotatedQ) {
        rotatedQ.writeTo(trib_rope_append_params.rotated_q(segment));
        return this;
    }
}
