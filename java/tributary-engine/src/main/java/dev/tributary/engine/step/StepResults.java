// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.tributary.engine.device.Device;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.device.TransferBlock;
import java.lang.foreign.MemorySegment;
import java.util.random.RandomGenerator;

/** What one pass brings back, in one block: the accepted paths, the bonus tokens, the candidates of the streams. */
public final class StepResults {
    private final StepCapacity capacity;
    private final TransferBlock block;
    private final MemorySegment host;
    private final long acceptedCount;
    private final long acceptedNode;
    private final long acceptedRow;
    private final long bonus;
    private final long logProbability;
    private final long argmax;
    private final long rowResults;
    // Of the pass that was arranged last.
    private long logSumExp;
    private long topIds;
    private long topLogits;
    private long end;
    private int rows;

    /**
     * Lays the block out.
     *
     * @param device whose memory holds it
     * @param capacity what a step can hold
     */
    public StepResults(Device device, StepCapacity capacity) {
        this.capacity = capacity;
        long sequences = (long) capacity.sequences() * Integer.BYTES;
        acceptedCount = 0;
        acceptedNode = align(acceptedCount + sequences);
        acceptedRow = align(acceptedNode + sequences * Limits.MAX_PATH);
        bonus = align(acceptedRow + sequences * Limits.MAX_PATH);
        logProbability = align(bonus + sequences);
        rowResults = align(logProbability + sequences * Limits.MAX_PATH);
        arrange(capacity.rows());
        // Only verification reads it, so it never comes to the host.
        argmax = end;
        block = device.allocateBlock(align(argmax + (long) capacity.rows() * Integer.BYTES));
        host = block.host();
    }

    /** Lays the results of rows side by side for a pass that has no more than these, so that little is copied. */
    void arrange(int rows) {
        this.rows = rows;
        long column = (long) rows * Integer.BYTES;
        logSumExp = rowResults;
        topIds = align(logSumExp + column);
        topLogits = align(topIds + column * capacity.candidates());
        end = align(topLogits + column * capacity.candidates());
    }

    /**
     * Waits for the pass and brings its results to the host.
     *
     * @param candidates whether those of stream rows are among them
     */
    void pull(boolean candidates) {
        block.pull(0, candidates ? end : rowResults);
    }

    /**
     * Accepted nodes of a sequence, the root included; 0 for a causal one.
     *
     * @param sequence index in the step
     * @return how many
     */
    public int acceptedCount(int sequence) {
        return host.get(JAVA_INT, acceptedCount + (long) sequence * Integer.BYTES);
    }

    /**
     * A node of the accepted path.
     *
     * @param sequence index in the step
     * @param depth 0 = the root
     * @return its node
     */
    public int acceptedNode(int sequence, int depth) {
        return host.get(JAVA_INT, acceptedNode + ((long) sequence * Limits.MAX_PATH + depth) * Integer.BYTES);
    }

    /**
     * The row of a node of the accepted path.
     *
     * @param sequence index in the step
     * @param depth 0 = the root; of a causal sequence 0 = its last row
     * @return its row
     */
    public int acceptedRow(int sequence, int depth) {
        return host.get(JAVA_INT, acceptedRow + ((long) sequence * Limits.MAX_PATH + depth) * Integer.BYTES);
    }

    /**
     * The target's token at the last accepted node.
     *
     * @param sequence index in the step
     * @return token id
     */
    public int bonus(int sequence) {
        return host.get(JAVA_INT, bonus + (long) sequence * Integer.BYTES);
    }

    /**
     * Log-probability of a token that a pass brought, under the model's own distribution; of passes that keep logits.
     *
     * @param sequence index in the step
     * @param index 0 = the token behind the root, or behind a causal sequence's last row
     * @return natural logarithm
     */
    public float logProbability(int sequence, int index) {
        return host.get(JAVA_FLOAT, logProbability + ((long) sequence * Limits.MAX_PATH + index) * Float.BYTES);
    }

    /**
     * A candidate of a stream row.
     *
     * @param result the row's index in the results
     * @param rank 0 = most probable
     * @return token id
     */
    public int candidate(int result, int rank) {
        return host.get(JAVA_INT, topIds + ((long) result * capacity.candidates() + rank) * Integer.BYTES);
    }

    /**
     * A candidate's probability.
     *
     * @param result the row's index in the results
     * @param rank 0 = most probable
     * @return probability
     */
    public float probability(int result, int rank) {
        float logit = host.get(JAVA_FLOAT, topLogits + ((long) result * capacity.candidates() + rank) * Float.BYTES);
        return (float) Math.exp(logit - host.get(JAVA_FLOAT, logSumExp + (long) result * Float.BYTES));
    }

    /**
     * Writes what a device might have brought for the first sequence, at random: for rehearsals, in which nothing is
     * computed.
     *
     * @param random where from
     * @param accepted nodes on the path, which are then the first of the tree
     * @param vocabulary tokens that there are
     */
    public void pretend(RandomGenerator random, int accepted, int vocabulary) {
        host.set(JAVA_INT, acceptedCount, accepted);
        for (int depth = 0; depth < accepted; depth++) {
            host.set(JAVA_INT, acceptedNode + (long) depth * Integer.BYTES, depth);
            host.set(JAVA_INT, acceptedRow + (long) depth * Integer.BYTES, depth);
        }
        host.set(JAVA_INT, bonus, random.nextInt(vocabulary));
        int width = capacity.candidates();
        for (int row = 0; row < rows; row++) {
            host.set(JAVA_FLOAT, logSumExp + (long) row * Float.BYTES, 1);
            float logit = random.nextFloat();
            for (int rank = 0; rank < width; rank++) {
                long at = ((long) row * width + rank) * Integer.BYTES;
                host.set(JAVA_INT, topIds + at, random.nextInt(vocabulary));
                host.set(JAVA_FLOAT, topLogits + at, logit);
                logit -= random.nextFloat();
            }
        }
    }

    long argmax() {
        return block.address() + argmax;
    }

    long logSumExp() {
        return block.address() + logSumExp;
    }

    long topIds() {
        return block.address() + topIds;
    }

    long topLogits() {
        return block.address() + topLogits;
    }

    long acceptedCount() {
        return block.address() + acceptedCount;
    }

    long acceptedNode() {
        return block.address() + acceptedNode;
    }

    long acceptedRow() {
        return block.address() + acceptedRow;
    }

    long bonus() {
        return block.address() + bonus;
    }

    long logProbability() {
        return block.address() + logProbability;
    }

    private static long align(long offset) {
        return (offset + 63) / 64 * 64;
    }
}
