// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.tree;

import dev.tributary.Speculation;
import dev.tributary.engine.device.Limits;
import java.util.function.IntPredicate;

/**
 * Grows token trees from candidates. The candidates at depth g are those of stream g, the same below every node of
 * depth g − 1; a path's probability is the product of its candidates'.
 */
public final class TreeBuilder {
    /** Decides what may become a node, in the order in which nodes are added. */
    @FunctionalInterface
    public interface Admission {
        /** Every candidate may. */
        Admission ALL = (tree, parent, token) -> true;

        /**
         * Whether a candidate may become the tree's next node.
         *
         * @param tree the tree so far
         * @param parent its parent
         * @param token its token
         * @return whether; the node is then added
         */
        boolean admits(TokenTree tree, int parent, int token);
    }

    // Binary heap of (parent, rank) by descending path probability, ties to the older entry.
    private final int[] heapParent = new int[2 * Limits.MAX_TREE];
    private final int[] heapRank = new int[2 * Limits.MAX_TREE];
    private final int[] heapAge = new int[2 * Limits.MAX_TREE];
    private final float[] heapProbability = new float[2 * Limits.MAX_TREE];
    private int heapSize;
    private int age;

    /**
     * Adds nodes below the root.
     *
     * @param tree holds the root
     * @param candidates what was drafted
     * @param shape which candidates become nodes
     * @param maxNodes greatest size of the tree
     * @param maxDepth greatest depth, from the limits of the text
     * @param leastProbability paths of a smaller probability are left out; 0 = none
     * @param endsText tokens below which nothing is drafted
     * @param admission what may become a node
     */
    public void grow(
            TokenTree tree,
            Candidates candidates,
            Speculation.Shape shape,
            int maxNodes,
            int maxDepth,
            float leastProbability,
            IntPredicate endsText,
            Admission admission) {
        int depth = Math.min(candidates.depth(), maxDepth);
        if (depth <= 0 || maxNodes <= 1) {
            return;
        }
        switch (shape) {
            case Speculation.Shape.BestFirst best ->
                growBestFirst(tree, candidates, maxNodes, depth, leastProbability, endsText, admission);
            case Speculation.Shape.Chain chain ->
                growLevels(tree, candidates, 1, maxNodes, depth, leastProbability, endsText, admission);
            case Speculation.Shape.Cartesian cartesian ->
                growLevels(
                        tree,
                        candidates,
                        Math.min(cartesian.width(), candidates.width()),
                        maxNodes,
                        depth,
                        leastProbability,
                        endsText,
                        admission);
        }
    }

    private static void growLevels(
            TokenTree tree,
            Candidates candidates,
            int width,
            int maxNodes,
            int depth,
            float leastProbability,
            IntPredicate endsText,
            Admission admission) {
        for (int parent = 0; parent < tree.size() && tree.depth(parent) < depth; parent++) {
            if (parent > 0 && endsText.test(tree.token(parent))) {
                continue;
            }
            int level = tree.depth(parent) + 1;
            for (int rank = 0; rank < width; rank++) {
                float probability = tree.probability(parent) * candidates.probability(level, rank);
                if (tree.size() == maxNodes) {
                    return;
                }
                if (probability < leastProbability) {
                    break;
                }
                int token = candidates.token(level, rank);
                if (admission.admits(tree, parent, token)) {
                    tree.add(parent, token, probability);
                }
            }
        }
    }

    private void growBestFirst(
            TokenTree tree,
            Candidates candidates,
            int maxNodes,
            int depth,
            float leastProbability,
            IntPredicate endsText,
            Admission admission) {
        int width = candidates.width();
        heapSize = 0;
        age = 0;
        push(0, 0, candidates.probability(1, 0));
        while (tree.size() < maxNodes && heapSize > 0 && heapProbability[0] >= leastProbability) {
            int parent = heapParent[0];
            int rank = heapRank[0];
            float probability = heapProbability[0];
            pop();
            int level = tree.depth(parent) + 1;
            int token = candidates.token(level, rank);
            if (rank + 1 < width) {
                push(parent, rank + 1, tree.probability(parent) * candidates.probability(level, rank + 1));
            }
            if (!admission.admits(tree, parent, token)) {
                continue;
            }
            int node = tree.add(parent, token, probability);
            if (level < depth && !endsText.test(token)) {
                push(node, 0, probability * candidates.probability(level + 1, 0));
            }
        }
    }

    private void push(int parent, int rank, float probability) {
        int i = heapSize++;
        int stamp = age++;
        while (i > 0) {
            int up = (i - 1) / 2;
            if (heapProbability[up] >= probability) {
                break;
            }
            move(up, i);
            i = up;
        }
        place(i, parent, rank, probability, stamp);
    }

    private void pop() {
        int last = --heapSize;
        int parent = heapParent[last];
        int rank = heapRank[last];
        float probability = heapProbability[last];
        int stamp = heapAge[last];
        int i = 0;
        while (2 * i + 1 < last) {
            int child = 2 * i + 1;
            if (child + 1 < last && before(child + 1, heapProbability[child], heapAge[child])) {
                child++;
            }
            if (!before(child, probability, stamp)) {
                break;
            }
            move(child, i);
            i = child;
        }
        place(i, parent, rank, probability, stamp);
    }

    private boolean before(int entry, float probability, int stamp) {
        return heapProbability[entry] > probability
                || (heapProbability[entry] == probability && heapAge[entry] < stamp);
    }

    private void move(int from, int to) {
        place(to, heapParent[from], heapRank[from], heapProbability[from], heapAge[from]);
    }

    private void place(int i, int parent, int rank, float probability, int stamp) {
        heapParent[i] = parent;
        heapRank[i] = rank;
        heapProbability[i] = probability;
        heapAge[i] = stamp;
    }
}
