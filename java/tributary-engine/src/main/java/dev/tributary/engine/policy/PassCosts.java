// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.policy;

/**
 * What a pass costs, learnt from passes: a piecewise linear curve over rows for verifying passes, one over stream rows
 * for drafting passes, and what attention adds for each token of the context: once for all rows, which share the reading
 * of the cache, and once for each row. A stream row inside a verifying pass counts as a fraction of a main row, and the
 * first of them adds launches. Nanoseconds.
 */
public final class PassCosts {
    private static final int[] KNOTS = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096};
    // What disturbs a pass only ever makes it slower, so quick passes teach more than slow ones, and no pass teaches
    // more than a quarter of what was expected.
    private static final double QUICKER_RATE = 0.2;
    private static final double SLOWER_RATE = 0.04;
    private static final double GREATEST_SURPRISE = 0.25;
    private static final double MOST_FRACTION = 4;
    private static final double LEAST_SHARE = 0.1;

    private final double streamLayerFraction;
    private final Context attention;
    private final double streamLaunches;
    private double streamRowFraction;
    private final Curve verify = new Curve();
    private final Curve draft = new Curve();

    /**
     * What attention takes for each token of the context.
     *
     * @param once nanoseconds, whatever the number of rows
     * @param perRow nanoseconds for each main row
     */
    public record Context(double once, double perRow) {}

    /**
     * No pass seen yet.
     *
     * @param streamRowFraction time of a stream row over that of a main row, until it is measured
     * @param streamLayerFraction layers that hold streams over all layers
     * @param streamLaunches what a verifying pass takes longer because it has streams, however few
     * @param attention what attention takes
     */
    public PassCosts(double streamRowFraction, double streamLayerFraction, double streamLaunches, Context attention) {
        this.streamRowFraction = streamRowFraction;
        this.streamLayerFraction = streamLayerFraction;
        this.streamLaunches = streamLaunches;
        this.attention = attention;
    }

    /**
     * Learns from a verifying pass without prefill rows: without streams what main rows cost, with them what fraction
     * of a main row a stream row is. So one never distorts the other.
     *
     * @param mainRows main rows
     * @param streamRows stream rows inside the pass
     * @param context tokens that a row sees, on average
     * @param nanos its time
     */
    public void observeVerify(int mainRows, int streamRows, double context, long nanos) {
        double dense = dense(nanos, attention(mainRows, streamRows, context));
        if (streamRows == 0) {
            verify.observe(mainRows, dense);
            return;
        }
        double rows = verify.rowsOf(Math.max(dense - streamLaunches, LEAST_SHARE * dense));
        double seen = Math.clamp((rows - mainRows) / streamRows, 0, MOST_FRACTION);
        streamRowFraction += (seen < streamRowFraction ? QUICKER_RATE : SLOWER_RATE) * (seen - streamRowFraction);
    }

    /**
     * Learns from a drafting pass.
     *
     * @param streamRows stream rows
     * @param context tokens that a row sees, on average
     * @param nanos its time
     */
    public void observeDraft(int streamRows, double context, long nanos) {
        draft.observe(streamRows, dense(nanos, attention(0, streamRows, context)));
    }

    /**
     * Expected time of a verifying pass.
     *
     * @param mainRows main rows
     * @param streamRows stream rows inside the pass
     * @param context tokens that a row sees, on average
     * @return nanoseconds
     */
    public double verify(int mainRows, int streamRows, double context) {
        return verify.at(mainRows + streamRowFraction * streamRows)
                + (streamRows > 0 ? streamLaunches : 0)
                + attention(mainRows, streamRows, context);
    }

    /**
     * Expected time of a drafting pass.
     *
     * @param streamRows stream rows; 0 = no pass
     * @param context tokens that a row sees, on average
     * @return nanoseconds
     */
    public double draft(int streamRows, double context) {
        return streamRows == 0 ? 0 : draft.at(streamRows) + attention(0, streamRows, context);
    }

    /** What is left of a time without attention; something always is, even when attention is taken for too slow. */
    private static double dense(long nanos, double attention) {
        return Math.max(nanos - attention, LEAST_SHARE * Math.max(1, nanos));
    }

    private double attention(int mainRows, int streamRows, double context) {
        double layers = mainRows > 0 ? 1 : streamLayerFraction;
        return context * (attention.once * layers + attention.perRow * (mainRows + streamLayerFraction * streamRows));
    }

    private static final class Curve {
        private final double[] value = new double[KNOTS.length];
        private final boolean[] seen = new boolean[KNOTS.length];
        private boolean any;

        void observe(double rows, double nanos) {
            int low = segment(rows);
            double weight = weight(low, rows);
            if (!seen[low] || !seen[low + 1]) {
                fill();
                if (!any || (weight < 0.5 ? !seen[low] : !seen[low + 1])) {
                    int knot = weight < 0.5 ? low : low + 1;
                    value[knot] = nanos;
                    seen[knot] = true;
                    any = true;
                    fill();
                    return;
                }
            }
            double expected = value[low] * (1 - weight) + value[low + 1] * weight;
            double surprise = GREATEST_SURPRISE * expected;
            double error = Math.clamp(nanos - expected, -surprise, surprise);
            double rate = error < 0 ? QUICKER_RATE : SLOWER_RATE;
            double scale = rate / ((1 - weight) * (1 - weight) + weight * weight);
            double least = LEAST_SHARE * expected;
            value[low] = Math.max(value[low] + scale * (1 - weight) * error, least);
            value[low + 1] = Math.max(value[low + 1] + scale * weight * error, least);
            keepRising(low);
        }

        /** More rows never cost less: what two neighbours learnt at odds they share, and the others give way. */
        private void keepRising(int low) {
            if (value[low] > value[low + 1]) {
                value[low] = (value[low] + value[low + 1]) / 2;
                value[low + 1] = value[low];
            }
            for (int i = 0; i < low; i++) {
                value[i] = Math.min(value[i], value[low]);
            }
            for (int i = low + 2; i < value.length; i++) {
                value[i] = Math.max(value[i], value[low + 1]);
            }
        }

        double at(double rows) {
            int low = segment(rows);
            double weight = weight(low, rows);
            return value[low] * (1 - weight) + value[low + 1] * weight;
        }

        /** The rows that cost so much; the fewest where more cost the same. */
        double rowsOf(double nanos) {
            for (int i = 0; i + 1 < KNOTS.length; i++) {
                if (nanos <= value[i + 1] && value[i + 1] > value[i]) {
                    double weight = Math.max(0, (nanos - value[i]) / (value[i + 1] - value[i]));
                    return KNOTS[i] + weight * (KNOTS[i + 1] - KNOTS[i]);
                }
            }
            return KNOTS[KNOTS.length - 1];
        }

        /** Knots that were never observed lie on the line between, or beyond, those that were. */
        private void fill() {
            int previous = -1;
            int before = -1;
            for (int knot = 0; knot < KNOTS.length; knot++) {
                if (!seen[knot]) {
                    continue;
                }
                if (previous < 0) {
                    for (int i = 0; i < knot; i++) {
                        value[i] = value[knot];
                    }
                } else {
                    interpolate(previous, knot, previous + 1, knot);
                }
                before = previous;
                previous = knot;
            }
            if (previous < 0) {
                return;
            }
            if (before < 0) {
                for (int i = previous + 1; i < KNOTS.length; i++) {
                    value[i] = value[previous];
                }
            } else {
                interpolate(before, previous, previous + 1, KNOTS.length);
            }
            for (int i = 1; i < KNOTS.length; i++) {
                value[i] = Math.max(value[i], value[i - 1]);
            }
        }

        private void interpolate(int a, int b, int from, int to) {
            double slope = (value[b] - value[a]) / (KNOTS[b] - KNOTS[a]);
            for (int i = from; i < to; i++) {
                value[i] = value[a] + slope * (KNOTS[i] - KNOTS[a]);
            }
        }

        private static int segment(double rows) {
            int low = 0;
            while (low < KNOTS.length - 2 && rows >= KNOTS[low + 1]) {
                low++;
            }
            return low;
        }

        private static double weight(int low, double rows) {
            return Math.clamp((rows - KNOTS[low]) / (KNOTS[low + 1] - KNOTS[low]), 0, 1);
        }
    }
}
