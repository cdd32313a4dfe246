// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_step;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One step of the device: capacities, and the addresses of everything that changes from pass to pass. Both are fixed
 * when the step is built; operations read through the addresses, and may rewrite what they find there.
 *
 * <p>Row buffers hold R + Q rows: main rows first, stream rows from R. The native struct lives in the arena, and the
 * params that name a step hold its address only: the arena must outlive every call with such params.
 */
public final class KernelStep {
    final MemorySegment segment;

    /**
     * Creates a step with every member zero.
     *
     * @param arena where the native struct lives
     */
    public KernelStep(Arena arena) {
        segment = arena.allocate(trib_step.layout());
        trib_step.struct_size(segment, (int) segment.byteSize());
    }

    /**
     * Sets {@code maxSequences}.
     *
     * @param maxSequences S, capacity of sequences
     * @return this step
     */
    public KernelStep maxSequences(int maxSequences) {
        trib_step.max_sequences(segment, KernelParams.count("maxSequences", maxSequences));
        return this;
    }

    /**
     * Sets {@code maxMainRows}.
     *
     * @param maxMainRows R, capacity of main rows
     * @return this step
     */
    public KernelStep maxMainRows(int maxMainRows) {
        trib_step.max_main_rows(segment, KernelParams.count("maxMainRows", maxMainRows));
        return this;
    }

    /**
     * Sets {@code maxStreamRows}.
     *
     * @param maxStreamRows Q, capacity of stream rows: a multiple of gamma
     * @return this step
     */
    public KernelStep maxStreamRows(int maxStreamRows) {
        trib_step.max_stream_rows(segment, KernelParams.count("maxStreamRows", maxStreamRows));
        return this;
    }

    /**
     * Sets {@code gamma}.
     *
     * @param gamma γ, 0 … {@link KernelLimits#MAX_GAMMA}; 0 when Q = 0
     * @return this step
     */
    public KernelStep gamma(int gamma) {
        trib_step.gamma(segment, KernelParams.count("gamma", gamma));
        return this;
    }

    /**
     * Sets {@code maxPages}.
     *
     * @param maxPages P, capacity of pages of one sequence
     * @return this step
     */
    public KernelStep maxPages(int maxPages) {
        trib_step.max_pages(segment, KernelParams.count("maxPages", maxPages));
        return this;
    }

    /**
     * Sets {@code maxNodes}.
     *
     * @param maxNodes capacity of treeToken and treeParent
     * @return this step
     */
    public KernelStep maxNodes(int maxNodes) {
        trib_step.max_nodes(segment, KernelParams.count("maxNodes", maxNodes));
        return this;
    }

    /**
     * Sets {@code maxMaskWords}.
     *
     * @param maxMaskWords capacity of masks, in words of 64 bits
     * @return this step
     */
    public KernelStep maxMaskWords(int maxMaskWords) {
        trib_step.max_mask_words(segment, KernelParams.count("maxMaskWords", maxMaskWords));
        return this;
    }

    /**
     * Sets {@code counts}.
     *
     * @param counts address of int32 [4]: sequences, main rows, stream rows, 0
     * @return this step
     */
    public KernelStep counts(long counts) {
        trib_step.counts(segment, counts);
        return this;
    }

    /**
     * Sets {@code rowSequence}.
     *
     * @param rowSequence address of int32 [R + Q]
     * @return this step
     */
    public KernelStep rowSequence(long rowSequence) {
        trib_step.row_sequence(segment, rowSequence);
        return this;
    }

    /**
     * Sets {@code rowNode}.
     *
     * @param rowNode address of int32 [R + Q]: of a main row its node, or its index in the chunk; of a stream row its
     *     anchor's node, or −1 when the anchor is committed
     * @return this step
     */
    public KernelStep rowNode(long rowNode) {
        trib_step.row_node(segment, rowNode);
        return this;
    }

    /**
     * Sets {@code rowPosition}.
     *
     * @param rowPosition address of int32 [R + Q]: position of the newest main key that the row sees
     * @return this step
     */
    public KernelStep rowPosition(long rowPosition) {
        trib_step.row_position(segment, rowPosition);
        return this;
    }

    /**
     * Sets {@code rowRotary}.
     *
     * @param rowRotary address of int32 [R + Q]: position for RoPE
     * @return this step
     */
    public KernelStep rowRotary(long rowRotary) {
        trib_step.row_rotary(segment, rowRotary);
        return this;
    }

