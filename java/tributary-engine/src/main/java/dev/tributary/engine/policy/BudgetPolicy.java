// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

import dev.tributary.Speculation;
import dev.tributary.TreeDecision;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.tree.TokenTree;
import java.util.Arrays;
import java.util.List;

/**
 * Decides how large the trees of a pass are, where their streams run and whether to draft at all, from what passes were
 * measured to cost and what drafts were seen to be worth. No decision changes a text.
 *
 * <p>With B sequences and n drafted nodes a pass yields B + Σ pᵢ tokens, pᵢ the calibrated path probabilities in
 * descending order; the n and the placement with the most tokens per second win.
 */
public final class BudgetPolicy {
    /** A node is chosen to carry streams when it is at least this likely to be accepted last. */
    private static final double CHOSEN_PROBABILITY = 0.1;

    /** What drafting must promise over plain decoding: estimates err, and a wrong guess should cost nothing. */
    private static final double MARGIN = 1.03;

    private static final double FORGETTING = 0.02;

    private static final int TYPICAL_ROWS = 16;
    /** How much less than a row's cost a path may seem worth and still be looked at: estimates err. */
    private static final double HESITATION = 0.25;
    /** Where rows cost next to nothing a tree would grow to its limit: such paths are not worth the time to look at. */
    private static final double NEGLIGIBLE_PROBABILITY = 0.002;

    /** Passes from one in which sequences may try whether drafting pays to the next, at most. */
    private static final int TRIAL_PASSES = 32;

    private final PassCosts costs;
    private final int gamma;
    /** Of each adapter where acceptance is exact, then of each where it is typical: that lets more through. */
    private final AcceptanceCalibration[] calibrations;

    private final int adapters;
    /** What recent drafts promised: tokens, and the cost over a plain pass. It begins with a good word for drafting. */
    private double usualTokens = 2;

    private double usualCost = 1.6;
    private double promisedTokens;
    private double relativeCost;
    private int sinceTrials;
    private boolean trials = true;

    /**
     * Nothing learnt yet.
     *
     * @param costs what passes cost
     * @param gamma γ
     * @param adapters streams adapters, each of which is believed as far as it deserves
     */
    public BudgetPolicy(PassCosts costs, int gamma, int adapters) {
        this.costs = costs;
        this.gamma = gamma;
        this.adapters = Math.max(1, adapters);
        calibrations = new AcceptanceCalibration[2 * this.adapters];
        Arrays.setAll(calibrations, _ -> new AcceptanceCalibration());
    }

    /**
     * Paths less probable than this cannot pay for their row, whatever else is in the pass: a tree need not grow there.
     *
     * @param context tokens that a row sees, on average
     * @return a probability
     */
    public float leastProbability(double context) {
        double one = costs.verify(1, 0, context);
        double row = (costs.verify(TYPICAL_ROWS, 0, context) - one) / (TYPICAL_ROWS - 1);
        return (float) Math.max(NEGLIGIBLE_PROBABILITY, HESITATION * row / one);
    }

    /** One sequence's part in the next pass: its tree, grown to the greatest size, and what it may do. */
    public static final class Part {
        private final TokenTree tree;
        private final Speculation speculation;
        private final int adapter;
        private final boolean typical;
        private final DraftHabit habit = new DraftHabit();
        private final boolean[] anchors = new boolean[Limits.MAX_TREE];
        private Speculation.Placement placement = Speculation.Placement.DEFERRED;
        private TreeDecision decision = TreeDecision.UNDRAFTED;
        private double covered;
        private boolean drafted;
        private boolean paused;

        /**
         * A part that is used again for every pass of a sequence.
         *
         * @param tree the sequence's tree
         * @param speculation its options
         * @param adapter its streams adapter; 0 without
         * @param typical whether its drafts are accepted where they are typical, else exactly
         */
        public Part(TokenTree tree, Speculation speculation, int adapter, boolean typical) {
            this.tree = tree;
            this.speculation = speculation;
            this.adapter = adapter;
            this.typical = typical;
        }

        /**
         * Says whether there was a draft to grow the tree from, even if it grew nothing.
         *
         * @param value whether
         */
        public void drafted(boolean value) {
            drafted = value;
        }

        /** {@return where this pass's streams run; never AUTOMATIC} */
        public Speculation.Placement placement() {
            return placement;
        }

        /** {@return why this pass's tree has its size} */
        public TreeDecision decision() {
            return decision;
        }

        /**
         * Whether a node carries streams inside the pass.
         *
         * @param node the node
         * @return whether
         */
        public boolean isAnchor(int node) {
            return anchors[node];
        }

