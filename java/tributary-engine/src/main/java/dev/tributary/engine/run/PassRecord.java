// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.engine.tree.TokenTree;

/**
 * A verified tree, copied for tracing.
 *
 * @param tokens token of each node
 * @param parents parent of each node
 * @param depths depth of each node
 * @param probabilities drafted path probability of each node
 * @param accepted whether each node lies on the accepted path
 * @param bonus the target's token behind the path
 */
public record PassRecord(
        int[] tokens, int[] parents, int[] depths, float[] probabilities, boolean[] accepted, int bonus) {
    static PassRecord of(TokenTree tree, int[] path, int pathLength, int bonus) {
        int size = tree.size();
        int[] tokens = new int[size];
        int[] parents = new int[size];
        int[] depths = new int[size];
        float[] probabilities = new float[size];
        boolean[] accepted = new boolean[size];
        for (int node = 0; node < size; node++) {
            tokens[node] = tree.token(node);
            parents[node] = tree.parent(node);
            depths[node] = tree.depth(node);
            probabilities[node] = tree.probability(node);
        }
        for (int i = 0; i < pathLength; i++) {
            accepted[path[i]] = true;
        }
        return new PassRecord(tokens, parents, depths, probabilities, accepted, bonus);
    }
}
