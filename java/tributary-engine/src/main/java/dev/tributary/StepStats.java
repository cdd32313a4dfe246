// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.run.StepFigures;
import java.time.Duration;
import java.util.Map;

/**
 * Figures of one step: one run of the model over the rows of all running generations. A generation that decodes makes one
 * pass in a step; others read a part of their prompt.
 */
public final class StepStats {
    private final int sequences;
    private final int decodingSequences;
    private final int promptTokens;
    private final int sharedPromptTokens;
    private final int draftedTokens;
    private final int acceptedTokens;
    private final int tokens;
    private final Map<TreeDecision, Long> decisions;
    private final double promisedTokens;
    private final double relativeCost;
    private final int mainRows;
    private final int streamRows;
    private final int queuedRequests;
    private final int recomputedTokens;
    private final int preemptions;
    private final int preemptedRequests;
    private final int pagesInUse;
    private final int pagesCached;
    private final int pages;
    private final Duration total;
    private final Duration forward;
    private final Duration verify;
    private final Duration draft;

    StepStats(StepFigures source) {
        sequences = source.sequences;
        decodingSequences = source.decoding;
        promptTokens = source.promptTokens;
        sharedPromptTokens = source.sharedTokens;
        draftedTokens = source.drafted;
        acceptedTokens = source.accepted;
        tokens = source.tokens;
        decisions = source.decisions.toMap();
        promisedTokens = source.promisedTokens;
        relativeCost = source.relativeCost;
        mainRows = source.mainRows;
        streamRows = source.streamRows;
        queuedRequests = source.queued;
        recomputedTokens = source.recomputedTokens;
        preemptions = source.preemptions;
        preemptedRequests = source.parked;
        pagesInUse = source.pagesInUse;
        pagesCached = source.pagesCached;
        pages = source.pages;
        total = Duration.ofNanos(source.totalNanos);
        forward = Duration.ofNanos(source.forwardNanos);
        verify = Duration.ofNanos(source.verifyNanos);
        draft = Duration.ofNanos(source.draftNanos);
    }

    /** {@return generations in the step} */
    public int sequences() {
        return sequences;
    }

    /** {@return those that verified a token tree; the others read their prompt} */
    public int decodingSequences() {
        return decodingSequences;
    }

    /** {@return tokens of prompts that were read} */
    public int promptTokens() {
        return promptTokens;
    }

    /** {@return tokens of prompts that need not be read, since other generations had computed them} */
    public int sharedPromptTokens() {
        return sharedPromptTokens;
    }

    /** {@return drafted nodes of all token trees, roots left out} */
    public int draftedTokens() {
        return draftedTokens;
    }

    /** {@return drafted tokens that were accepted and became text} */
    public int acceptedTokens() {
        return acceptedTokens;
    }

    /** {@return tokens that became text, the target's own included} */
    public int tokens() {
        return tokens;
    }

    /** {@return token trees by why they had their size; without those that there were none of} */
    public Map<TreeDecision, Long> treeDecisions() {
        return decisions;
    }

    /** {@return tokens that adaptive trees promised each generation of the step on average; 0 when nothing adaptive was drafted} */
    public double promisedTokens() {
        return promisedTokens;
    }

    /**
     * What the step was expected to cost with the best of the adaptive trees, their draft included. Where it is above
     * {@link #promisedTokens()}, drafting does not pay.
     *
     * @return over the cost of a plain step; 0 when nothing adaptive was drafted
     */
    public double relativeCost() {
        return relativeCost;
    }

    /** {@return rows of the model: tree nodes and prompt tokens} */
    public int mainRows() {
        return mainRows;
    }

    /** {@return rows of speculative streams inside the verifying pass} */
    public int streamRows() {
        return streamRows;
    }

    /** {@return requests that waited when the step began} */
    public int queuedRequests() {
        return queuedRequests;
    }

    /** {@return tokens that were computed anew, since their pages were given up when their generation made room} */
    public int recomputedTokens() {
        return recomputedTokens;
    }

    /** {@return generations that made room for others since the step before} */
    public int preemptions() {
        return preemptions;
    }

    /** {@return generations that have made room and wait to go on} */
    public int preemptedRequests() {
        return preemptedRequests;
    }

    /** {@return pages of the KV cache that generations held after it} */
    public int pagesInUse() {
        return pagesInUse;
    }

    /** {@return pages that no generation holds and that keep what was computed, until they are wanted} */
    public int pagesCached() {
        return pagesCached;
    }

    /** {@return pages of the KV cache} */
    public int pages() {
        return pages;
    }

    /** {@return time of the whole step} */
    public Duration total() {
        return total;
    }

    /** {@return time in the layers and the LM head; on a GPU, of the whole verifying pass by the GPU's clock} */
    public Duration forward() {
        return forward;
    }

    /** {@return time of target choice, walk and commit; 0 on a GPU, where {@link #forward()} holds it} */
    public Duration verify() {
        return verify;
    }

    /** {@return time of the drafting pass that followed; 0 when there was none} */
    public Duration draft() {
        return draft;
    }

    /** {@return the rest: growing trees, planning, text, bookkeeping, and on a GPU launching, copies and waiting} */
    public Duration host() {
        Duration rest = total.minus(forward).minus(verify).minus(draft);
        return rest.isNegative() ? Duration.ZERO : rest;
    }

    @Override
    public String toString() {
        return "StepStats[sequences=" + sequences + ", promptTokens=" + promptTokens + ", draftedTokens="
                + draftedTokens + ", acceptedTokens=" + acceptedTokens + ", tokens=" + tokens + ", total=" + total
                + "]";
    }
}
