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
 * @param text what became certain of the text
 * @param times when, and how long
 */
public record PassRecord(
        int[] tokens,
        int[] parents,
        int[] depths,
        float[] probabilities,
        boolean[] accepted,
        int bonus,
        String text,
        Times times) {
    /**
     * Times of a pass, nanoseconds.
     *
     * @param began from the request's submission to the pass's beginning
     * @param total from its beginning to its result
     * @param forward layers and head
     * @param verify target choice, walk and commit
     * @param draft the drafting pass that its tree comes from
     * @param sequences sequences that shared it
     */
    public record Times(long began, long total, long forward, long verify, long draft, int sequences) {}

    static PassRecord of(TokenTree tree, int[] path, int pathLength, int bonus, Times times) {
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
        return new PassRecord(tokens, parents, depths, probabilities, accepted, bonus, "", times);
    }

    PassRecord withText(String itsText) {
        return new PassRecord(tokens, parents, depths, probabilities, accepted, bonus, itsText, times);
    }
}
