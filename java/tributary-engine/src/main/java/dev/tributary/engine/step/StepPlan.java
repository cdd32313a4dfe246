// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.TransferBlock;
import dev.tributary.engine.model.StreamsConfig;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.kernels.KernelStep;
import dev.tributary.kernels.SamplingEntry;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * The rows of one pass, written into one block that goes to the device as a whole. A plan is begun, sequences are opened
 * one after another with their rows and streams, then it is finished; the next pass begins it anew.
 */
public final class StepPlan {
    private static final int ALIGNMENT = 64;
    private static final int SEGMENT_WORDS = 3;

    private final StepCapacity capacity;
    private final StreamsConfig.Position position;
    private final TransferBlock block;
    private final MemorySegment host;
    private final KernelStep step;
    private final KernelStep windowedStep;
    private final int window;

    private final long counts;
    private final long rowSequence;
    private final long rowNode;
    private final long rowPosition;
    private final long rowRotary;
    private final long rowStream;
    private final long rowWindowBegin;
    private final long sequenceLength;
    private final long sequenceRows;
    private final long treeBegin;
    private final long treeToken;
    private final long treeParent;
    private final long maskBegin;
    private final long masks;
    private final long pageTable;
    private final long tokens;
    private final long rowSource;
    private final long rowEmbedding;
    private final long rowLogits;
    private final long logitRows;
    private final long streamLogitRows;
    private final long logitCounts;
    private final long segments;
    private final long segmentCount;
    private final long sampling;
    private final long identity;

    private final long[] maskWords;
    private int sequences;
    private int mainRows;
    private int streamRows;
    private int nodes;
    private int usedMaskWords;
    private int mainLogits;
    private int lastPosition;
    private int usedSegments;
    private int segmentAdapter;
    private boolean needsLogits;
    private boolean adjusts;
    /** Once a sequence needed them. */
    private @Nullable SamplingTables tables;

    /**
     * Lays the block out and describes it to the kernels.
     *
     * @param device whose memory holds it
     * @param arena where the native description lives
     * @param capacity what it can hold
     * @param position RoPE position of streams
     * @param window tokens that a row sees in layers with a sliding window, its own among them
     */
    public StepPlan(
            Device device, Arena arena, StepCapacity capacity, StreamsConfig.Position position, OptionalInt window) {
        this.capacity = capacity;
        this.position = position;
        this.window = window.orElse(0);
        maskWords = new long[capacity.maskWords()];
        int rows = capacity.rows();
        int main = capacity.mainRows();
        int streams = Math.max(1, capacity.streamRows());
        int sequenceCapacity = capacity.sequences();

        Layout layout = new Layout();
        counts = layout.ints(4);
        rowSequence = layout.ints(rows);
        rowNode = layout.ints(rows);
        rowPosition = layout.ints(rows);
        rowRotary = layout.ints(rows);
        rowStream = layout.ints(rows);
        rowWindowBegin = layout.ints(window.isPresent() ? rows : 0);
        sequenceLength = layout.ints(sequenceCapacity);
        sequenceRows = layout.ints(sequenceCapacity + 1);
        treeBegin = layout.ints(sequenceCapacity + 1);
        treeToken = layout.ints(main);
        treeParent = layout.ints(main);
        maskBegin = layout.ints(sequenceCapacity);
        masks = layout.longs(capacity.maskWords());
        pageTable = layout.ints((long) sequenceCapacity * capacity.pages());
        tokens = layout.ints(main);
        rowSource = layout.ints(streams);
        rowEmbedding = layout.ints(streams);
        rowLogits = layout.ints(main);
        logitRows = layout.ints(rows);
        streamLogitRows = layout.ints(streams);
        logitCounts = layout.ints(3);
        segments = layout.ints((long) SEGMENT_WORDS * capacity.segments());
        segmentCount = layout.ints(1);
        sampling = layout.bytes(sequenceCapacity * SamplingEntry.BYTES);
        // Never written again: all zeros is "no sliding window", and 0, 1, 2, … copies rows in order.
        long rowFirstVisible = layout.ints(rows);
        identity = layout.ints(main);

        block = device.allocateBlock(layout.size());
        host = block.host();
        for (int row = 0; row < main; row++) {
            putInt(identity, row, row);
        }
        step = describe(arena, rowFirstVisible);
        windowedStep = window.isPresent() ? describe(arena, rowWindowBegin) : step;
    }

