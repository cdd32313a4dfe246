// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/** One step of the device thread: one run of the model over the rows of all running sequences. */
@Name("dev.tributary.Step")
@Label("Step")
@Category("Tributary")
@Description("One run of the model over the rows of all running sequences, and what drafting followed it")
@StackTrace(false)
public final class StepEvent extends Event {
    @Label("Model")
    @Description("Name of the model's directory")
    public String model = "";

    @Label("Sequences")
    @Description("Sequences in the step")
    public int sequences;

    @Label("Decoding Sequences")
    @Description("Those that verify a token tree; the others read their prompt")
    public int decodingSequences;

    @Label("Prompt Tokens")
    @Description("Tokens of prompts that were read")
    public int promptTokens;

    @Label("Shared Prompt Tokens")
    @Description("Tokens of prompts that were found computed already")
    public int sharedPromptTokens;

    @Label("Drafted Tokens")
    @Description("Drafted nodes of all token trees, roots left out")
    public int draftedTokens;

    @Label("Accepted Tokens")
    @Description("Drafted tokens that were accepted and became text")
    public int acceptedTokens;

    @Label("Tokens")
    @Description("Tokens generated, the target's own included")
    public int tokens;

    @Label("Promised Tokens")
    @Description("Tokens that adaptive trees promised each sequence on average; 0 when nothing adaptive was drafted")
    public double promisedTokens;

    @Label("Relative Cost")
    @Description(
            "Expected cost of the step with the best trees and their draft, over a plain one; above the promised tokens"
                    + " drafting does not pay")
    public double relativeCost;

    @Label("Main Rows")
    @Description("Rows of the model: tree nodes and prompt tokens")
    public int mainRows;

    @Label("Stream Rows")
    @Description("Rows of speculative streams inside the verifying pass")
    public int streamRows;

    @Label("Queued Requests")
    @Description("Requests that waited when the step began")
    public int queuedRequests;

    @Label("Preempted Requests")
    @Description("Requests that have made room for others and wait to go on")
    public int preemptedRequests;

    @Label("Preemptions")
    @Description("Requests that made room since the step before")
    public int preemptions;

    @Label("Recomputed Tokens")
    @Description("Tokens computed anew, since their pages were given up")
    public int recomputedTokens;

    @Label("Pages in Use")
    @Description("Pages of the KV cache that sequences hold")
    public int pagesInUse;

    @Label("Pages Cached")
    @Description("Pages that no sequence holds and that keep a known prefix")
    public int pagesCached;

    @Label("Pages")
    @Description("Pages of the KV cache")
    public int pages;

    @Label("Forward")
    @Description("Time in layers and LM head; on a GPU, of the whole verifying pass by the GPU's clock")
    @Timespan(Timespan.NANOSECONDS)
    public long forward;

    @Label("Verify")
    @Description("Time in target choice, walk and commit; 0 on a GPU, where forward holds it")
    @Timespan(Timespan.NANOSECONDS)
    public long verify;

    @Label("Draft")
    @Description("Time of the drafting pass that followed; 0 when there was none")
    @Timespan(Timespan.NANOSECONDS)
    public long draft;

    /** An event that has not begun. */
    public StepEvent() {}
}