        boolean adapts() {
            return speculation.budget() instanceof Speculation.Budget.Adaptive;
        }
    }

    /**
     * Cuts the trees to the sizes that pay and places the streams.
     *
     * @param parts the sequences that decode in the next pass
     * @param context tokens that a row sees, on average
     */
    public void decide(List<Part> parts, double context) {
        int rows = 0;
        int adaptiveNodes = 0;
        boolean drafted = false;
        for (Part part : parts) {
            rows += part.adapts() ? 1 : part.tree.size();
            adaptiveNodes += part.adapts() ? part.tree.size() - 1 : 0;
            drafted |= part.adapts() && part.drafted;
        }
        for (Part part : parts) {
            part.decision = switch (part.speculation.budget()) {
                case Speculation.Budget.None none -> TreeDecision.OFF;
                case Speculation.Budget.Fixed fixed -> TreeDecision.FIXED;
                case Speculation.Budget.Adaptive adaptive -> part.paused ? TreeDecision.PAUSED : TreeDecision.UNDRAFTED;
            };
        }
        promisedTokens = 0;
        relativeCost = 0;
        // Of many sequences one always begins, or ends a pause, and its draft delays them all: they try together.
        trials = ++sinceTrials >= Math.min(parts.size(), TRIAL_PASSES);
        sinceTrials = trials ? 0 : sinceTrials;
        if (drafted) {
            cutAdaptiveTrees(parts, rows, adaptiveNodes, context);
        }
        place(parts, context);
    }

    /** {@return tokens that each sequence of the pass was promised on average, as it was decided last; 0 = no adaptive draft} */
    public double promisedTokens() {
        return promisedTokens;
    }

    /**
     * What the pass decided last costs, its draft included.
     *
     * @return over the cost of a plain pass; where it is above {@link #promisedTokens}, drafting does not pay; 0 = no adaptive
     *     draft
     */
    public double relativeCost() {
        return relativeCost;
    }

    /**
     * Whether to draft for a sequence after this pass.
     *
     * @param part the sequence
     * @return whether
     */
    public boolean drafts(Part part) {
        return switch (part.speculation.budget()) {
            case Speculation.Budget.None none -> false;
            case Speculation.Budget.Fixed fixed -> true;
            case Speculation.Budget.Adaptive adaptive -> {
                part.paused = !part.habit.drafts(trials || usualTokens >= usualCost);
                yield !part.paused;
            }
        };
    }

    /**
     * Learns from a verified tree.
     *
     * @param part the sequence, its tree as verified
     * @param acceptedDepth drafted tokens accepted
     */
    public void observe(Part part, int acceptedDepth) {
        if (part.tree.size() > 1) {
            calibration(part).observe(part.tree, acceptedDepth);
        }
    }

    private AcceptanceCalibration calibration(Part part) {
        return calibrations[part.typical ? adapters + part.adapter : part.adapter];
    }

    private double probability(Part part, int node) {
        return calibration(part).probability(part.tree, node);
    }

    private void cutAdaptiveTrees(List<Part> parts, int fixedRows, int nodes, double context) {
        // Nodes of all sequences by descending value. A child is never worth more than its parent in its own tree, so
        // every threshold cuts each tree to a prefix of its best-first order.
        double[] worth = new double[nodes];
        int count = 0;
        for (Part part : parts) {
            if (part.adapts()) {
                double least = 1;
                for (int node = 1; node < part.tree.size(); node++) {
                    least = Math.min(least, probability(part, node));
                    worth[count++] = least;
                }
            }
        }
        Arrays.sort(worth);
        int sequences = parts.size();
        int drafting = drafting(parts);
        double plain = costs.verify(fixedRows, 0, context);
        double threshold = Double.POSITIVE_INFINITY;
        double expected = sequences + expectedOfFixedTrees(parts);
        double bestTokens = expected;
        double bestCost = cheapest(fixedRows, drafting, context);
        for (int i = 1; i <= nodes; i++) {
            expected += worth[nodes - i];
            if (i < nodes && worth[nodes - i - 1] == worth[nodes - i]) {
                continue;
            }
            double cost = cheapest(fixedRows + i, drafting, context);
            if (expected / cost > bestTokens / bestCost) {
                bestTokens = expected;
                bestCost = cost;
                threshold = worth[nodes - i];
            }
        }
        double promised = bestTokens / sequences;
        promisedTokens = promised;
        relativeCost = MARGIN * bestCost / plain;
        boolean pays = promised >= relativeCost;
        // What drafting cost is spent already: the pass itself speculates when the nodes alone pay.
        if (!pays) {
            threshold = thresholdOfFreeNodes(worth, fixedRows, sequences, context);
        }
        for (Part part : parts) {
            if (part.adapts() && part.drafted) {
                part.habit.observe(promised, relativeCost, usualTokens, usualCost);
                double least = 1;
                int keep = 1;
                while (keep < part.tree.size()) {
                    least = Math.min(least, probability(part, keep));
                    if (least < threshold) {
                        break;
                    }
                    keep++;
                }
                part.tree.truncate(keep);
                part.decision = keep == 1 ? TreeDecision.DECLINED : pays ? TreeDecision.PAYS : TreeDecision.NODES_PAY;
            }
        }
        usualTokens += FORGETTING * (promised - usualTokens);
        usualCost += FORGETTING * (relativeCost - usualCost);
    }