    private KernelStep describe(Arena arena, long rowFirstVisible) {
        return new KernelStep(arena)
                .maxSequences(capacity.sequences())
                .maxMainRows(capacity.mainRows())
                .maxStreamRows(capacity.streamRows())
                .gamma(capacity.gamma())
                .maxPages(capacity.pages())
                .maxNodes(capacity.mainRows())
                .maxMaskWords(capacity.maskWords())
                .counts(address(counts))
                .rowSequence(address(rowSequence))
                .rowNode(address(rowNode))
                .rowPosition(address(rowPosition))
                .rowRotary(address(rowRotary))
                .rowFirstVisible(address(rowFirstVisible))
                .rowStream(address(rowStream))
                .sequenceLength(address(sequenceLength))
                .sequenceRows(address(sequenceRows))
                .treeBegin(address(treeBegin))
                .treeToken(address(treeToken))
                .treeParent(address(treeParent))
                .maskBegin(address(maskBegin))
                .masks(address(masks))
                .pageTable(address(pageTable));
    }

    /** {@return what it can hold} */
    public StepCapacity capacity() {
        return capacity;
    }

    /** Begins a new pass: no sequences, no rows. */
    public void begin() {
        sequences = 0;
        mainRows = 0;
        streamRows = 0;
        nodes = 0;
        usedMaskWords = 0;
        mainLogits = 0;
        lastPosition = 0;
        usedSegments = 0;
        needsLogits = false;
        adjusts = false;
        if (tables != null) {
            tables.reset();
        }
    }

    /**
     * Opens the next sequence.
     *
     * @param cache its pages, reserved for the rows that follow
     * @return its index in this step
     */
    public int openSequence(SequenceCache cache) {
        int sequence = sequences++;
        putInt(sequenceLength, sequence, cache.length());
        putInt(sequenceRows, sequence, mainRows);
        putInt(treeBegin, sequence, nodes);
        putInt(maskBegin, sequence, usedMaskWords);
        long table = pageTable + (long) sequence * capacity.pages() * Integer.BYTES;
        for (int i = 0; i < cache.pageCount(); i++) {
            putInt(table, i, cache.page(i));
        }
        choose(sequence, Sampling.NONE, 0);
        return sequence;
    }

    /**
     * Adds causal rows to the newest sequence: the tokens behind its committed ones.
     *
     * @param source tokens
     * @param from first of them
     * @param count how many
     * @return the first row
     */
    public int addChunk(int[] source, int from, int count) {
        int sequence = sequences - 1;
        int length = host.get(JAVA_INT, sequenceLength + (long) sequence * Integer.BYTES);
        int first = mainRows;
        for (int i = 0; i < count; i++) {
            addMainRow(sequence, i, length + i, source[from + i]);
        }
        return first;
    }

    /**
     * Adds a token tree to the newest sequence, one row per node; every node's logits are wanted.
     *
     * @param tree the tree
     * @return the row of its root
     */
    public int addTree(TokenTree tree) {
        int sequence = sequences - 1;
        int length = host.get(JAVA_INT, sequenceLength + (long) sequence * Integer.BYTES);
        int first = mainRows;
        for (int node = 0; node < tree.size(); node++) {
            putInt(treeToken, nodes, tree.token(node));
            putInt(treeParent, nodes, tree.parent(node));
            nodes++;
            wantLogits(addMainRow(sequence, node, length + tree.depth(node), tree.token(node)));
        }
        tree.writeMasks(maskWords, usedMaskWords);
        usedMaskWords += tree.size() * tree.maskWords();
        return first;
    }

    /**
     * Asks for the logits of a main row.
     *
     * @param row the row
     */
    public void wantLogits(int row) {
        putInt(rowLogits, row, mainLogits);
        putInt(logitRows, mainLogits, row);
        mainLogits++;
    }

    /**
     * Adds the streams of an anchor.
     *
     * @param sequence the anchor's sequence
     * @param source row of the main states that the streams are inserted from
     * @param node the anchor's node (or index in its chunk), or −1 when it is committed
     * @param anchorPosition the anchor's position
     * @param adapter the adapter whose streams they are
     * @return index of the first of γ stream rows
     */
    public int addStreams(int sequence, int source, int node, int anchorPosition, int adapter) {
        int first = streamRows;
        openSegment(adapter);
        for (int j = 1; j <= capacity.gamma(); j++) {
            int row = capacity.mainRows() + streamRows;
            putInt(rowSequence, row, sequence);
            putInt(rowNode, row, node);
            putInt(rowPosition, row, anchorPosition);
            putInt(rowRotary, row, position == StreamsConfig.Position.OFFSET ? anchorPosition + j : anchorPosition);
            putInt(rowStream, row, j);
            putWindow(row, anchorPosition);
            putInt(rowSource, streamRows, source);
            putInt(rowEmbedding, streamRows, adapter * capacity.gamma() + j - 1);
            putInt(streamLogitRows, streamRows, row);
            streamRows++;
        }
        endSegment();
        lastPosition = Math.max(lastPosition, anchorPosition);
        return first;
    }

