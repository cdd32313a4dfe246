// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli.evaluation;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;

/** Sums over runs, and the rates that follow from them. */
public final class Tally {
    private long runs;
    private long promptTokens;
    private long tokens;
    private long passes;
    private long[] acceptedLengths = new long[0];
    private long[] drafted = new long[0];
    private long[] accepted = new long[0];
    private Duration prefill = Duration.ZERO;
    private Duration decode = Duration.ZERO;
    private Duration draft = Duration.ZERO;
    private Duration forward = Duration.ZERO;
    private Duration verify = Duration.ZERO;
    private Duration host = Duration.ZERO;
    private Duration elapsed = Duration.ZERO;

    /** Starts from nothing. */
    public Tally() {}

    /**
     * Adds a run.
     *
     * @param figures what it took
     */
    public void add(Run.Figures figures) {
        runs++;
        promptTokens += figures.promptTokens();
        tokens += figures.tokens();
        passes += figures.passes();
        prefill = prefill.plus(figures.prefill());
        decode = decode.plus(figures.decode());
        draft = draft.plus(figures.draft());
        forward = forward.plus(figures.forward());
        verify = verify.plus(figures.verify());
        host = host.plus(figures.host());
        acceptedLengths = sum(acceptedLengths, figures.acceptedLengths());
        drafted = sum(drafted, figures.drafted());
        accepted = sum(accepted, figures.accepted());
    }

    /**
     * Adds time that passed while runs were going on; runs of one batch share it.
     *
     * @param time from the first request to the last answer
     */
    public void addElapsed(Duration time) {
        elapsed = elapsed.plus(time);
    }

    private static long[] sum(long[] sums, List<Long> values) {
        long[] longer = Arrays.copyOf(sums, Math.max(sums.length, values.size()));
        for (int i = 0; i < values.size(); i++) {
            longer[i] += values.get(i);
        }
        return longer;
    }

    /** {@return runs added} */
    public long runs() {
        return runs;
    }

    /** {@return tokens of the prompts} */
    public long promptTokens() {
        return promptTokens;
    }

    /** {@return generated tokens, end tokens included} */
    public long tokens() {
        return tokens;
    }

    /** {@return passes after prefill} */
    public long passes() {
        return passes;
    }

    /** {@return Σ (tokens − 1) / Σ passes, since a run's first token comes from prefill; 0 without passes} */
    public double tokensPerPass() {
        return passes == 0 ? 0 : (tokens - runs) / (double) passes;
    }

    /** {@return Σ (tokens − 1) per second of decoding; 0 without decoding} */
    public double tokensPerSecond() {
        return perSecond(tokens - runs, decode);
    }

    /** {@return Σ tokens per second that passed, prefill included; 0 when none passed} */
    public double endToEndTokensPerSecond() {
        return perSecond(tokens, elapsed);
    }

    private static double perSecond(long count, Duration time) {
        return time.isZero() ? 0 : count * 1e9 / time.toNanos();
    }

    /** {@return passes by number of accepted drafted tokens} */
    public List<Long> acceptedLengths() {
        return Arrays.stream(acceptedLengths).boxed().toList();
    }

    /** {@return nodes drafted at each depth, from depth 1} */
    public List<Long> drafted() {
        return Arrays.stream(drafted).boxed().toList();
    }

    /** {@return nodes accepted at each depth, from depth 1} */
    public List<Long> accepted() {
        return Arrays.stream(accepted).boxed().toList();
    }

    /** {@return time in prefill} */
    public Duration prefill() {
        return prefill;
    }

    /** {@return time in decoding} */
    public Duration decode() {
        return decode;
    }

    /** {@return decoding time for deferred streams and trees} */
    public Duration draft() {
        return draft;
    }

    /** {@return decoding time in layers and LM head} */
    public Duration forward() {
        return forward;
    }

    /** {@return decoding time for choice, walk and commit} */
    public Duration verify() {
        return verify;
    }

    /** {@return decoding time in Java} */
    public Duration host() {
        return host;
    }
}
