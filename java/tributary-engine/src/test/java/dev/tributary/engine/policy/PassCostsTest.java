// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

class PassCostsTest {
    @Test
    void learnsALinearCostFromNoisyPasses() {
        PassCosts costs = new PassCosts(0.5);
        Random random = new Random(4);
        for (int i = 0; i < 4000; i++) {
            int rows = 1 + random.nextInt(32);
            double noise = random.nextInt(4) == 0 ? 1 + 5 * random.nextDouble() : 0.97 + 0.06 * random.nextDouble();
            costs.observeVerify(rows, 0, (long) ((100_000 + 10_000 * rows) * noise));
        }
        for (int rows : new int[] {1, 2, 5, 10, 16, 31}) {
            double expected = 100_000 + 10_000 * rows;
            assertEquals(expected, costs.verify(rows, 0), 0.1 * expected, rows + " rows");
        }
    }

    @Test
    void streamRowsCountAsAFractionOfAMainRow() {
        PassCosts costs = new PassCosts(0.25);
        costs.observeVerify(1, 0, 100);
        costs.observeVerify(16, 0, 1600);
        assertEquals(costs.verify(9, 0), costs.verify(8, 4), 1e-9);
    }

    @Test
    void aPreemptedPassDoesNotBendTheCurve() {
        PassCosts costs = new PassCosts(0);
        for (int i = 0; i < 100; i++) {
            costs.observeVerify(4, 0, 1000);
        }
        costs.observeVerify(4, 0, 1_000_000);
        assertTrue(costs.verify(4, 0) < 1200, "was " + costs.verify(4, 0));
    }

    @Test
    void unseenSizesLieOnTheLineThroughSeenOnes() {
        PassCosts costs = new PassCosts(0);
        costs.observeVerify(1, 0, 100);
        costs.observeVerify(32, 0, 720);
        assertEquals(260, costs.verify(9, 0), 1);
        assertEquals(1360, costs.verify(64, 0), 1);
    }
}