    /** Sequences that may draft after this pass. */
    private static int drafting(List<Part> parts) {
        int count = 0;
        for (Part part : parts) {
            count += part.speculation.budget() instanceof Speculation.Budget.None ? 0 : 1;
        }
        return count;
    }

    private double expectedOfFixedTrees(List<Part> parts) {
        double expected = 0;
        for (Part part : parts) {
            for (int node = 1; !part.adapts() && node < part.tree.size(); node++) {
                expected += probability(part, node);
            }
        }
        return expected;
    }

    private double thresholdOfFreeNodes(double[] worth, int fixedRows, int sequences, double context) {
        double bestRate = sequences / costs.verify(fixedRows, 0, context);
        double threshold = Double.POSITIVE_INFINITY;
        double expected = sequences;
        for (int i = 1; i <= worth.length; i++) {
            expected += worth[worth.length - i];
            double rate = expected / costs.verify(fixedRows + i, 0, context);
            if (rate > bestRate) {
                bestRate = rate;
                threshold = worth[worth.length - i];
            }
        }
        return threshold;
    }

    /** Time of a pass and its draft, with streams where they are cheapest. */
    private double cheapest(int rows, int drafting, double context) {
        double deferred = costs.verify(rows, 0, context) + costs.draft(gamma * drafting, context);
        double everywhere = costs.verify(rows, gamma * rows, context);
        return Math.min(deferred, everywhere);
    }

    private void place(List<Part> parts, double context) {
        int rows = 0;
        int anchors = 0;
        double uncovered = 0;
        for (Part part : parts) {
            anchors += chooseAnchors(part);
            rows += part.tree.size();
            uncovered += 1 - part.covered;
        }
        int sequences = parts.size();
        int drafting = drafting(parts);
        double deferred = costs.verify(rows, 0, context) + costs.draft(gamma * drafting, context);
        double everywhere = costs.verify(rows, gamma * rows, context);
        // Where no streams were, a pass of one token has to follow: it costs a pass and yields what a plain one does.
        double again = costs.verify(sequences, gamma * sequences, context) - costs.verify(sequences, 0, context) / 2;
        double chosen = costs.verify(rows, gamma * anchors, context) + uncovered / sequences * again;
        Speculation.Placement cheapest = everywhere <= deferred && everywhere <= chosen
                ? Speculation.Placement.ALL_NODES
                : chosen < deferred ? Speculation.Placement.CHOSEN_NODES : Speculation.Placement.DEFERRED;
        for (Part part : parts) {
            Speculation.Placement wanted = part.speculation.placement();
            part.placement = wanted == Speculation.Placement.AUTOMATIC ? cheapest : wanted;
            if (part.placement != Speculation.Placement.CHOSEN_NODES) {
                Arrays.fill(part.anchors, 0, part.tree.size(), part.placement == Speculation.Placement.ALL_NODES);
            }
        }
    }

    /** Marks the nodes that are likely enough to be accepted last, the likeliest in any case. */
    private int chooseAnchors(Part part) {
        TokenTree tree = part.tree;
        double[] last = new double[tree.size()];
        for (int node = 0; node < tree.size(); node++) {
            double path = node == 0 ? 1 : probability(part, node);
            last[node] += path;
            if (node > 0) {
                last[tree.parent(node)] -= path;
            }
        }
        int likeliest = 0;
        for (int node = 1; node < tree.size(); node++) {
            if (last[node] > last[likeliest]) {
                likeliest = node;
            }
        }
        int chosen = 0;
        part.covered = 0;
        for (int node = 0; node < tree.size(); node++) {
            part.anchors[node] = node == likeliest || last[node] >= CHOSEN_PROBABILITY;
            if (part.anchors[node]) {
                chosen++;
                part.covered += Math.max(0, last[node]);
            }
        }
        part.covered = Math.min(1, part.covered);
        return chosen;
    }
}
