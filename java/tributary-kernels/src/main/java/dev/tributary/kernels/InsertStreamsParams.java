// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_insert_streams_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#insertStreams}: {@code x[R + i] = source[rowSource[i]] + embeddings[rowEmbedding[i]]}
 * for stream rows.
 */
public final class InsertStreamsParams extends KernelParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public InsertStreamsParams(Arena arena) {
        super(arena, trib_insert_streams_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public InsertStreamsParams step(KernelStep step) {
        trib_insert_streams_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code source}.
     *
     * @param source [*, h] F32: main states at insertion; may be x itself
     * @return these params
     */
    public InsertStreamsParams source(Tensor source) {
        source.writeTo(trib_insert_streams_params.source(segment));
        return this;
    }

    /**
     * Sets {@code rowSource}.
     *
     * @param rowSource address of int32 [Q]: row of source for each stream row
     * @return these params
     */
    public InsertStreamsParams rowSource(long rowSource) {
        trib_insert_streams_params.row_source(segment, rowSource);
        return this;
    }

    /**
     * Sets {@code embeddings}.
     *
     * @param embeddings [E, h] BF16, F16 or F32: P_1 … P_γ of one adapter after another; E = γ without
     *     {@code rowEmbedding}
     * @return these params
     */
    public InsertStreamsParams embeddings(Tensor embeddings) {
        embeddings.writeTo(trib_insert_streams_params.embeddings(segment));
        return this;
    }

    /**
     * Sets {@code rowEmbedding}.
     *
     * @param rowEmbedding address of int32 [Q]: row of embeddings for each stream row; 0 = stream j takes row j − 1
     * @return these params
     */
    public InsertStreamsParams rowEmbedding(long rowEmbedding) {
        trib_insert_streams_params.row_embedding(segment, rowEmbedding);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [R + Q, h] F32
     * @return these params
     */
    public InsertStreamsParams x(Tensor x) {
        x.writeTo(trib_insert_streams_params.x(segment));
        return this;
    }
}
