// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.tree;

/**
 * What the streams of one anchor drafted: for each stream (depth) the most probable tokens, in descending order. Empty
 * when nothing was drafted.
 */
public final class Candidates {
    private final int width;
    private final int[] tokens;
    private final float[] probabilities;
    private int depth;

    /**
     * Room for candidates.
     *
     * @param maxDepth greatest number of streams
     * @param width candidates per stream
     */
    public Candidates(int maxDepth, int width) {
        this.width = width;
        tokens = new int[maxDepth * width];
        probabilities = new float[maxDepth * width];
    }

    /** Forgets everything. */
    public void clear() {
        depth = 0;
    }

    /** {@return streams that drafted} */
    public int depth() {
        return depth;
    }

    /** {@return candidates per stream} */
    public int width() {
        return width;
    }

    /** Opens the next stream; its candidates are set with {@link #set}. */
    public void addStream() {
        depth++;
    }

    /**
     * Sets a candidate of the newest stream.
     *
     * @param rank 0 = most probable
     * @param token token id
     * @param probability its probability
     */
    public void set(int rank, int token, float probability) {
        int index = (depth - 1) * width + rank;
        tokens[index] = token;
        probabilities[index] = probability;
    }

    /**
     * A candidate's token.
     *
     * @param level depth below the root, from 1
     * @param rank 0 = most probable
     * @return token id
     */
    public int token(int level, int rank) {
        return tokens[(level - 1) * width + rank];
    }

    /**
     * A candidate's probability.
     *
     * @param level depth below the root, from 1
     * @param rank 0 = most probable
     * @return probability
     */
    public float probability(int level, int rank) {
        return probabilities[(level - 1) * width + rank];
    }
}
