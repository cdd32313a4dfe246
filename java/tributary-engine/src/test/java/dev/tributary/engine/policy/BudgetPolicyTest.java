// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.Speculation;
import dev.tributary.engine.tree.TokenTree;
import java.util.List;
import org.junit.jupiter.api.Test;

class BudgetPolicyTest {
    private static final int GAMMA = 4;

    private static PassCosts costs(double perPass, double perRow, double perDraft, double streamRowFraction) {
        PassCosts costs = new PassCosts(streamRowFraction, streamRowFraction, 0, new PassCosts.Context(0, 0));
        for (int rows : new int[] {1, 2, 4, 8, 16, 32, 64}) {
            costs.observeVerify(rows, 0, 0, (long) (perPass + perRow * rows));
        }
        costs.observeDraft(GAMMA, 0, (long) perDraft);
        return costs;
    }

    /** A chain whose nodes are each accepted with this probability given their parent. */
    private static BudgetPolicy.Part chain(float probability, int nodes, Speculation speculation) {
        TokenTree tree = new TokenTree();
        tree.reset(0);
        float path = 1;
        for (int node = 1; node < nodes; node++) {
            path *= probability;
            tree.add(node - 1, node, path);
        }
        return new BudgetPolicy.Part(tree, speculation, 0, false);
    }

    private static int decidedSize(PassCosts costs, float probability) {
        return decidedSize(new BudgetPolicy(costs, GAMMA, 1), probability, false);
    }

    private static int decidedSize(BudgetPolicy policy, float probability, boolean typical) {
        TokenTree tree = new TokenTree();
        tree.reset(0);
        float path = 1;
        for (int node = 1; node < 17; node++) {
            path *= probability;
            tree.add(node - 1, node, path);
        }
        BudgetPolicy.Part part = new BudgetPolicy.Part(tree, Speculation.adaptive(), 0, typical);
        part.drafted(true);
        policy.decide(List.of(part), 0);
        return tree.size();
    }

    /** Typical acceptance takes nearly every draft; what exact acceptance can expect is another matter. */
    @Test
    void whatTypicalAcceptanceTakesPromisesExactOnesNothing() {
        PassCosts costs = costs(100_000, 20_000, 10_000, 0.3);
        int usual = decidedSize(costs, 0.5f);
        BudgetPolicy policy = new BudgetPolicy(costs, GAMMA, 1);
        for (int i = 0; i < 200; i++) {
            TokenTree tree = new TokenTree();
            tree.reset(0);
            for (int node = 1; node < 9; node++) {
                tree.add(node - 1, node, 0.1f);
            }
            policy.observe(new BudgetPolicy.Part(tree, Speculation.tree(9), 0, true), 8);
        }
        assertEquals(usual, decidedSize(policy, 0.5f, false));
        assertTrue(decidedSize(policy, 0.5f, true) > usual);
    }

    /** One draft delays all sequences of a pass: where drafting does not pay, those that begin try together, and seldom. */
    @Test
    void manySequencesTryTogether() {
        int sequences = 32;
        int length = 24;
        BudgetPolicy policy = new BudgetPolicy(costs(100_000, 100_000, 300_000, 0.9), GAMMA, 1);
        BudgetPolicy.Part[] parts = new BudgetPolicy.Part[sequences];
        int[] age = new int[sequences];
        int delayed = 0;
        int tried = 0;
        int passes = 2000;
        for (int pass = 0; pass < passes; pass++) {
            for (int i = 0; i < sequences; i++) {
                if (parts[i] == null || age[i] == length) {
                    parts[i] = chain(0.2f, 5, Speculation.adaptive());
                    age[i] = pass == 0 ? i % length : 0;
                }
                age[i]++;
            }
            policy.decide(List.of(parts), 0);
            int drafting = 0;
            for (BudgetPolicy.Part part : parts) {
                boolean drafts = policy.drafts(part);
                part.drafted(drafts);
                drafting += drafts ? 1 : 0;
            }
            if (pass >= passes / 2) {
                delayed += drafting > 0 ? 1 : 0;
                tried += drafting;
            }
        }
        assertTrue(delayed <= passes / 2 / 20, delayed + " of " + passes / 2 + " passes are delayed by a draft");
        assertTrue(tried > 2 * delayed, tried + " drafts in " + delayed + " passes");
    }

    @Test
    void freeRowsAreAllTaken() {
        assertEquals(17, decidedSize(costs(1_000_000, 1, 1, 0.3), 0.9f));
    }

    @Test
    void rowsThatCostAsMuchAsAPassAreNotTaken() {
        assertEquals(1, decidedSize(costs(1, 1_000_000, 1, 0.3), 0.9f));
    }

    @Test
    void theTreeShrinksAsAcceptanceFalls() {
        PassCosts costs = costs(100_000, 20_000, 10_000, 0.3);
        int confident = decidedSize(costs, 0.95f);
        int doubtful = decidedSize(costs, 0.5f);
        assertTrue(confident > doubtful, confident + " nodes against " + doubtful);
        assertTrue(doubtful >= 1);
    }

    @Test
    void streamsRunOnAllNodesWhereRowsAreFreeAndDeferredWhereTheyAreNot() {
        BudgetPolicy memoryBound = new BudgetPolicy(costs(1_000_000, 10, 400_000, 0.3), GAMMA, 1);
        BudgetPolicy.Part everywhere = chain(0.9f, 5, Speculation.tree(5));
        memoryBound.decide(List.of(everywhere), 0);
        assertEquals(Speculation.Placement.ALL_NODES, everywhere.placement());
        for (int node = 0; node < 5; node++) {
            assertTrue(everywhere.isAnchor(node));
        }

        BudgetPolicy arithmeticBound = new BudgetPolicy(costs(100_000, 100_000, 50_000, 0.5), GAMMA, 1);
        BudgetPolicy.Part deferred = chain(0.9f, 5, Speculation.tree(5));
        arithmeticBound.decide(List.of(deferred), 0);
        assertEquals(Speculation.Placement.DEFERRED, deferred.placement());
        assertFalse(deferred.isAnchor(0));
    }

    @Test
    void aForcedPlacementIsKept() {
        BudgetPolicy policy = new BudgetPolicy(costs(1, 1_000_000, 1, 0.3), GAMMA, 1);
        for (Speculation.Placement placement : List.of(
                Speculation.Placement.ALL_NODES, Speculation.Placement.CHOSEN_NODES, Speculation.Placement.DEFERRED)) {
            BudgetPolicy.Part part = chain(0.6f, 5, Speculation.tree(5).withPlacement(placement));
            policy.decide(List.of(part), 0);
            assertEquals(placement, part.placement());
        }
    }

    @Test
    void draftingPausesWhereItDoesNotPayAndTriesAgain() {
        BudgetPolicy policy = new BudgetPolicy(costs(1_000, 1_000_000, 3_000_000, 0.9), GAMMA, 1);
        TokenTree tree = new TokenTree();
        BudgetPolicy.Part part = new BudgetPolicy.Part(tree, Speculation.adaptive(), 0, false);
        int drafts = 0;
        for (int pass = 0; pass < 1000; pass++) {
            tree.reset(0);
            part.drafted(false);
            if (policy.drafts(part)) {
                drafts++;
                // Now and then not even one node is probable enough to grow.
                if (drafts % 2 == 0) {
                    tree.add(0, 1, 0.3f);
                }
                part.drafted(true);
                policy.decide(List.of(part), 0);
                assertEquals(1, tree.size());
            }
        }
        assertTrue(drafts > 2 && drafts < 40, drafts + " drafts in 1000 passes");
    }
}
