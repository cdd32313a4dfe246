// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What came out of an evaluation. */
public final class Report {
    private static final int MOST_DIFFERENCES = 20;

    private final Tally speculative = new Tally();
    private final Tally plain = new Tally();
    private final List<Map<String, Object>> differences = new ArrayList<>();
    private int skipped;
    private int identicalTexts;
    private int identicalTokens;
    private int queries;
    private int exactMatches;

    Report() {}

    /** Adds a prompt's two runs. */
    void add(Example example, Run plainRun, Run speculativeRun) {
        plain.add(plainRun.figures());
        speculative.add(speculativeRun.figures());
        if (plainRun.text().equals(speculativeRun.text())) {
            identicalTexts++;
        }
        if (plainRun.tokens().equals(speculativeRun.tokens())) {
            identicalTokens++;
        }
        if (!plainRun.sameAs(speculativeRun) && differences.size() < MOST_DIFFERENCES) {
            Map<String, Object> difference = new LinkedHashMap<>();
            difference.put("line", example.line());
            difference.put("prompt", example.prompt());
            difference.put("plain_text", plainRun.text());
            difference.put("text", speculativeRun.text());
            difference.put("plain_token_ids", plainRun.tokens());
            difference.put("token_ids", speculativeRun.tokens());
            differences.add(difference);
        }
        if (SqlQuery.isQuery(example.completion())) {
            queries++;
            if (SqlQuery.same(plainRun.text(), example.completion())) {
                exactMatches++;
            }
        }
    }

    /** Counts a prompt that does not fit into the model's context. */
    void skip() {
        skipped++;
    }

    /** {@return sums with speculation} */
    public Tally speculative() {
        return speculative;
    }

    /** {@return sums without} */
    public Tally plain() {
        return plain;
    }

    /** {@return prompts that were measured} */
    public long prompts() {
        return plain.runs();
    }

    /** {@return prompts left out because they do not fit into the model's context} */
    public int skipped() {
        return skipped;
    }

    /** {@return prompts whose two texts are equal} */
    public int identicalTexts() {
        return identicalTexts;
    }

    /** {@return whether every prompt gave the same with speculation and without, token by token} */
    public boolean lossless() {
        return identicalTexts == prompts() && identicalTokens == prompts();
    }

    /** {@return decoding speed with speculation over without; 0 when nothing was decoded} */
    public double speedup() {
        return quotient(speculative.tokensPerSecond(), plain.tokensPerSecond());
    }

    /** {@return the same, prefill included} */
    public double endToEndSpeedup() {
        return quotient(speculative.endToEndTokensPerSecond(), plain.endToEndTokensPerSecond());
    }

    /** {@return prompts whose completion is an SQL query} */
    public int queries() {
        return queries;
    }

    /** {@return how many of these the plain text equals, case, quotes, spaces and semicolons apart} */
    public int exactMatches() {
        return exactMatches;
    }

    private static double quotient(double dividend, double divisor) {
        return divisor == 0 ? 0 : dividend / divisor;
    }

    /** {@return every figure by its name in the JSON report, in reading order} */
    public Map<String, Object> figures() {
        Map<String, Object> figures = new LinkedHashMap<>();
        figures.put("prompts", prompts());
        figures.put("skipped_prompts", skipped);
        figures.put("tokens", speculative.tokens());
        figures.put("passes", speculative.passes());
        figures.put("tokens_per_pass", speculative.tokensPerPass());
        figures.put("identical_texts", identicalTexts);
        figures.put("identical_tokens", identicalTokens);
        figures.put("tokens_per_second", speculative.tokensPerSecond());
        figures.put("plain_tokens_per_second", plain.tokensPerSecond());
        figures.put("speedup", speedup());
        figures.put("end_to_end_tokens_per_second", speculative.endToEndTokensPerSecond());
        figures.put("plain_end_to_end_tokens_per_second", plain.endToEndTokensPerSecond());
        figures.put("end_to_end_speedup", endToEndSpeedup());
        if (queries > 0) {
            figures.put("exact_match", exactMatches / (double) queries);
            figures.put("exact_matches", exactMatches);
            figures.put("sql_prompts", queries);
        }
        figures.put("prompt_tokens", speculative.promptTokens());
        figures.put("plain_tokens", plain.tokens());
        figures.put("plain_passes", plain.passes());
        figures.put("seconds", seconds(speculative));
        figures.put("plain_seconds", seconds(plain));
        figures.put("accepted_lengths", speculative.acceptedLengths());
        figures.put("depths", depths());
        figures.put("differences", differences);
        return figures;
    }

    private static Map<String, Object> seconds(Tally tally) {
        Map<String, Object> seconds = new LinkedHashMap<>();
        seconds.put("prefill", seconds(tally.prefill()));
        seconds.put("decode", seconds(tally.decode()));
        seconds.put("draft", seconds(tally.draft()));
        seconds.put("forward", seconds(tally.forward()));
        seconds.put("verify", seconds(tally.verify()));
        seconds.put("host", seconds(tally.host()));
        return seconds;
    }

    private static double seconds(Duration time) {
        return time.toNanos() / 1e9;
    }

    /** {@return for each depth that was drafted: nodes per pass, and the share of passes that accepted one} */
    private List<Map<String, Object>> depths() {
        List<Map<String, Object>> depths = new ArrayList<>();
        List<Long> drafted = speculative.drafted();
        for (int i = 0; i < drafted.size() && drafted.get(i) > 0; i++) {
            long accepted = speculative.accepted().get(i);
            Map<String, Object> depth = new LinkedHashMap<>();
            depth.put("depth", i + 1);
            depth.put("drafted", drafted.get(i));
            depth.put("accepted", accepted);
            depth.put("drafted_per_pass", drafted.get(i) / (double) speculative.passes());
            depth.put("acceptance", accepted / (double) speculative.passes());
            depths.add(depth);
        }
        return depths;
    }
}
