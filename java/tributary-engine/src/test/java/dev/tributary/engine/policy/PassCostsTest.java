// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

class PassCostsTest {
    @Test
    void learnsALinearCostFromNoisyPasses() {
        PassCosts costs = new PassCosts(0.5, 0.5, 0, new PassCosts.Context(0, 0));
        Random random = new Random(4);
        for (int i = 0; i < 4000; i++) {
            int rows = 1 + random.nextInt(32);
            double noise = random.nextInt(4) == 0 ? 1 + 5 * random.nextDouble() : 0.97 + 0.06 * random.nextDouble();
            costs.observeVerify(rows, 0, 0, (long) ((100_000 + 10_000 * rows) * noise));
        }
        for (int rows : new int[] {1, 2, 5, 10, 16, 31}) {
            double expected = 100_000 + 10_000 * rows;
            assertEquals(expected, costs.verify(rows, 0, 0), 0.1 * expected, rows + " rows");
        }
    }

    @Test
    void streamRowsCountAsAFractionOfAMainRow() {
        PassCosts costs = new PassCosts(0.25, 0.5, 0, new PassCosts.Context(0, 0));
        costs.observeVerify(1, 0, 0, 100);
        costs.observeVerify(16, 0, 0, 1600);
        assertEquals(costs.verify(9, 0, 0), costs.verify(8, 4, 0), 1e-9);
    }

    @Test
    void passesWithStreamsTeachTheFractionAndNothingElse() {
        PassCosts costs = new PassCosts(0, 0.5, 0, new PassCosts.Context(0, 0));
        for (int rows : new int[] {1, 4, 8, 16, 32}) {
            costs.observeVerify(rows, 0, 0, 1000 + 100L * rows);
        }
        for (int i = 0; i < 400; i++) {
            costs.observeVerify(5, 20, 0, 1000 + 100 * (5 + 14));
        }
        assertEquals(1500, costs.verify(5, 0, 0), 1);
        assertEquals(1000 + 100 * (2 + 0.7 * 8), costs.verify(2, 8, 0), 10);
    }

    @Test
    void attentionAddsForEachRowAndEachTokenOfContext() {
        PassCosts costs = new PassCosts(0, 0.25, 0, new PassCosts.Context(0, 2));
        costs.observeVerify(1, 0, 100, 1000 + 200);
        costs.observeVerify(16, 0, 100, 1000 + 16 * 200);
        assertEquals(1000 + 8 * 2 * 300, costs.verify(8, 0, 300), 1);
        costs.observeDraft(4, 100, 500 + 200);
        assertEquals(500 + 4 * 0.25 * 2 * 300, costs.draft(4, 300), 1);
    }

    @Test
    void whatRowsShareOfTheContextIsPaidOnce() {
        PassCosts costs = new PassCosts(0.5, 0.25, 0, new PassCosts.Context(10, 2));
        costs.observeVerify(1, 0, 100, 1000 + 100 * (10 + 2));
        costs.observeVerify(16, 0, 100, 1000 + 100 * (10 + 16 * 2));
        assertEquals(1000 + 300 * (10 + 8 * 2), costs.verify(8, 0, 300), 1);
        costs.observeDraft(4, 100, 500 + 25 * (10 + 4 * 2));
        assertEquals(500 + 0.25 * 300 * (10 + 4 * 2), costs.draft(4, 300), 1);
    }

    @Test
    void theFirstStreamRowAddsLaunches() {
        PassCosts costs = new PassCosts(0.5, 0.5, 70, new PassCosts.Context(0, 0));
        costs.observeVerify(1, 0, 0, 1000);
        costs.observeVerify(16, 0, 0, 1000);
        costs.observeVerify(32, 0, 0, 2600);
        for (int i = 0; i < 400; i++) {
            costs.observeVerify(16, 16, 0, 70 + 1400);
        }
        assertEquals(1000, costs.verify(16, 0, 0), 1);
        assertEquals(70 + 1400, costs.verify(16, 16, 0), 10);
        assertEquals(70 + 1000, costs.verify(1, 4, 0), 10);
    }

    @Test
    void whateverIsObservedCostsStayPositiveAndRiseWithRows() {
        for (long seed = 0; seed < 300; seed++) {
            Random random = new Random(seed);
            PassCosts costs = new PassCosts(
                    random.nextDouble(),
                    random.nextDouble(),
                    50 * random.nextDouble(),
                    new PassCosts.Context(100 * random.nextDouble(), 100 * random.nextDouble()));
            for (int i = 0; i < 300; i++) {
                long nanos = (long) Math.exp(20 * random.nextDouble() - 1);
                int rows = 1 + random.nextInt(random.nextBoolean() ? 8 : 600);
                int streams = random.nextInt(3) == 0 ? 4 * random.nextInt(200) : 0;
                costs.observeVerify(rows, streams, random.nextInt(4096), nanos);
                if (random.nextInt(4) == 0) {
                    costs.observeDraft(4 + random.nextInt(40), random.nextInt(4096), nanos);
                    assertTrue(costs.draft(4, 0) > 0, "seed " + seed);
                }
                double before = 0;
                if (streams == 0) {
                    for (int size = 1; size < 700; size += 7) {
                        double cost = costs.verify(size, 0, 0);
                        assertTrue(
                                cost > 0 && cost >= before * (1 - 1e-9) && cost < 1e12, "seed " + seed + ": " + cost);
                        before = cost;
                    }
                }
            }
        }
    }

    @Test
    void aPreemptedPassDoesNotBendTheCurve() {
        PassCosts costs = new PassCosts(0, 0.5, 0, new PassCosts.Context(0, 0));
        for (int i = 0; i < 100; i++) {
            costs.observeVerify(4, 0, 0, 1000);
        }
        costs.observeVerify(4, 0, 0, 1_000_000);
        assertTrue(costs.verify(4, 0, 0) < 1200, "was " + costs.verify(4, 0, 0));
    }

    @Test
    void unseenSizesLieOnTheLineThroughSeenOnes() {
        PassCosts costs = new PassCosts(0, 0.5, 0, new PassCosts.Context(0, 0));
        costs.observeVerify(1, 0, 0, 100);
        costs.observeVerify(32, 0, 0, 720);
        assertEquals(260, costs.verify(9, 0, 0), 1);
        assertEquals(1360, costs.verify(64, 0, 0), 1);
    }
}
