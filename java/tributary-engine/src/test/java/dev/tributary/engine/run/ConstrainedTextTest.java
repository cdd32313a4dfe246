// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.TokenConstraint;
import dev.tributary.engine.tree.TokenTree;
import org.junit.jupiter.api.Test;

class ConstrainedTextTest {
    private static final long SLOW_NANOS = 300_000;

    @Test
    void tellsWhatTheConstraintTookForTheNodesOfATree() {
        TokenConstraint slow = (tokens, allowed) -> {
            for (long end = System.nanoTime() + SLOW_NANOS; System.nanoTime() < end; ) {
                Thread.onSpinWait();
            }
            allowed.allowAll();
        };
        ConstrainedText text = new ConstrainedText(slow, 100, token -> token == 9);
        TokenTree tree = new TokenTree();
        tree.reset(1);
        text.begin(1);
        assertEquals(0, text.takeDraftNanos(), "the root is asked for before the pass begins");
        assertTrue(text.admits(tree, 0, 5));
        tree.add(0, 5, 0.5f);
        assertTrue(text.admits(tree, 1, 6));
        tree.add(1, 6, 0.5f);
        long two = text.takeDraftNanos();
        assertTrue(two >= 2 * SLOW_NANOS, two + " ns");
        assertTrue(text.admits(tree, 2, 9));
        assertEquals(0, text.takeDraftNanos(), "nothing is asked behind the end");
    }
}
