// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.List;

/**
 * What one verifying pass did. Equal where the same was drafted and accepted: a pass's times are a {@link PassTiming}.
 *
 * @param pass index of the pass, from 0
 * @param nodes the token tree; node 0 is the root, parents precede children
 * @param bonus the target's token at the last accepted node
 * @param bonusText its text
 * @param text what the pass made certain of the text: not always the text of its tokens, since a character may end in
 *     another pass and a stop string may have to be ruled out
 */
public record PassTrace(int pass, List<Node> nodes, int bonus, String bonusText, String text) {
    /** Copies the list. */
    public PassTrace {
        nodes = List.copyOf(nodes);
    }

    /**
     * One node of a token tree.
     *
     * @param token token id
     * @param text its text, decoded alone
     * @param parent index of the parent, −1 for the root
     * @param depth distance from the root
     * @param probability the drafted probability of the path from the root to here; 1 for the root
     * @param accepted whether it lies on the accepted path
     */
    public record Node(int token, String text, int parent, int depth, float probability, boolean accepted) {}
}
