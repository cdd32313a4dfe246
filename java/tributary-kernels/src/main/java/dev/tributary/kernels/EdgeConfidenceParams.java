// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_edge_confidence_params;
import java.lang.foreign.Arena;

/**
 * Params of {@link KernelContext#edgeConfidence}: prunes nodes whose edge is unlikely, with their sub-trees, and
 * compacts the step in place.
 */
public final class EdgeConfidenceParams extends WorkspaceParams {
    /**
     * Creates params with every member zero.
     *
     * @param arena where the native struct lives
     */
    public EdgeConfidenceParams(Arena arena) {
        super(arena, trib_edge_confidence_params.layout());
    }

    /**
     * Sets {@code step}.
     *
     * @param step the step whose rows are worked on; its memory must outlive every call with these params
     * @return these params
     */
    public EdgeConfidenceParams step(KernelStep step) {
        trib_edge_confidence_params.step(segment, step.segment);
        return this;
    }

    /**
     * Sets {@code threshold}.
     *
     * @param threshold confidence below which a node goes: in [0, 1)
     * @return these params
     */
    public EdgeConfidenceParams threshold(float threshold) {
        trib_edge_confidence_params.threshold(segment, threshold);
        return this;
    }

    /**
     * Sets {@code x}.
     *
     * @param x [R + Q, h] F32: main states at insertion
     * @return these params
     */
    public EdgeConfidenceParams x(Tensor x) {
        x.writeTo(trib_edge_confidence_params.x(segment));
        return this;
    }

    /**
     * Sets {@code down}.
     *
     * @param down [rank, h] PACKED
     * @return these params
     */
    public EdgeConfidenceParams down(Tensor down) {
        down.writeTo(trib_edge_confidence_params.down(segment));
        return this;
    }

    /**
     * Sets {@code up}.
     *
     * @param up [h, rank] PACKED
     * @return these params
     */
    public EdgeConfidenceParams up(Tensor up) {
        up.writeTo(trib_edge_confidence_params.up(segment));
        return this;
    }

    /**
     * Sets {@code lmHead}.
     *
     * @param lmHead [V, h] PACKED
     * @return these params
     */
    public EdgeConfidenceParams lmHead(Tensor lmHead) {
        lmHead.writeTo(trib_edge_confidence_params.lm_head(segment));
        return this;
    }

    /**
     * Sets {@code rowSource}.
     *
     * @param rowSource address of int32 [Q], rewritten; 0 when Q = 0
     * @return these params
     */
    public EdgeConfidenceParams rowSource(long rowSource) {
        trib_edge_confidence_params.row_source(segment, rowSource);
        return this;
    }

    /**
     * Sets {@code confidence}.
     *
     * @param confidence address of out, float [R], by old row
     * @return these params
     */
    public EdgeConfidenceParams confidence(long confidence) {
        trib_edge_confidence_params.confidence(segment, confidence);
        return this;
    }

    /**
     * Sets {@code kept}.
     *
     * @param kept address of out, int32 [R]: old row of each new row
     * @return these params
     */
    public EdgeConfidenceParams kept(long kept) {
        trib_edge_confidence_params.kept(segment, kept);
        return this;
    }

    @Override
    public EdgeConfidenceParams workspace(long address, long bytes) {
        trib_edge_confidence_params.workspace(segment, address);
        trib_edge_confidence_params.workspace_bytes(segment, count("workspaceBytes", bytes));
        return this;
    }

    @Override
    int operation() {
        return Tributary.TRIB_OP_EDGE_CONFIDENCE();
    }
}