    /**
     * Sets {@code rowFirstVisible}.
     *
     * @param rowFirstVisible address of int32 [R + Q]: oldest visible position; 0 without a sliding window
     * @return this step
     */
    public KernelStep rowFirstVisible(long rowFirstVisible) {
        trib_step.row_first_visible(segment, rowFirstVisible);
        return this;
    }

    /**
     * Sets {@code rowStream}.
     *
     * @param rowStream address of int32 [R + Q]: 0 for a main row, j for stream j
     * @return this step
     */
    public KernelStep rowStream(long rowStream) {
        trib_step.row_stream(segment, rowStream);
        return this;
    }

    /**
     * Sets {@code sequenceLength}.
     *
     * @param sequenceLength address of int32 [S]: L, committed tokens
     * @return this step
     */
    public KernelStep sequenceLength(long sequenceLength) {
        trib_step.sequence_length(segment, sequenceLength);
        return this;
    }

    /**
     * Sets {@code sequenceRows}.
     *
     * @param sequenceRows address of int32 [S + 1]: main rows of sequence s are [s], …, [s + 1] − 1
     * @return this step
     */
    public KernelStep sequenceRows(long sequenceRows) {
        trib_step.sequence_rows(segment, sequenceRows);
        return this;
    }

    /**
     * Sets {@code treeBegin}.
     *
     * @param treeBegin address of int32 [S + 1]: nodes of sequence s; T = [s + 1] − [s], 0 for a causal sequence
     * @return this step
     */
    public KernelStep treeBegin(long treeBegin) {
        trib_step.tree_begin(segment, treeBegin);
        return this;
    }

    /**
     * Sets {@code treeToken}.
     *
     * @param treeToken address of int32 [maxNodes]
     * @return this step
     */
    public KernelStep treeToken(long treeToken) {
        trib_step.tree_token(segment, treeToken);
        return this;
    }

    /**
     * Sets {@code treeParent}.
     *
     * @param treeParent address of int32 [maxNodes]: node index within the tree, −1 for the root
     * @return this step
     */
    public KernelStep treeParent(long treeParent) {
        trib_step.tree_parent(segment, treeParent);
        return this;
    }

    /**
     * Sets {@code maskBegin}.
     *
     * @param maskBegin address of int32 [S]: first word of the sequence's masks
     * @return this step
     */
    public KernelStep maskBegin(long maskBegin) {
        trib_step.mask_begin(segment, maskBegin);
        return this;
    }

    /**
     * Sets {@code masks}.
     *
     * @param masks address of uint64 [maxMaskWords]: for each node ⌈T/64⌉ words, a bit for the node itself and each
     *     ancestor
     * @return this step
     */
    public KernelStep masks(long masks) {
        trib_step.masks(segment, masks);
        return this;
    }

    /**
     * Sets {@code pageTable}.
     *
     * @param pageTable address of int32 [S, P]
     * @return this step
     */
    public KernelStep pageTable(long pageTable) {
        trib_step.page_table(segment, pageTable);
        return this;
    }

    /**
     * Sets {@code boundMainRows}: what the host knows of the pass, or of all passes that one captured graph serves. A
     * GPU sizes its launches by the bounds, so that a small pass in a large capacity stays cheap; they never change a
     * row's bits. A pass with more rows than its bound is the caller's mistake, and rows beyond it may be left out.
     *
     * @param rows main rows are at most this many, itself at most R; 0 = R
     * @return this step
     */
    public KernelStep boundMainRows(int rows) {
        trib_step.bound_main_rows(segment, KernelParams.count("boundMainRows", rows));
        return this;
    }

    /**
     * Sets {@code boundStreamRows}, likewise.
     *
     * @param rows stream rows are at most this many, itself at most Q; 0 = Q
     * @return this step
     * @see #boundMainRows
     */
    public KernelStep boundStreamRows(int rows) {
        trib_step.bound_stream_rows(segment, KernelParams.count("boundStreamRows", rows));
        return this;
    }

    /**
     * Sets {@code boundContext}, likewise.
     *
     * @param positions every row's position ({@link #rowPosition}) is below it, itself at most P ·
     *     {@link KernelLimits#PAGE_TOKENS}; 0 = that
     * @return this step
     * @see #boundMainRows
     */
    public KernelStep boundContext(int positions) {
        trib_step.bound_context(segment, KernelParams.count("boundContext", positions));
        return this;
    }
}
