// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.tree;

import dev.tributary.engine.device.Limits;
import java.util.Objects;

/**
 * A token tree: node 0 is the pending token, parents precede children, siblings differ in token. Reused from pass to
 * pass.
 */
public final class TokenTree {
    private static final int WORD = Long.SIZE;

    private final int[] tokens = new int[Limits.MAX_TREE];
    private final int[] parents = new int[Limits.MAX_TREE];
    private final int[] depths = new int[Limits.MAX_TREE];
    private final float[] probabilities = new float[Limits.MAX_TREE];
    private int size;

    /**
     * Begins anew with a root.
     *
     * @param token the pending token
     */
    public void reset(int token) {
        size = 1;
        tokens[0] = token;
        parents[0] = -1;
        depths[0] = 0;
        probabilities[0] = 1f;
    }

    /**
     * Adds a child.
     *
     * @param parent an existing node
     * @param token the drafted token
     * @param probability probability of the path from the root to it
     * @return its node
     */
    public int add(int parent, int token, float probability) {
        int node = size++;
        tokens[node] = token;
        parents[node] = parent;
        depths[node] = depths[parent] + 1;
        probabilities[node] = probability;
        return node;
    }

    /**
     * Keeps the first nodes only; any prefix is closed under parents.
     *
     * @param nodes 1 to size
     */
    public void truncate(int nodes) {
        size = Math.min(size, nodes);
    }

    /** {@return number of nodes} */
    public int size() {
        return size;
    }

    /**
     * Token of a node.
     *
     * @param node the node
     * @return token id
     */
    public int token(int node) {
        return tokens[Objects.checkIndex(node, size)];
    }

    /**
     * Parent of a node.
     *
     * @param node the node
     * @return its parent, −1 for the root
     */
    public int parent(int node) {
        return parents[node];
    }

    /**
     * Depth of a node.
     *
     * @param node the node
     * @return 0 for the root
     */
    public int depth(int node) {
        return depths[node];
    }

    /**
     * Drafted probability of the path to a node.
     *
     * @param node the node
     * @return 1 for the root
     */
    public float probability(int node) {
        return probabilities[node];
    }

    /** {@return 64-bit words of one node's ancestor mask} */
    public int maskWords() {
        return (size + WORD - 1) / WORD;
    }

    /**
     * Writes every node's ancestors-or-self as bits.
     *
     * @param masks receives size × maskWords words
     * @param begin first word
     */
    public void writeMasks(long[] masks, int begin) {
        int words = maskWords();
        for (int node = 0; node < size; node++) {
            int row = begin + node * words;
            if (parents[node] < 0) {
                java.util.Arrays.fill(masks, row, row + words, 0);
            } else {
                System.arraycopy(masks, begin + parents[node] * words, masks, row, words);
            }
            masks[row + node / WORD] |= 1L << (node % WORD);
        }
    }
}
