// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.jfr;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** What a step did for one sequence that decodes; an instant, since a step's time is shared. */
@Name("dev.tributary.Pass")
@Label("Pass")
@Category("Tributary")
@Description("One token tree of one request, verified")
@StackTrace(false)
public final class PassEvent extends Event {
    @Label("Model")
    @Description("Name of the model's directory")
    public String model = "";

    @Label("Request")
    @Description("Number of the request, from 1 in each model")
    public long request;

    @Label("Context Tokens")
    @Description("Tokens of the sequence that were committed before")
    public int contextTokens;

    @Label("Drafted Tokens")
    @Description("Nodes of the token tree, the root left out")
    public int draftedTokens;

    @Label("Tree Decision")
    @Description("Why the tree has its size: OFF, FIXED, PAYS, NODES_PAY, DECLINED, PAUSED or UNDRAFTED")
    public String decision = "";

    @Label("Drafted Depth")
    @Description("Depth of the deepest node")
    public int draftedDepth;

    @Label("Accepted Tokens")
    @Description("Drafted tokens that were accepted and became text")
    public int acceptedTokens;

    @Label("Tokens")
    @Description("Tokens generated, the target's own included")
    public int tokens;

    @Label("Placement")
    @Description("Where the streams ran that draft the next tree: ALL_NODES, CHOSEN_NODES, DEFERRED, or NONE")
    public String placement = "";

    /** An empty event. */
    public PassEvent() {}
}
