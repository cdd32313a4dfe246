// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.time.Duration;
import java.util.Map;

/**
 * Figures of a model since it was loaded, over all generations. What a generation brought is counted before its readers
 * hear that it ended; steps, times and prompt tokens are counted when the step has ended.
 */
public final class ModelStats {
    private final long submitted;
    private final int queued;
    private final long refused;
    private final int preempted;
    private final long swappedBytes;
    private final int pages;
    private final int pagesInUse;
    private final int pagesCached;
    private final Totals totals;

    /**
     * Takes the figures.
     *
     * @param totals a copy that nobody changes
     */
    ModelStats(
            long submitted,
            long refused,
            int queued,
            int preempted,
            long swappedBytes,
            int pages,
            int pagesInUse,
            int pagesCached,
            Totals totals) {
        this.submitted = submitted;
        this.refused = refused;
        this.queued = queued;
        this.preempted = preempted;
        this.swappedBytes = swappedBytes;
        this.pages = pages;
        this.pagesInUse = pagesInUse;
        this.pagesCached = pagesCached;
        this.totals = totals;
    }

    /** {@return requests that were taken} */
    public long submittedRequests() {
        return submitted;
    }

    /** {@return requests that were refused, since too many waited} */
    public long refusedRequests() {
        return refused;
    }

    /** {@return requests that wait} */
    public int queuedRequests() {
        return queued;
    }

    /** {@return requests that are being generated, those that had to make room for others among them} */
    public int runningRequests() {
        long ended = totals.completed + totals.cancelled + totals.timedOut + totals.failed;
        return Math.toIntExact(Math.max(0, submitted - queued - ended));
    }

    /** {@return requests whose text ended by itself: an end token, a stop string, a limit} */
    public long completedRequests() {
        return totals.completed;
    }

    /** {@return requests that were cancelled, or whose model was closed} */
    public long cancelledRequests() {
        return totals.cancelled;
    }

    /** {@return requests whose timeout was over before they had ended} */
    public long timedOutRequests() {
        return totals.timedOut;
    }

    /** {@return requests that have made room for others and wait to go on} */
    public int preemptedRequests() {
        return preempted;
    }

    /** {@return how often a request made room for others} */
    public long preemptions() {
        return totals.preemptions;
    }

    /** {@return bytes of host memory that keep what preempted requests had computed} */
    public long swappedBytes() {
        return swappedBytes;
    }

    /** {@return tokens that were computed anew, since there was no host memory to keep them} */
    public long recomputedTokens() {
        return totals.recomputedTokens;
    }

    /** {@return requests that failed: with the device, for want of memory, or by their constraint} */
    public long failedRequests() {
        return totals.failed;
    }

    /** {@return tokens of prompts that were read} */
    public long promptTokens() {
        return totals.promptTokens;
    }

    /** {@return tokens of prompts that were not read, since other generations had computed them} */
    public long sharedPromptTokens() {
        return totals.sharedTokens;
    }

    /** {@return the share of all prompt tokens that were found computed; 0 before the first} */
    public double prefixHitRate() {
        long all = totals.sharedTokens + totals.promptTokens;
        return all == 0 ? 0 : totals.sharedTokens / (double) all;
    }

    /** {@return generated tokens, end tokens included} */
    public long tokens() {
        return totals.tokens;
    }

    /** {@return runs of the model over the rows of all running generations} */
    public long steps() {
        return totals.steps;
    }

    /** {@return verified token trees: each generation that decodes makes one pass in a step} */
    public long passes() {
        return totals.passes;
    }

    /** {@return drafted tokens that were verified} */
    public long draftedTokens() {
        return totals.drafted;
    }

    /** {@return drafted tokens that were accepted and became text} */
    public long acceptedTokens() {
        return totals.accepted;
    }

    /** {@return drafted nodes at each depth below the root; element 0 is depth 1} */
    public long[] draftedPerDepth() {
        return totals.draftedPerDepth.clone();
    }

    /** {@return accepted nodes at each depth below the root, at most one a pass; element 0 is depth 1} */
    public long[] acceptedPerDepth() {
        return totals.acceptedPerDepth.clone();
    }

    /** {@return passes by size of the token tree: element n counts those of n nodes, the root among them} */
    public long[] treeSizes() {
        return totals.treeSizes.clone();
    }

    /** {@return passes by why their tree had its size; without those that there were none of} */
    public Map<TreeDecision, Long> treeDecisions() {
        return totals.decisions.toMap();
    }

    /** {@return passes that drafted the next tree, by where the streams ran; without those that there were none of} */
    public Map<Speculation.Placement, Long> placements() {
        return totals.placements.toMap();
    }

    /** {@return generated tokens in a pass, on average; first tokens come from prefill and are left out} */
    public double tokensPerPass() {
        return totals.passes == 0 ? 0 : totals.passTokens / (double) totals.passes;
    }

    /** {@return accepted drafted tokens in a pass, on average} */
    public double acceptanceLength() {
        return totals.passes == 0 ? 0 : totals.accepted / (double) totals.passes;
    }

    /** {@return pages of the KV cache} */
    public int pages() {
        return pages;
    }

    /** {@return pages of the KV cache that generations hold} */
    public int pagesInUse() {
        return pagesInUse;
    }

    /** {@return pages that no generation holds and that keep what was computed, until they are wanted} */
    public int pagesCached() {
        return pagesCached;
    }

    /** {@return time in steps, whole} */
    public Duration stepping() {
        return Duration.ofNanos(totals.stepNanos);
    }

    /** {@return time in the layers and the LM head; on a GPU, of the whole verifying passes by the GPU's clock} */
    public Duration forward() {
        return Duration.ofNanos(totals.forwardNanos);
    }

    /** {@return time of target choice, walk and commit; 0 on a GPU, where {@link #forward()} holds it} */
    public Duration verify() {
        return Duration.ofNanos(totals.verifyNanos);
    }

    /** {@return time of drafting passes} */
    public Duration draft() {
        return Duration.ofNanos(totals.draftNanos);
    }

    /** {@return the rest of {@link #stepping()}: planning, text, bookkeeping, and on a GPU launching and waiting} */
    public Duration host() {
        return Duration.ofNanos(
                Math.max(0, totals.stepNanos - totals.forwardNanos - totals.verifyNanos - totals.draftNanos));
    }

    @Override
    public String toString() {
        return "ModelStats[submitted=" + submitted + ", queued=" + queued + ", completed=" + totals.completed
                + ", tokens=" + totals.tokens + ", passes=" + totals.passes + ", tokensPerPass=" + tokensPerPass()
                + ", pagesInUse=" + pagesInUse + " of " + pages + "]";
    }
}
