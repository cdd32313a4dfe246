// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

import dev.tributary.engine.device.Limits;
import dev.tributary.engine.tree.TokenTree;

/**
 * How far drafted probabilities can be believed: for each depth, accepted tokens over the sum of drafted path
 * probabilities, with old passes slowly forgotten.
 */
final class AcceptanceCalibration {
    private static final double FORGETTING = 0.995;
    // Weight of the belief that drafted probabilities are right, in expected acceptances.
    private static final double PRIOR = 4;

    private final double[] expected = new double[Limits.MAX_DEPTH + 1];
    private final double[] accepted = new double[Limits.MAX_DEPTH + 1];

    void observe(TokenTree tree, int acceptedDepth) {
        for (int depth = 1; depth <= Limits.MAX_DEPTH; depth++) {
            expected[depth] *= FORGETTING;
            accepted[depth] *= FORGETTING;
        }
        for (int node = 1; node < tree.size(); node++) {
            expected[tree.depth(node)] += tree.probability(node);
        }
        for (int depth = 1; depth <= acceptedDepth; depth++) {
            accepted[depth] += 1;
        }
    }

    double probability(TokenTree tree, int node) {
        int depth = tree.depth(node);
        double ratio = (accepted[depth] + PRIOR) / (expected[depth] + PRIOR);
        return Math.min(1, tree.probability(node) * ratio);
    }
}
