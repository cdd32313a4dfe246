// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/** A request from its submission to its end. */
@Name("dev.tributary.Request")
@Label("Request")
@Category("Tributary")
@Description("A request from its submission to its end")
@StackTrace(false)
public final class RequestEvent extends Event {
    @Label("Model")
    @Description("Name of the model's directory")
    public String model = "";

    @Label("Request")
    @Description("Number of the request, from 1 in each model")
    public long request;

    @Label("Outcome")
    @Description("END_TOKEN, STOP_STRING, MAX_TOKENS, CONTEXT_LIMIT, CANCELLED, TIMED_OUT or FAILED")
    public String outcome = "";

    @Label("Prompt Tokens")
    @Description("Tokens of the prompt")
    public int promptTokens;

    @Label("Shared Prompt Tokens")
    @Description("Tokens of the prompt that were found computed already")
    public int sharedPromptTokens;

    @Label("Preemptions")
    @Description("How often it made room for others and went on later")
    public int preemptions;

    @Label("Tokens")
    @Description("Tokens generated")
    public int tokens;

    @Label("Passes")
    @Description("Passes after prefill")
    public int passes;

    @Label("Drafted Tokens")
    @Description("Drafted tokens that were verified")
    public long draftedTokens;

    @Label("Tokens per Pass")
    @Description("(tokens - 1) / passes: the first token comes from prefill")
    public double tokensPerPass;

    @Label("Queued")
    @Description("Time between the submission and the first step")
    @Timespan(Timespan.NANOSECONDS)
    public long queued;

    @Label("Prefill")
    @Description("Time from the first step to the first token")
    @Timespan(Timespan.NANOSECONDS)
    public long prefill;

    @Label("Decode")
    @Description("Time from the first token to the last")
    @Timespan(Timespan.NANOSECONDS)
    public long decode;

    /** An event that has not begun. */
    public RequestEvent() {}
}
