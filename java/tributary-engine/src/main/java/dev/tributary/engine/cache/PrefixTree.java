// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.Limits;
import java.util.Arrays;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The prefixes whose keys and values are kept. A node is a page; the tokens on the path to it, a page of them at each edge,
 * are all that its content depends on: rows see what stands before them and nothing else, their bits do not depend on how
 * they were computed, and a pool serves one model. A page that is not full is a leaf.
 *
 * <p>Children are ordered by their tokens, compared one by one: there is no hash that two prefixes could have in common,
 * and what has the most tokens in common with a text stands next to where the text would stand.
 */
final class PrefixTree {
    /** A page and what follows it. */
    static final class Node {
        private final @Nullable Node parent;
        private final int[] tokens;
        private final NavigableMap<int[], Node> children = new TreeMap<>(Arrays::compare);
        final int page;

        private Node(@Nullable Node parent, int[] tokens, int page) {
            this.parent = parent;
            this.tokens = tokens;
            this.page = page;
        }
    }

    /**
     * A page that begins as a text goes on.
     *
     * @param node the page
     * @param tokens how many tokens they have in common, at least 1
     */
    record Beginning(Node node, int tokens) {}

    private final Node root = new Node(null, new int[0], -1);

    /** {@return the node of the empty prefix; it has no page} */
    Node root() {
        return root;
    }

    /**
     * The full page behind a prefix.
     *
     * @param prefix the node of the prefix
     * @param tokens holds the tokens of the page
     * @param from first of them
     * @return its node, or null
     */
    @Nullable
    Node find(Node prefix, int[] tokens, int from) {
        return prefix.children.isEmpty()
                ? null
                : prefix.children.get(Arrays.copyOfRange(tokens, from, from + Limits.PAGE_TOKENS));
    }

    /**
     * The page behind a prefix that has the most tokens in common with a text.
     *
     * @param prefix the node of the prefix
     * @param tokens holds what the text goes on with
     * @param from first of it
     * @param count tokens of it, at most a page
     * @return the page, or null when none has any
     */
    @Nullable
    Beginning findBeginning(Node prefix, int[] tokens, int from, int count) {
        int[] sought = Arrays.copyOfRange(tokens, from, from + count);
        Beginning below = common(prefix.children.floorEntry(sought), sought);
        Beginning above = common(prefix.children.ceilingEntry(sought), sought);
        return above == null || (below != null && below.tokens >= above.tokens) ? below : above;
    }

    private static @Nullable Beginning common(Map.@Nullable Entry<int[], Node> entry, int[] sought) {
        if (entry == null) {
            return null;
        }
        int mismatch = Arrays.mismatch(entry.getKey(), sought);
        int tokens = mismatch < 0 ? sought.length : mismatch;
        return tokens == 0 ? null : new Beginning(entry.getValue(), tokens);
    }

    /** Adds a page behind a prefix that has none with these tokens. */
    Node add(Node prefix, int[] tokens, int count, int page) {
        Node node = new Node(prefix, Arrays.copyOf(tokens, count), page);
        if (prefix.children.putIfAbsent(node.tokens, node) != null) {
            throw new IllegalStateException("page " + page + " holds a prefix that another page is known to hold");
        }
        return node;
    }

    /** Forgets a page that nothing follows. */
    void remove(Node node) {
        if (!node.children.isEmpty() || node.parent == null) {
            throw new IllegalStateException(
                    "page " + node.page + " is forgotten before the " + node.children.size() + " that follow it");
        }
        node.parent.children.remove(node.tokens);
    }
}
