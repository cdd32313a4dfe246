// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConstraintException;
import dev.tributary.TokenConstraint;
import dev.tributary.TokenMask;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.engine.tree.TreeBuilder;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.function.IntPredicate;

/**
 * The text of a sequence as its constraint sees it, and the masks of its next pass: one for each node of its tree.
 *
 * <p>A node is admitted when its parent's mask allows its token and the constraint answers for the text up to it. Where it
 * does not answer the node is left out, so it fails no text that does not get there: if plain decoding does, the token is
 * the next root, and the constraint is asked again.
 */
final class ConstrainedText implements TreeBuilder.Admission {
    private final TokenConstraint constraint;
    private final TokenMask mask;
    private final IntPredicate endsText;
    private final int words;
    private final int[] masks;
    /** Generated tokens before the root, then room for a path. */
    private int[] text = new int[256];

    private int length;
    private long draftNanos;

    ConstrainedText(TokenConstraint constraint, int vocabulary, IntPredicate endsText) {
        this.constraint = constraint;
        this.endsText = endsText;
        mask = new TokenMask(vocabulary);
        words = mask.toWords().length;
        masks = new int[Limits.MAX_TREE * words];
    }

    /** A generated token is now before the root. */
    void add(int token) {
        reserve(1);
        text[length++] = token;
    }

    /**
     * The mask of the first token.
     *
     * @throws ConstraintException when there is none
     */
    void begin() {
        ask(0, 0);
    }

    /**
     * The mask of a tree's root.
     *
     * @throws ConstraintException when there is none
     */
    void begin(int root) {
        reserve(Limits.MAX_PATH);
        text[length] = root;
        ask(1, 0);
    }

    @Override
    public boolean admits(TokenTree tree, int parent, int token) {
        int word = masks[parent * words + token / Integer.SIZE];
        if ((word >>> (token % Integer.SIZE) & 1) == 0) {
            return false;
        }
        int node = tree.size();
        if (endsText.test(token)) {
            // Nothing follows it; what the pass would choose there is never looked at.
            Arrays.fill(masks, node * words, (node + 1) * words, -1);
            return true;
        }
        int depth = tree.depth(parent) + 1;
        text[length + depth] = token;
        for (int at = parent; at >= 0; at = tree.parent(at)) {
            text[length + tree.depth(at)] = tree.token(at);
        }
        long begin = System.nanoTime();
        try {
            ask(depth + 1, node);
        } catch (ConstraintException e) {
            return false;
        } finally {
            draftNanos += System.nanoTime() - begin;
        }
        return true;
    }

    /** {@return nanoseconds that the constraint took for nodes of trees since this was asked last} */
    long takeDraftNanos() {
        long taken = draftNanos;
        draftNanos = 0;
        return taken;
    }

    /** Masks of the nodes of the next pass, from the root on. */
    int[] masks() {
        return masks;
    }

    /** {@return words of one mask} */
    int words() {
        return words;
    }

    /** Whatever the caller's code throws, an Error of any kind too, is the caller's to hear of and nobody else's. */
    private void ask(int path, int node) {
        mask.clear();
        int tokens = length + path;
        try {
            constraint.allow(IntBuffer.wrap(text, 0, tokens).slice().asReadOnlyBuffer(), mask);
        } catch (Throwable e) {
            throw new ConstraintException("the constraint failed after " + tokens + " tokens: " + firstLine(e), e);
        }
        if (mask.isEmpty()) {
            throw new ConstraintException("the constraint allows no token after " + tokens + " tokens");
        }
        mask.copyTo(masks, node * words);
    }

    /** What is thrown may be the caller's own class, and its message too. */
    private static String firstLine(Throwable e) {
        try {
            return e.toString().lines().findFirst().orElse(e.getClass().getName());
        } catch (Throwable unreadable) {
            return e.getClass().getName();
        }
    }

    private void reserve(int more) {
        if (length + more > text.length) {
            text = Arrays.copyOf(text, Math.max(2 * text.length, length + more));
        }
    }
}
