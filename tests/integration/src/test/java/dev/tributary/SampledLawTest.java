// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.engine.run.Request;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** With speculation, sampled pairs of tokens follow the target's own law. */
class SampledLawTest {
    private static final int SEEDS = 4000;
    private static final int TOP_K = 5;
    private static final float TEMPERATURE = 1.5f;
    private static final String PROMPT =
            "Question: Tom has 3 apples and buys 4 more. How many apples does he have?\nAnswer:";

    /** The law after temperature and top-k, in double precision, straight from the definition. */
    private static Map<Integer, Double> law(float[] logits) {
        List<Integer> ids = new ArrayList<>();
        for (int id = 0; id < logits.length; id++) {
            ids.add(id);
        }
        ids.sort(Comparator.comparingDouble((Integer id) -> -logits[id]).thenComparingInt(id -> id));
        Map<Integer, Double> weights = new HashMap<>();
        double sum = 0;
        for (int id : ids.subList(0, TOP_K)) {
            double weight = Math.exp((logits[id] - logits[ids.getFirst()]) / (double) TEMPERATURE);
            weights.put(id, weight);
            sum += weight;
        }
        double total = sum;
        weights.replaceAll((id, weight) -> weight / total);
        return weights;
    }

    @Test
    void pairsOfTokensFollowTheTargetsLaw() {
        Map<Integer, float[]> second = new HashMap<>();
        float[][] first = new float[1][];
        Map<List<Integer>, Integer> counts = new HashMap<>();
        long drafted = 0;
        long accepted = 0;
        try (LanguageModel model =
                DemoModel.load(LoadOptions.builder().device("host").build())) {
            for (int seed = 0; seed < SEEDS; seed++) {
                List<float[]> seen = new ArrayList<>();
                Request.LogitObserver observer = (index, logits) -> seen.add(logits.toArray(JAVA_FLOAT));
                GenerationOptions options = GenerationOptions.builder()
                        .maxTokens(4)
                        .ignoreEndTokens(true)
                        .temperature(TEMPERATURE)
                        .topK(TOP_K)
                        .seed(seed)
                        .speculation(Speculation.tree(8))
                        .build();
                Generation generation = model.generate(PROMPT, options, Optional.of(observer));
                int[] tokens = generation.tokens();
                drafted += generation.stats().draftedTokens();
                accepted += generation.stats().acceptedPerDepth()[0];
                first[0] = seen.get(0);
                second.putIfAbsent(tokens[0], seen.get(1));
                counts.merge(List.of(tokens[0], tokens[1]), 1, Integer::sum);
            }
        }
        // The second token is the first that a tree can bring.
        assertTrue(drafted > SEEDS, drafted + " tokens were drafted");
        assertTrue(accepted > SEEDS / 4, accepted + " were accepted at depth 1");
        double statistic = 0;
        int cells = 0;
        double pooledExpected = 0;
        int pooledCount = 0;
        int total = 0;
        for (Map.Entry<Integer, Double> a : law(first[0]).entrySet()) {
            float[] logits = second.get(a.getKey());
            assertTrue(logits != null, "a token of probability " + a.getValue() + " was never drawn");
            for (Map.Entry<Integer, Double> b : law(logits).entrySet()) {
                double expected = SEEDS * a.getValue() * b.getValue();
                int count = counts.getOrDefault(List.of(a.getKey(), b.getKey()), 0);
                total += count;
                if (expected < 5) {
                    pooledExpected += expected;
                    pooledCount += count;
                } else {
                    statistic += (count - expected) * (count - expected) / expected;
                    cells++;
                }
            }
        }
        assertTrue(total == SEEDS, (SEEDS - total) + " pairs have probability zero");
        if (pooledExpected > 0) {
            statistic += (pooledCount - pooledExpected) * (pooledCount - pooledExpected) / pooledExpected;
            cells++;
        }
        // Wilson and Hilferty: the cube root of χ²/df is nearly normal; 4.75 standard deviations are 1 in 10⁶.
        double freedom = cells - 1;
        double spread = 2 / (9 * freedom);
        double bound = freedom * Math.pow(1 - spread + 4.75 * Math.sqrt(spread), 3);
        assertTrue(cells > 8, cells + " cells");
        assertTrue(statistic < bound, "chi-square " + statistic + " over " + freedom + ", bound " + bound);
    }
}