    /** Rows that follow have this adapter: those of the segment before, or of a new one. */
    private void openSegment(int adapter) {
        if (usedSegments == 0 || adapter != segmentAdapter) {
            putInt(segments, SEGMENT_WORDS * usedSegments, capacity.mainRows() + streamRows);
            putInt(segments, SEGMENT_WORDS * usedSegments + 2, adapter);
            usedSegments++;
            segmentAdapter = adapter;
        }
    }

    private void endSegment() {
        putInt(segments, SEGMENT_WORDS * (usedSegments - 1) + 1, capacity.mainRows() + streamRows);
    }

    /**
     * Asks for a target choice.
     *
     * @param sequence the sequence
     * @param rule how to choose
     * @param generated tokens that the sequence has generated so far
     */
    public void choose(int sequence, Sampling rule, int generated) {
        MemorySegment table = host.asSlice(sampling);
        if (rule.active()) {
            SamplingEntry.write(
                    table,
                    sequence,
                    rule.seed(),
                    rule.temperature(),
                    rule.topP(),
                    rule.minP(),
                    rule.topK(),
                    rule.choice());
            SamplingEntry.progress(table, sequence, generated);
            if (rule.typical().epsilon() > 0) {
                SamplingEntry.acceptTypical(
                        table,
                        sequence,
                        rule.typical().epsilon(),
                        rule.typical().delta());
                adjusts = true;
            }
        } else {
            SamplingEntry.deactivate(table, sequence);
        }
        needsLogits |= rule.active() && rule.temperature() > 0;
    }

    /**
     * Adds penalties and biases to the choice of a sequence.
     *
     * @param with where they are kept until the pass is over
     * @param sequence the sequence, whose choice was asked for
     * @param penalties of its tokens
     * @param counts of its text before the tree's root
     * @param tree its tree; empty for a causal sequence
     */
    public void adjust(
            SamplingTables with,
            int sequence,
            Sampling.Penalties penalties,
            TokenCounts counts,
            Optional<TokenTree> tree) {
        tree.ifPresent(counts::prepare);
        tables = with;
        SamplingEntry.adjust(
                host.asSlice(sampling),
                sequence,
                penalties.repetition(),
                penalties.presence(),
                penalties.frequency(),
                with.append(counts),
                counts.size());
        adjusts = true;
        needsLogits = true;
    }

    /**
     * Restricts the choice of a sequence to allowed tokens.
     *
     * @param with where the masks are kept until the pass is over
     * @param sequence the sequence, whose choice was asked for
     * @param masks ⌈V/32⌉ words for each node of its tree, or for the last row of a chunk
     * @param words how many words
     */
    public void allow(SamplingTables with, int sequence, int[] masks, int words) {
        tables = with;
        SamplingEntry.allow(host.asSlice(sampling), sequence, with.append(masks, words));
        adjusts = true;
        needsLogits = true;
    }

    /** Makes this pass keep full logits, whether or not a sequence is sampled. */
    public void keepLogits() {
        needsLogits = true;
    }

    /** Writes the counts and sends the block to the device. */
    public void finish() {
        putInt(sequenceRows, sequences, mainRows);
        putInt(treeBegin, sequences, nodes);
        MemorySegment.copy(maskWords, 0, host, JAVA_LONG, masks, usedMaskWords);
        putInt(counts, 0, sequences);
        putInt(counts, 1, mainRows);
        putInt(counts, 2, streamRows);
        // Streams stand behind the main rows in the joint list, and alone in their own.
        MemorySegment.copy(
                host,
                streamLogitRows,
                host,
                logitRows + (long) mainLogits * Integer.BYTES,
                (long) streamRows * Integer.BYTES);
        putInt(logitCounts, 0, mainLogits + streamRows);
        putInt(logitCounts, 1, mainLogits);
        putInt(logitCounts, 2, streamRows);
        putInt(segmentCount, 0, usedSegments);
        block.push();
        if (adjusts && tables != null) {
            tables.push();
        }
    }

    /** {@return main rows of this pass} */
    public int mainRows() {
        return mainRows;
    }

