// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.PassTrace;
import java.util.ArrayList;
import java.util.List;

/**
 * What a text took from a pass: less than the pass accepted where the text ended.
 *
 * @param nodes the accepted nodes, the root left out, in order of depth
 * @param bonus whether the target's own token came after them
 */
record TakenPath(List<Integer> nodes, boolean bonus) {
    /** Copies the list. */
    TakenPath {
        nodes = List.copyOf(nodes);
    }

    /**
     * Finds it.
     *
     * @param pass what was accepted
     * @param most how many more tokens the text takes
     */
    static TakenPath of(PassTrace pass, int most) {
        List<Integer> nodes = new ArrayList<>();
        for (int i = 1; i < pass.nodes().size() && nodes.size() < most; i++) {
            if (pass.nodes().get(i).accepted()) {
                nodes.add(i);
            }
        }
        return new TakenPath(nodes, nodes.size() < most);
    }

    /** {@return tokens that the text took} */
    int tokens() {
        return nodes.size() + (bonus ? 1 : 0);
    }
}
