// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.run.RequestCounters;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;

/**
 * Figures of one generation, so far or final. A pass is one run of the model over a token tree; the prompt's prefill is
 * not a pass, and the first token comes out of it.
 *
 * <p>Times are those of the passes that the generation took part in. What generations share, each counts in full.
 */
public final class GenerationStats {
    private final int promptTokens;
    private final int sharedPromptTokens;
    private final int preemptions;
    private final int tokens;
    private final int passes;
    private final long draftedTokens;
    private final int[] acceptedLengths;
    private final long[] draftedPerDepth;
    private final long[] acceptedPerDepth;
    private final int[] treeSizes;
    private final Map<TreeDecision, Long> decisions;
    private final Map<Speculation.Placement, Long> placements;
    private final long queuedNanos;
    private final long prefillNanos;
    private final long decodeNanos;
    private final long draftNanos;
    private final long forwardNanos;
    private final long verifyNanos;
    private final long hostNanos;

    /**
     * Takes the figures of a running generation.
     *
     * @param source what counted them
     */
    GenerationStats(RequestCounters source) {
        promptTokens = source.promptTokens;
        sharedPromptTokens = source.sharedTokens;
        preemptions = source.preemptions;
        tokens = source.tokens;
        passes = source.passes;
        draftedTokens = source.draftedTokens;
        acceptedLengths = source.acceptedLengths.clone();
        draftedPerDepth = source.draftedPerDepth.clone();
        acceptedPerDepth = source.acceptedPerDepth.clone();
        treeSizes = source.treeSizes.clone();
        decisions = source.decisions.toMap();
        placements = source.placements.toMap();
        queuedNanos = source.queuedNanos;
        prefillNanos = source.prefillNanos;
        decodeNanos = source.decodeNanos;
        draftNanos = source.draftNanos;
        forwardNanos = source.forwardNanos;
        verifyNanos = source.verifyNanos;
        hostNanos = source.hostNanos;
    }

    /** {@return tokens of the prompt} */
    public int promptTokens() {
        return promptTokens;
    }

    /** {@return those among them that other generations had computed already, so that they were not read again} */
    public int sharedPromptTokens() {
        return sharedPromptTokens;
    }

    /** {@return how often the generation made room for others and went on later} */
    public int preemptions() {
        return preemptions;
    }

    /** {@return generated tokens, an end token included} */
    public int tokens() {
        return tokens;
    }

    /** {@return passes after prefill} */
    public int passes() {
        return passes;
    }

    /** {@return (tokens − 1) / passes: the first token comes from prefill; 0 before the first pass} */
    public double tokensPerPass() {
        return passes == 0 ? 0 : (tokens - 1) / (double) passes;
    }

    /** {@return drafted tokens that were verified} */
    public long draftedTokens() {
        return draftedTokens;
    }

    /** {@return passes by number of accepted drafted tokens: element a counts the passes that accepted a} */
    public int[] acceptedLengths() {
        return acceptedLengths.clone();
    }

    /** {@return drafted nodes at each depth below the root; element 0 is depth 1} */
    public long[] draftedPerDepth() {
        return draftedPerDepth.clone();
    }

    /** {@return accepted nodes at each depth below the root; element 0 is depth 1} */
    public long[] acceptedPerDepth() {
        return acceptedPerDepth.clone();
    }

    /** {@return passes by size of the token tree: element n counts those of n nodes, the root among them} */
    public int[] treeSizes() {
        return treeSizes.clone();
    }

    /** {@return passes by why their tree had its size; without those that there were none of} */
    public Map<TreeDecision, Long> treeDecisions() {
        return decisions;
    }

    /** {@return passes that drafted the next tree, by where the streams ran; without those that there were none of} */
    public Map<Speculation.Placement, Long> placements() {
        return placements;
    }

    /** {@return mean number of accepted drafted tokens in a pass} */
    public double acceptanceLength() {
        long accepted = 0;
        for (int length = 0; length < acceptedLengths.length; length++) {
            accepted += (long) length * acceptedLengths[length];
        }
        return passes == 0 ? 0 : accepted / (double) passes;
    }

    /** {@return time between the request and its first step} */
    public Duration queued() {
        return Duration.ofNanos(queuedNanos);
    }

    /** {@return time from the first step to the first token} */
    public Duration prefill() {
        return Duration.ofNanos(prefillNanos);
    }

    /** {@return time from the first token to the last} */
    public Duration decode() {
        return Duration.ofNanos(decodeNanos);
    }

    /** {@return decoding time spent in drafting passes: deferred streams and their candidates} */
    public Duration draft() {
        return Duration.ofNanos(draftNanos);
    }

    /**
     * Decoding time spent in the layers and the LM head; on a GPU, which is not asked in between, the time of whole passes
     * by the GPU's own clock.
     *
     * @return a duration
     */
    public Duration forward() {
        return Duration.ofNanos(forwardNanos);
    }

    /**
     * Decoding time spent on target choice, walk and commit; on a GPU it is part of {@link #forward}.
     *
     * @return a duration; 0 on a GPU
     */
    public Duration verify() {
        return Duration.ofNanos(verifyNanos);
    }

    /**
     * Decoding time spent in Java: growing trees, planning, text, bookkeeping. On a GPU it is what the GPU's own time of
     * the passes leaves of the decoding time, so launching, copies and waiting are in it too.
     *
     * @return a duration
     */
    public Duration host() {
        return Duration.ofNanos(hostNanos);
    }

    /** {@return generated tokens after the first, per second of decoding; 0 when there was none} */
    public double tokensPerSecond() {
        return decodeNanos == 0 ? 0 : (tokens - 1) * 1e9 / decodeNanos;
    }

    @Override
    public String toString() {
        return "GenerationStats[promptTokens=" + promptTokens + ", tokens=" + tokens + ", passes=" + passes
                + ", tokensPerPass=" + tokensPerPass() + ", acceptedLengths=" + Arrays.toString(acceptedLengths)
                + ", prefill=" + prefill() + ", decode=" + decode() + "]";
    }
}
