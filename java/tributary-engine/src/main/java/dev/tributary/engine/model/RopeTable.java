// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Cosines and sines of rotary position embedding. The row of position p is [cos(p·f_0) … cos(p·f_{n−1}), sin(p·f_0) …
 * sin(p·f_{n−1})] with n = rotary dimension / 2, both multiplied by the attention factor of the scaling.
 *
 * <p>Frequencies and angles are rounded to fp32 step by step, as PyTorch does: at position 100,000 an angle's last bit
 * is 0.004 rad, so a table from exact angles would be another model.
 */
public final class RopeTable {
    private final float[] inverseFrequencies;
    private final float attentionFactor;

    private RopeTable(float[] inverseFrequencies, double attentionFactor) {
        this.inverseFrequencies = inverseFrequencies;
        this.attentionFactor = (float) attentionFactor;
    }

    /**
     * {@return the table's generator}
     *
     * @param rope the parameters
     * @param rotaryDimension even; the head dimension
     * @param contextLimit the most positions that will be asked for: LongRoPE takes its long factors when this exceeds
     *     the positions of pre-training, for all positions, so that a text never changes its angles as it grows
     */
    public static RopeTable of(RopeParameters rope, int rotaryDimension, int contextLimit) {
        if (rotaryDimension <= 0 || rotaryDimension % 2 != 0) {
            throw new IllegalArgumentException(
                    "the rotary dimension must be positive and even, got " + rotaryDimension);
        }
        float[] powers = powers(rope.theta(), rotaryDimension);
        return switch (rope) {
            case RopeParameters.Default _ -> new RopeTable(reciprocals(powers), 1);
            case RopeParameters.Linear linear -> {
                float[] f = reciprocals(powers);
                for (int i = 0; i < f.length; i++) {
                    f[i] /= (float) linear.factor();
                }
                yield new RopeTable(f, 1);
            }
            case RopeParameters.Llama3 llama3 -> new RopeTable(llama3(llama3, reciprocals(powers)), 1);
            case RopeParameters.Yarn yarn -> new RopeTable(yarn(yarn, powers, rotaryDimension), yarn.attentionFactor());
            case RopeParameters.LongRope longRope -> {
                var factors = contextLimit > longRope.originalMaxPositions()
                        ? longRope.longFactors()
                        : longRope.shortFactors();
                if (factors.size() != powers.length) {
                    throw new IllegalArgumentException(
                            "LongRoPE has " + factors.size() + " factors for " + powers.length + " frequencies");
                }
                float[] f = new float[powers.length];
                for (int i = 0; i < f.length; i++) {
                    f[i] = 1 / ((float) (double) factors.get(i) * powers[i]);
                }
                yield new RopeTable(f, longRope.attentionFactor());
            }
        };
    }

    /** theta^(2i / dimension). */
    private static float[] powers(double theta, int dimension) {
        float[] powers = new float[dimension / 2];
        for (int i = 0; i < powers.length; i++) {
            powers[i] = (float) Math.pow((float) theta, (float) (2 * i) / dimension);
        }
        return powers;
    }

    private static float[] reciprocals(float[] powers) {
        float[] f = new float[powers.length];
        for (int i = 0; i < f.length; i++) {
            f[i] = 1 / powers[i];
        }
        return f;
    }

    private static float[] llama3(RopeParameters.Llama3 rope, float[] f) {
        float factor = (float) rope.factor();
        float original = rope.originalMaxPositions();
        float low = (float) rope.lowFrequencyFactor();
        float range = (float) (rope.highFrequencyFactor() - rope.lowFrequencyFactor());
        double longest = rope.originalMaxPositions() / rope.lowFrequencyFactor();
        double shortest = rope.originalMaxPositions() / rope.highFrequencyFactor();
        for (int i = 0; i < f.length; i++) {
            float wavelength = (1 / f[i]) * (float) (2 * Math.PI);
            if (wavelength > (float) longest) {
                f[i] /= factor;
            } else if (!(wavelength < (float) shortest)) {
                float smooth = ((1 / wavelength) * original - low) / range;
                f[i] = (1 - smooth) * f[i] / factor + smooth * f[i];
            }
        }
        return f;
    }

    private static float[] yarn(RopeParameters.Yarn rope, float[] powers, int dimension) {
        double low = rotationDimension(rope, rope.betaFast(), dimension);
        double high = rotationDimension(rope, rope.betaSlow(), dimension);
        if (rope.truncate()) {
            low = Math.floor(low);
            high = Math.ceil(high);
        }
        low = Math.max(low, 0);
        high = Math.min(high, dimension - 1.0);
        if (low == high) {
            high += 0.001; // keeps the ramp finite
        }
        float[] f = new float[powers.length];
        for (int i = 0; i < f.length; i++) {
            float ramp = Math.clamp((i - (float) low) / (float) (high - low), 0f, 1f);
            float kept = 1 - ramp;
            f[i] = 1 / ((float) rope.factor() * powers[i]) * (1 - kept) + 1 / powers[i] * kept;
        }
        return f;
    }

    /** The dimension whose angle makes so many rotations within the positions of pre-training. */
    private static double rotationDimension(RopeParameters.Yarn rope, double rotations, int dimension) {
        return dimension
                * Math.log(rope.originalMaxPositions() / (rotations * 2 * Math.PI))
                / (2 * Math.log(rope.theta()));
    }

    /** {@return floats in a row: the rotary dimension} */
    public int rotaryDimension() {
        return 2 * inverseFrequencies.length;
    }

    /**
     * {@return the bytes that {@link #write} fills}
     *
     * @param positions how many
     */
    public long bytes(int positions) {
        return (long) positions * rotaryDimension() * Float.BYTES;
    }

    /**
     * Writes the rows of positions 0, 1, ….
     *
     * @param target {@code [positions, rotary dimension]} fp32; its size gives the number of positions
     */
    public void write(MemorySegment target) {
        int n = inverseFrequencies.length;
        long rowBytes = bytes(1);
        if (target.byteSize() % rowBytes != 0) {
            throw new IllegalArgumentException(
                    "the target's " + target.byteSize() + " bytes are not whole rows of " + rowBytes);
        }
        for (long p = 0; p < target.byteSize() / rowBytes; p++) {
            long row = p * rowBytes;
            for (int i = 0; i < n; i++) {
                float angle = (float) p * inverseFrequencies[i];
                target.set(
                        ValueLayout.JAVA_FLOAT_UNALIGNED,
                        row + (long) i * Float.BYTES,
                        (float) Math.cos(angle) * attentionFactor);
                target.set(
                        ValueLayout.JAVA_FLOAT_UNALIGNED,
                        row + (long) (n + i) * Float.BYTES,
                        (float) Math.sin(angle) * attentionFactor);
            }
        }
    }
}
