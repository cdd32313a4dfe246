// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import dev.tributary.FinishReason;
import dev.tributary.Generation;
import dev.tributary.GenerationStats;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;

/**
 * One finished generation.
 *
 * @param text its text
 * @param tokens its token ids, an end token included
 * @param finish why it ended
 * @param figures what it took
 */
public record Run(String text, List<Integer> tokens, FinishReason finish, Figures figures) {

    /**
     * What a generation took.
     *
     * @param promptTokens tokens of the prompt
     * @param tokens generated tokens
     * @param passes passes after prefill
     * @param prefill from the first step to the first token
     * @param decode from the first token to the last
     * @param draft decoding time for deferred streams and trees
     * @param forward decoding time in layers and LM head
     * @param verify decoding time for choice, walk and commit
     * @param host decoding time in Java
     * @param acceptedLengths passes by number of accepted drafted tokens
     * @param drafted nodes drafted at each depth, from depth 1
     * @param accepted nodes accepted at each depth, from depth 1
     */
    public record Figures(
            int promptTokens,
            int tokens,
            int passes,
            Duration prefill,
            Duration decode,
            Duration draft,
            Duration forward,
            Duration verify,
            Duration host,
            List<Long> acceptedLengths,
            List<Long> drafted,
            List<Long> accepted) {

        /** {@return the figures of a generation so far} */
        static Figures of(GenerationStats stats) {
            return new Figures(
                    stats.promptTokens(),
                    stats.tokens(),
                    stats.passes(),
                    stats.prefill(),
                    stats.decode(),
                    stats.draft(),
                    stats.forward(),
                    stats.verify(),
                    stats.host(),
                    Arrays.stream(stats.acceptedLengths())
                            .asLongStream()
                            .boxed()
                            .toList(),
                    Arrays.stream(stats.draftedPerDepth()).boxed().toList(),
                    Arrays.stream(stats.acceptedPerDepth()).boxed().toList());
        }
    }

    /**
     * Waits for a generation.
     *
     * @param generation ends by itself or is cancelled by somebody else
     * @return what came out
     */
    public static Run of(Generation generation) {
        String text = generation.text();
        return new Run(
                text,
                Arrays.stream(generation.tokens()).boxed().toList(),
                generation.finishReason(),
                Figures.of(generation.stats()));
    }

    /** {@return whether another run generated the same, token by token} */
    public boolean sameAs(Run other) {
        return text.equals(other.text) && tokens.equals(other.tokens);
    }
}
