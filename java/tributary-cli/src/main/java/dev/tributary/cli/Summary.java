// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import dev.tributary.FinishReason;
import dev.tributary.GenerationStats;
import dev.tributary.cli.evaluation.Tally;

/** The line that closes a generation. */
final class Summary {
    private Summary() {}

    static String of(GenerationStats stats, FinishReason finish) {
        return String.join(
                " · ",
                Figures.count(stats.tokens(), "token"),
                Figures.count(stats.passes(), "pass"),
                Figures.ratio(stats.tokensPerPass()) + " tokens/pass",
                Figures.rate(stats.tokensPerSecond()) + " tokens/s",
                "prefill of " + Figures.count(stats.promptTokens(), "token") + shared(stats) + " in "
                        + Figures.time(stats.prefill()),
                reason(finish));
    }

    private static String shared(GenerationStats stats) {
        int shared = stats.sharedPromptTokens();
        return shared == 0 ? "" : ", " + Figures.count(shared) + " of them shared,";
    }

    /** {@return the sums of runs that were alone} */
    static String of(Tally tally) {
        return of(tally, 1);
    }

    /**
     * Sums of runs.
     *
     * @param batch runs that were in flight together
     */
    static String of(Tally tally, int batch) {
        String each = Figures.rate(tally.tokensPerSecond()) + " tokens/s";
        String all = Figures.rate(tally.endToEndTokensPerSecond()) + " tokens/s";
        return String.join(
                " · ",
                Figures.count(tally.tokens(), "token"),
                Figures.count(tally.passes(), "pass"),
                Figures.ratio(tally.tokensPerPass()) + " tokens/pass",
                batch == 1 ? each : each + " a sequence",
                batch == 1 ? all + " with prefill" : all + " of all together, with prefill");
    }

    private static String reason(FinishReason finish) {
        return switch (finish) {
            case END_TOKEN -> "the model ended it";
            case STOP_STRING -> "ended by --stop";
            case MAX_TOKENS -> "cut at --max-tokens";
            case CONTEXT_LIMIT -> "cut at the context limit";
        };
    }
}
