// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.Speculation;
import dev.tributary.engine.device.Limits;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class TreeBuilderTest {
    private static final int ROOT = 7;
    private static final int NO_TOKEN = -1;
    private static final Speculation.Shape BEST_FIRST = new Speculation.Shape.BestFirst();

    private final TreeBuilder builder = new TreeBuilder();

    /** Candidates with random probabilities in descending order; token = 100 · level + rank. */
    private static Candidates candidates(Random random, int depth, int width) {
        Candidates candidates = new Candidates(depth, width);
        for (int level = 1; level <= depth; level++) {
            candidates.addStream();
            float probability = 1;
            for (int rank = 0; rank < width; rank++) {
                probability *= 0.2f + 0.7f * random.nextFloat();
                candidates.set(rank, 100 * level + rank, probability);
            }
        }
        return candidates;
    }

    private TokenTree grow(Candidates candidates, Speculation.Shape shape, int nodes, int depth, int endToken) {
        TokenTree tree = new TokenTree();
        tree.reset(ROOT);
        builder.grow(tree, candidates, shape, nodes, depth, 0, token -> token == endToken, TreeBuilder.Admission.ALL);
        return tree;
    }

    @Test
    void bestFirstHoldsTheMostProbablePaths() {
        for (long seed = 0; seed < 200; seed++) {
            Random random = new Random(seed);
            int depth = 1 + random.nextInt(4);
            int width = 1 + random.nextInt(4);
            Candidates candidates = candidates(random, depth, width);
            int budget = 2 + random.nextInt(30);

            TokenTree tree = grow(candidates, BEST_FIRST, budget, depth, NO_TOKEN);

            List<Float> all = new ArrayList<>();
            enumerate(candidates, 1, 1f, depth, all);
            all.sort(Comparator.reverseOrder());
            assertEquals(Math.min(budget, all.size() + 1), tree.size(), "seed " + seed);
            for (int node = 1; node < tree.size(); node++) {
                assertEquals(all.get(node - 1), tree.probability(node), "seed " + seed + " node " + node);
            }
        }
    }

    private static void enumerate(Candidates candidates, int level, float path, int depth, List<Float> all) {
        if (level > depth) {
            return;
        }
        for (int rank = 0; rank < candidates.width(); rank++) {
            float probability = path * candidates.probability(level, rank);
            all.add(probability);
            enumerate(candidates, level + 1, probability, depth, all);
        }
    }

    @Test
    void parentsPrecedeChildrenAndSiblingsDiffer() {
        for (long seed = 0; seed < 200; seed++) {
            Random random = new Random(seed);
            Speculation.Shape shape = switch (random.nextInt(3)) {
                case 0 -> BEST_FIRST;
                case 1 -> new Speculation.Shape.Chain();
                default -> new Speculation.Shape.Cartesian(1 + random.nextInt(4));
            };
            TokenTree tree = grow(candidates(random, 4, 5), shape, 2 + random.nextInt(127), 4, NO_TOKEN);
            Set<List<Integer>> edges = new HashSet<>();
            for (int node = 1; node < tree.size(); node++) {
                int parent = tree.parent(node);
                assertTrue(parent >= 0 && parent < node, "seed " + seed);
                assertEquals(tree.depth(parent) + 1, tree.depth(node), "seed " + seed);
                assertTrue(edges.add(List.of(parent, tree.token(node))), "seed " + seed);
            }
        }
    }

    @Test
    void nothingIsDraftedBelowAnEndTokenOrTheDepthLimit() {
        Candidates candidates = candidates(new Random(1), 4, 3);
        int endToken = candidates.token(1, 0);
        for (Speculation.Shape shape :
                List.of(BEST_FIRST, new Speculation.Shape.Chain(), new Speculation.Shape.Cartesian(3))) {
            TokenTree tree = grow(candidates, shape, Limits.MAX_TREE, 2, endToken);
            for (int node = 1; node < tree.size(); node++) {
                assertTrue(tree.depth(node) <= 2, shape.toString());
                assertFalse(tree.parent(node) > 0 && tree.token(tree.parent(node)) == endToken, shape.toString());
            }
        }
        assertEquals(1, grow(candidates, BEST_FIRST, 16, 0, NO_TOKEN).size());
    }

    @Test
    void improbablePathsAreLeftOut() {
        Candidates candidates = candidates(new Random(5), 4, 4);
        for (Speculation.Shape shape :
                List.of(BEST_FIRST, new Speculation.Shape.Chain(), new Speculation.Shape.Cartesian(4))) {
            TokenTree whole = grow(candidates, shape, Limits.MAX_TREE, 4, NO_TOKEN);
            TokenTree probable = new TokenTree();
            probable.reset(ROOT);
            builder.grow(
                    probable, candidates, shape, Limits.MAX_TREE, 4, 0.1f, token -> false, TreeBuilder.Admission.ALL);
            int expected = 0;
            for (int node = 0; node < whole.size(); node++) {
                expected += whole.probability(node) >= 0.1f ? 1 : 0;
            }
            assertEquals(expected, probable.size(), shape.toString());
            assertTrue(expected > 1 && expected <= whole.size());
        }
    }

    @Test
    void cartesianIsTheWholeProductInBreadthFirstOrder() {
        TokenTree tree = grow(candidates(new Random(2), 3, 4), new Speculation.Shape.Cartesian(3), 128, 3, NO_TOKEN);
        assertEquals(1 + 3 + 9 + 27, tree.size());
        for (int node = 2; node < tree.size(); node++) {
            assertTrue(tree.depth(node) >= tree.depth(node - 1));
        }
    }

    @Test
    void chainTakesTheFirstCandidateOfEachStream() {
        Candidates candidates = candidates(new Random(3), 4, 4);
        TokenTree tree = grow(candidates, new Speculation.Shape.Chain(), 128, 4, NO_TOKEN);
        assertEquals(5, tree.size());
        for (int node = 1; node < 5; node++) {
            assertEquals(node - 1, tree.parent(node));
            assertEquals(candidates.token(node, 0), tree.token(node));
        }
    }

    @Test
    void masksHoldAncestorsAndSelf() {
        for (long seed = 0; seed < 100; seed++) {
            Random random = new Random(seed);
            TokenTree tree = new TokenTree();
            tree.reset(ROOT);
            int size = 1 + random.nextInt(128);
            while (tree.size() < size) {
                tree.add(random.nextInt(tree.size()), tree.size(), 0.5f);
            }
            int words = tree.maskWords();
            assertEquals((size + 63) / 64, words);
            long[] masks = new long[3 + size * words];
            java.util.Arrays.fill(masks, -1L);
            tree.writeMasks(masks, 3);
            for (int node = 0; node < size; node++) {
                Set<Integer> ancestors = new HashSet<>();
                for (int at = node; at >= 0; at = tree.parent(at)) {
                    ancestors.add(at);
                }
                for (int other = 0; other < words * 64; other++) {
                    boolean bit = (masks[3 + node * words + other / 64] >>> (other % 64) & 1) != 0;
                    assertEquals(ancestors.contains(other), bit, "seed " + seed + ": " + node + " sees " + other);
                }
            }
        }
    }
}