    /** {@return stream rows of this pass} */
    public int streamRows() {
        return streamRows;
    }

    /** {@return whether full logits are needed} */
    public boolean needsLogits() {
        return needsLogits;
    }

    /** {@return whether logits are adjusted before a choice, or acceptance is typical} */
    boolean adjusts() {
        return adjusts;
    }

    /**
     * Where a main row's logits stand.
     *
     * @param row a row whose logits are wanted
     * @return its index in the results of the LM head
     */
    public int logitIndex(int row) {
        return host.get(JAVA_INT, rowLogits + (long) row * Integer.BYTES);
    }

    /**
     * Where a stream row's candidates stand.
     *
     * @param streamRow index of the stream row
     * @return its index in the results of the LM head
     */
    public int streamResult(int streamRow) {
        // Full logits are those of main rows: the streams' results then come from a launch of their own.
        return (needsLogits ? PassShape.mainBound(capacity, mainRows) : mainLogits) + streamRow;
    }

    /** The shape of this plan as a verifying pass. */
    PassShape verifying(boolean keepStates) {
        return PassShape.verifying(capacity, mainRows, streamRows, lastPosition + 1, needsLogits, adjusts, keepStates);
    }

    /** The shape of this plan as a drafting pass. */
    PassShape drafting() {
        return PassShape.drafting(capacity, streamRows, lastPosition + 1);
    }

    /** Sizes the launches that follow by a shape. */
    void bound(PassShape shape) {
        bound(step, shape);
        if (window > 0) {
            bound(windowedStep, shape);
        }
    }

    private void bound(KernelStep described, PassShape shape) {
        described
                .boundMainRows(shape.mainRows())
                // 0 would mean the capacity; of a pass without streams no launch asks for their rows.
                .boundStreamRows(
                        shape.streamRows() > 0 ? shape.streamRows() : Math.min(capacity.gamma(), capacity.streamRows()))
                .boundContext(shape.context());
    }

    KernelStep step() {
        return step;
    }

    /** The step as layers with a sliding window see it. */
    KernelStep windowedStep() {
        return windowedStep;
    }

    long tokens() {
        return address(tokens);
    }

    long rowSource() {
        return address(rowSource);
    }

    /** Where the stream embedding of each stream row stands; 0 where there is one adapter only. */
    long rowEmbedding() {
        return capacity.adapters() > 1 ? address(rowEmbedding) : 0;
    }

    long rowLogits() {
        return address(rowLogits);
    }

    long jointLogitRows() {
        return address(logitRows);
    }

    long jointLogitCount() {
        return address(logitCounts);
    }

    long mainLogitCount() {
        return address(logitCounts) + Integer.BYTES;
    }

    long streamLogitRows() {
        return address(streamLogitRows);
    }

    long streamLogitCount() {
        return address(logitCounts) + 2 * Integer.BYTES;
    }

    long mainRowCount() {
        return address(counts) + Integer.BYTES;
    }

    long identity() {
        return address(identity);
    }

    long segments() {
        return address(segments);
    }

    long segmentCount() {
        return address(segmentCount);
    }

    long sampling() {
        return address(sampling);
    }

    private int addMainRow(int sequence, int node, int rowPositionValue, int token) {
        int row = mainRows++;
        putInt(rowSequence, row, sequence);
        putInt(rowNode, row, node);
        putInt(rowPosition, row, rowPositionValue);
        putInt(rowRotary, row, rowPositionValue);
        putInt(rowStream, row, 0);
        putWindow(row, rowPositionValue);
        putInt(tokens, row, token);
        putInt(rowLogits, row, -1);
        lastPosition = Math.max(lastPosition, rowPositionValue);
        return row;
    }

    /** A stream sees what its anchor sees, so both give the anchor's position. */
    private void putWindow(int row, int newest) {
        if (window > 0) {
            putInt(rowWindowBegin, row, Math.max(0, newest - window + 1));
        }
    }

    private void putInt(long offset, int index, int value) {
        host.set(JAVA_INT, offset + (long) index * Integer.BYTES, value);
    }

    private long address(long offset) {
        return block.address() + offset;
    }

    /** Offsets of arrays in the block. */
    private static final class Layout {
        private long size;

        long ints(long count) {
            return bytes(count * Integer.BYTES);
        }

        long longs(long count) {
            return bytes(count * Long.BYTES);
        }

        long bytes(long count) {
            long offset = size;
            size = (size + count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            return offset;
        }

        long size() {
            return size;
        }
    }
}
