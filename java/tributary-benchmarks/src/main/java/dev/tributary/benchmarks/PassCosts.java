// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import dev.tributary.Speculation;
import dev.tributary.Speculation.Budget;
import dev.tributary.Speculation.Placement;
import dev.tributary.Speculation.Shape;
import dev.tributary.cli.evaluation.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What passes cost on a large random model, where reading the weights should bind: plain decoding against the machine's
 * read bandwidth, and passes of more rows against passes of one.
 */
final class PassCosts {
    private static final int[] ROWS = {1, 2, 5, 8, 16, 32};
    private static final int PLAIN_TOKENS = 65;
    private static final int TREE_TOKENS = 33;
    private static final int CONTEXT = 64;

    /**
     * Plain decoding.
     *
     * @param weightBytes bytes of weights that a token reads
     * @param tokensPerSecond decoding speed
     * @param achieved 10⁹ bytes of weights read per second
     * @param bandwidth 10⁹ bytes per second that the same threads read from memory
     * @param share achieved over bandwidth, the two measured next to each other
     */
    record Plain(long weightBytes, double tokensPerSecond, double achieved, double bandwidth, double share) {
        Map<String, Object> figures() {
            Map<String, Object> figures = new LinkedHashMap<>();
            figures.put("weight_bytes", weightBytes);
            figures.put("tokens_per_second", tokensPerSecond);
            figures.put("gigabytes_per_second", achieved);
            figures.put("read_bandwidth_gigabytes_per_second", bandwidth);
            figures.put("share_of_bandwidth", share);
            return figures;
        }
    }

    /**
     * Passes of so many rows.
     *
     * @param budget rows that were asked for
     * @param rows rows that a pass had on average
     * @param forwardMillis time in layers and LM head
     * @param passMillis time of the whole pass, the deferred drafting included
     * @param relative forward time over that of one row
     */
    record Cost(int budget, double rows, double forwardMillis, double passMillis, double relative) {
        Map<String, Object> figures() {
            Map<String, Object> figures = new LinkedHashMap<>();
            figures.put("budget", budget);
            figures.put("rows", rows);
            figures.put("forward_milliseconds", forwardMillis);
            figures.put("pass_milliseconds", passMillis);
            figures.put("relative", relative);
            return figures;
        }
    }

    private final LanguageModel model;
    private final long weightBytes;
    private final String prompt;
    private final int rounds;

    /**
     * @param model a random model
     * @param weightBytes bytes of weights that a pass of one row reads
     * @param rounds times that everything is measured; medians count
     */
    PassCosts(LanguageModel model, long weightBytes, int rounds) {
        this.model = model;
        this.weightBytes = weightBytes;
        this.rounds = rounds;
        prompt = prompt();
    }

    // About as many tokens as the context that is asked for.
    private String prompt() {
        StringBuilder text = new StringBuilder("Question: how many rows does a pass have?");
        while (model.tokenize(text.toString()).length < CONTEXT) {
            text.append(" And then?");
        }
        return text.toString();
    }

    /** {@return plain decoding beside the machine's read bandwidth, measured in turns} */
    Plain plain(ReadBandwidth memory) {
        run(Speculation.off(), PLAIN_TOKENS);
        double[] achieved = new double[rounds];
        double[] bandwidth = new double[rounds];
        double[] share = new double[rounds];
        double[] speed = new double[rounds];
        for (int round = 0; round < rounds; round++) {
            // Memory before and after: the machine may be shared, and its share may change meanwhile.
            double before = bestOf(memory);
            Run.Figures figures = run(Speculation.off(), PLAIN_TOKENS);
            bandwidth[round] = (before + bestOf(memory)) / 2;
            speed[round] = (figures.tokens() - 1) * 1e9 / figures.decode().toNanos();
            achieved[round] = weightBytes * speed[round] / 1e9;
            share[round] = achieved[round] / bandwidth[round];
        }
        return new Plain(weightBytes, median(speed), median(achieved), median(bandwidth), median(share));
    }

    private static double bestOf(ReadBandwidth memory) {
        double best = 0;
        for (int i = 0; i < 3; i++) {
            best = Math.max(best, memory.gigabytesPerSecond());
        }
        return best;
    }

    /** {@return the cost of passes by their rows} */
    List<Cost> byRows() {
        double[][] forward = new double[ROWS.length][rounds];
        double[][] pass = new double[ROWS.length][rounds];
        double[] rows = new double[ROWS.length];
        for (int round = -1; round < rounds; round++) {
            for (int i = 0; i < ROWS.length; i++) {
                Run.Figures figures = run(speculation(ROWS[i]), TREE_TOKENS);
                // The first round warms up.
                if (round >= 0) {
                    forward[i][round] = figures.forward().toNanos() / 1e6 / figures.passes();
                    pass[i][round] = figures.decode().toNanos() / 1e6 / figures.passes();
                }
                long drafted =
                        figures.drafted().stream().mapToLong(Long::longValue).sum();
                rows[i] = 1 + drafted / (double) figures.passes();
            }
        }
        List<Cost> costs = new ArrayList<>();
        double one = median(forward[0]);
        for (int i = 0; i < ROWS.length; i++) {
            double time = median(forward[i]);
            costs.add(new Cost(ROWS[i], rows[i], time, median(pass[i]), time / one));
        }
        return costs;
    }

    // Streams after the verifying pass: so that a pass has main rows only, as many as its tree has nodes.
    private static Speculation speculation(int rows) {
        return rows == 1
                ? Speculation.off()
                : new Speculation(new Budget.Fixed(rows), new Shape.BestFirst(), Placement.DEFERRED);
    }

    private Run.Figures run(Speculation speculation, int tokens) {
        GenerationOptions options = GenerationOptions.builder()
                .maxTokens(tokens)
                .ignoreEndTokens(true)
                .speculation(speculation)
                .build();
        try (var generation = model.generate(prompt, options)) {
            return Run.of(generation).figures();
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
