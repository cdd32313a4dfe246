// SPDX-License-Identifier: Apache-2.0
package dev.tributary.benchmarks;

import dev.tributary.Generation;
import dev.tributary.GenerationOptions;
import dev.tributary.LanguageModel;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** What the prefill of a prompt costs when another began with the same tokens, against a prompt that nobody has read. */
final class PrefixCosts {
    private static final GenerationOptions ONE_TOKEN =
            GenerationOptions.builder().maxTokens(1).ignoreEndTokens(true).build();

    private final LanguageModel model;
    private final int rounds;
    private final Random random = new Random(1);

    /**
     * Nothing measured yet.
     *
     * @param model with prefix sharing
     * @param rounds prefixes; medians count
     */
    PrefixCosts(LanguageModel model, int rounds) {
        this.model = model;
        this.rounds = rounds;
    }

    /**
     * Medians of the first and the second prompt with a prefix.
     *
     * @param prefixTokens tokens that they have in common
     * @param firstTokens tokens of the first
     * @param secondRows tokens of the second that were read
     * @param firstMillis prefill of the first
     * @param secondMillis prefill of the second
     */
    record Cost(int prefixTokens, int firstTokens, int secondRows, double firstMillis, double secondMillis) {
        double cheaper() {
            return firstMillis / secondMillis;
        }

        Map<String, Object> figures() {
            Map<String, Object> figures = new LinkedHashMap<>();
            figures.put("prefix_tokens", prefixTokens);
            figures.put("first_tokens", firstTokens);
            figures.put("second_rows", secondRows);
            figures.put("first_ms", firstMillis);
            figures.put("second_ms", secondMillis);
            figures.put("cheaper", cheaper());
            return figures;
        }
    }

    /**
     * Measures.
     *
     * @param prefixTokens tokens in common, at least
     */
    Cost measure(int prefixTokens) {
        List<Double> first = new ArrayList<>();
        List<Double> second = new ArrayList<>();
        int prefixLength = 0;
        int firstTokens = 0;
        int secondRows = 0;
        for (int round = 0; round < rounds; round++) {
            String prefix = prefix(prefixTokens);
            prefixLength = model.tokenize(prefix).length;
            try (Generation one = model.generate(prefix + "\nOne", ONE_TOKEN)) {
                one.text();
                first.add(one.stats().prefill().toNanos() / 1e6);
                firstTokens = one.stats().promptTokens();
            }
            try (Generation two = model.generate(prefix + "\nTwo", ONE_TOKEN)) {
                two.text();
                second.add(two.stats().prefill().toNanos() / 1e6);
                secondRows = two.stats().promptTokens() - two.stats().sharedPromptTokens();
            }
        }
        return new Cost(prefixLength, firstTokens, secondRows, median(first), median(second));
    }

    private String prefix(int tokens) {
        StringBuilder text = new StringBuilder();
        while (model.tokenize(text.toString()).length < tokens) {
            text.append((char) ('a' + random.nextInt(26)));
        }
        return text.toString();
    }

    private static double median(List<Double> values) {
        return values.stream().sorted().skip(values.size() / 2).findFirst().orElseThrow();
    }
}
