// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.util.Objects;

/**
 * How a generation speculates. It changes the speed of a generation and never its text.
 *
 * @param budget how many nodes a pass's token tree may have
 * @param shape which candidates become nodes
 * @param placement which nodes carry speculative streams
 */
public record Speculation(Budget budget, Shape shape, Placement placement) {

    /** Nodes of a pass's token tree, the root included. */
    public sealed interface Budget {
        /** No tree beyond the root: plain decoding, no streams. */
        record None() implements Budget {}

        /**
         * At most this number of nodes in every pass; fewer where the shape has no more, where the text must end
         * sooner, and in large batches, since a step holds at most 512 nodes over all sequences.
         *
         * @param nodes nodes with the root, 2 to 128
         */
        record Fixed(int nodes) implements Budget {
            /** Greatest number of nodes. */
            public static final int MAX_NODES = 128;

            /** Checks the range. */
            public Fixed {
                if (nodes < 2 || nodes > MAX_NODES) {
                    throw new ConfigurationException("tree budget is " + nodes + ", expected 2 to " + MAX_NODES
                            + " nodes (use Speculation.off() for plain decoding)");
                }
            }
        }

        /**
         * As many nodes as pay: expected accepted tokens against measured pass costs, down to no speculation at all.
         *
         * @param maxNodes greatest number of nodes with the root, 2 to 128
         */
        record Adaptive(int maxNodes) implements Budget {
            /** Checks the range. */
            public Adaptive {
                if (maxNodes < 2 || maxNodes > Fixed.MAX_NODES) {
                    throw new ConfigurationException(
                            "greatest tree budget is " + maxNodes + ", expected 2 to " + Fixed.MAX_NODES + " nodes");
                }
            }
        }
    }

    /** Which candidates become nodes. */
    public sealed interface Shape {
        /** The nodes of greatest path probability, whatever their depth. */
        record BestFirst() implements Shape {}

        /** One node per depth: the first candidate of each stream. */
        record Chain() implements Shape {}

        /**
         * Every combination of the first {@code width} candidates of each stream (the paper's tree), cut at the node
         * budget in breadth-first order.
         *
         * @param width candidates per stream, 1 to 16
         */
        record Cartesian(int width) implements Shape {
            /** Checks the range. */
            public Cartesian {
                if (width < 1 || width > 16) {
                    throw new ConfigurationException("Cartesian width is " + width + ", expected 1 to 16");
                }
            }
        }
    }

    /** Which nodes carry speculative streams. All placements draft the same tokens after the same accepted node. */
    public enum Placement {
        /** Every node, inside the verifying pass: cheapest when memory bandwidth binds. */
        ALL_NODES,
        /** The nodes most likely to be accepted last, inside the verifying pass; any other ends in a one-row pass. */
        CHOSEN_NODES,
        /** The accepted node only, in a short second pass over the stream layers: cheapest when arithmetic binds. */
        DEFERRED,
        /** Whichever of the others was measured to be cheapest. */
        AUTOMATIC
    }

    private static final int DEFAULT_MAX_NODES = 64;

    /** Checks that nothing is missing. */
    public Speculation {
        Objects.requireNonNull(budget, "budget");
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(placement, "placement");
    }

    /** {@return plain decoding} */
    public static Speculation off() {
        return new Speculation(new Budget.None(), new Shape.BestFirst(), Placement.AUTOMATIC);
    }

    /** {@return the default: best-first trees of the size that pays} */
    public static Speculation adaptive() {
        return new Speculation(new Budget.Adaptive(DEFAULT_MAX_NODES), new Shape.BestFirst(), Placement.AUTOMATIC);
    }

    /**
     * A best-first tree of fixed size.
     *
     * @param nodes nodes with the root, 2 to 128
     * @return that speculation
     */
    public static Speculation tree(int nodes) {
        return new Speculation(new Budget.Fixed(nodes), new Shape.BestFirst(), Placement.AUTOMATIC);
    }

    /** {@return one candidate per stream, as deep as the adapter has streams} */
    public static Speculation chain() {
        return new Speculation(new Budget.Fixed(Budget.Fixed.MAX_NODES), new Shape.Chain(), Placement.AUTOMATIC);
    }

    /**
     * The paper's tree: every combination of the first candidates of each stream.
     *
     * @param width candidates per stream, 1 to 16
     * @return that speculation
     */
    public static Speculation cartesian(int width) {
        return new Speculation(
                new Budget.Fixed(Budget.Fixed.MAX_NODES), new Shape.Cartesian(width), Placement.AUTOMATIC);
    }

    /**
     * The same speculation with streams placed otherwise.
     *
     * @param other the placement
     * @return a copy
     */
    public Speculation withPlacement(Placement other) {
        return new Speculation(budget, shape, other);
    }
}
