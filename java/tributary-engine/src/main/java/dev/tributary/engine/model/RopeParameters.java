// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;

/** How positions become angles: rotary position embedding and its scalings. Frequencies come from {@link RopeTable}. */
public sealed interface RopeParameters {
    /** {@return the base of the frequencies} */
    double theta();

    /**
     * Unscaled.
     *
     * @param theta base of the frequencies
     */
    record Default(double theta) implements RopeParameters {}

    /**
     * Every frequency divided by a factor.
     *
     * @param theta base of the frequencies
     * @param factor the divisor
     */
    record Linear(double theta, double factor) implements RopeParameters {}

    /**
     * Low frequencies divided by a factor, high ones kept, a ramp between.
     *
     * @param theta base of the frequencies
     * @param factor divisor of the low frequencies
     * @param lowFrequencyFactor original positions / this = the wavelength above which a frequency is low
     * @param highFrequencyFactor original positions / this = the wavelength below which a frequency is high
     * @param originalMaxPositions positions of pre-training
     */
    record Llama3(
            double theta,
            double factor,
            double lowFrequencyFactor,
            double highFrequencyFactor,
            int originalMaxPositions)
            implements RopeParameters {}

    /**
     * YaRN: interpolation by dimension, and a factor on cosines and sines.
     *
     * @param theta base of the frequencies
     * @param factor divisor of the interpolated frequencies
     * @param originalMaxPositions positions of pre-training
     * @param attentionFactor multiplies cosines and sines
     * @param betaFast rotations above which a dimension keeps its frequency
     * @param betaSlow rotations below which a dimension is interpolated
     * @param truncate whether the borders of the ramp are rounded to whole dimensions
     */
    record Yarn(
            double theta,
            double factor,
            int originalMaxPositions,
            double attentionFactor,
            double betaFast,
            double betaSlow,
            boolean truncate)
            implements RopeParameters {}

    /**
     * LongRoPE: a divisor per frequency, one list for short contexts and one for long.
     *
     * @param theta base of the frequencies
     * @param shortFactors divisors while the context limit is at most the original positions
     * @param longFactors divisors above
     * @param originalMaxPositions positions of pre-training
     * @param attentionFactor multiplies cosines and sines
     */
    record LongRope(
            double theta,
            List<Double> shortFactors,
            List<Double> longFactors,
            int originalMaxPositions,
            double attentionFactor)
            implements RopeParameters {}

    /** Elements of a head that are rotated: all, but in Phi-3, where {@code partial_rotary_factor} says how many. */
    static int rotaryDimension(JsonFields config, Family family, int headDimension) {
        String name = "partial_rotary_factor";
        List<JsonFields> places = new ArrayList<>(List.of(config));
        config.optionalObject("rope_scaling").ifPresent(places::add);
        config.optionalObject("rope_parameters").ifPresent(places::add);
        OptionalDouble factor = OptionalDouble.empty();
        for (JsonFields place : places) {
            if (family != Family.PHI3) {
                place.only(name, Set.of("1", "1.0"));
                continue;
            }
            OptionalDouble given = place.optionalPositive(name);
            if (given.isPresent() && factor.isPresent() && given.getAsDouble() != factor.getAsDouble()) {
                throw config.refuse(name + " is given twice: " + factor.getAsDouble() + " and " + given.getAsDouble());
            }
            factor = given.isPresent() ? given : factor;
        }
        int rotated = (int) (headDimension * factor.orElse(1));
        if (rotated < 2 || rotated > headDimension || rotated % 2 != 0) {
            throw config.refuse(
                    name + " must leave an even number of elements from 2 to " + headDimension + ", got " + rotated);
        }
        return rotated;
    }

    /**
     * Reads both forms: {@code rope_theta} with {@code rope_scaling}, and {@code rope_parameters}, which holds theta too.
     */
    static RopeParameters read(JsonFields config, Family family, int rotaryDimension, int maxPositions) {
        OptionalDouble outerTheta = config.optionalPositive("rope_theta");
        Optional<JsonFields> scaling = config.optionalObject("rope_scaling");
        Optional<JsonFields> parameters = config.optionalObject("rope_parameters");
        if (scaling.isPresent() && parameters.isPresent()) {
            throw config.refuse("rope_scaling and rope_parameters are both given, only one may be");
        }
        OptionalInt outerOriginal = originalMaxPositions(config);
        JsonFields fields = parameters.or(() -> scaling).orElse(null);
        double theta = outerTheta.orElse(10_000);
        if (fields == null) {
            return new Default(theta);
        }
        fields.value("partial_rotary_factor"); // rotaryDimension has judged it
        OptionalDouble innerTheta = fields.optionalPositive("rope_theta");
        if (innerTheta.isPresent()) {
            if (outerTheta.isPresent() && outerTheta.getAsDouble() != innerTheta.getAsDouble()) {
                throw config.refuse(
                        "rope_theta is given twice: " + outerTheta.getAsDouble() + " and " + innerTheta.getAsDouble());
            }
            theta = innerTheta.getAsDouble();
        }
        if (theta <= 1) {
            throw config.refuse("rope_theta must be greater than 1, got " + theta);
        }
        String type = type(fields, family);
        RopeParameters rope = switch (type) {
            case "default" -> new Default(theta);
            case "linear" -> new Linear(theta, fields.requiredPositive("factor"));
            case "llama3" -> llama3(fields, outerOriginal, theta);
            case "yarn" -> yarn(fields, outerOriginal, theta, maxPositions);
            case "longrope" -> {
                if (family == Family.PHI3) {
                    // transformers reads it there alone, and takes 4096 where it is missing.
                    config.requireWritten("original_max_position_embeddings");
                }
                yield longRope(fields, outerOriginal, theta, rotaryDimension, maxPositions);
            }
            default ->
                throw fields.refuse("rope_type " + StrictJson.quote(type)
                        + " is not supported, only default, linear, llama3, yarn and longrope");
        };
        fields.refuseOthers(Set.of());
        return rope;
    }

    private static String type(JsonFields fields, Family family) {
        Optional<String> type = fields.optionalString("rope_type");
        Optional<String> older = fields.optionalString("type");
        if (type.isPresent() && older.isPresent() && !type.equals(older)) {
            throw fields.refuse("rope_type is given twice: " + StrictJson.quote(type.get()) + " and "
                    + StrictJson.quote(older.get()));
        }
        String given = type.or(() -> older).orElse("default");
        if (family != Family.PHI3) {
            return given;
        }
        return switch (given) {
            case "default" -> given;
            case "longrope", "su", "yarn" -> "longrope"; // the first Phi-3 models call it so
            default ->
                throw fields.refuse("rope_type " + StrictJson.quote(given) + " is not supported for model_type "
                        + StrictJson.quote(family.toString()) + ", only default and longrope");
        };
    }

    private static OptionalInt originalMaxPositions(JsonFields fields) {
        return fields.optionalInt("original_max_position_embeddings", 2, ModelConfig.MAX_POSITIONS);
    }

    /** Some configs write the positions of pre-training beside the scaling, most inside it. */
    private static OptionalInt originalMaxPositions(JsonFields fields, OptionalInt outer) {
        OptionalInt inner = originalMaxPositions(fields);
        if (outer.isPresent() && inner.isPresent() && outer.getAsInt() != inner.getAsInt()) {
            throw fields.refuse("original_max_position_embeddings is given twice: " + outer.getAsInt() + " and "
                    + inner.getAsInt());
        }
        return inner.isPresent() ? inner : outer;
    }

    private static Llama3 llama3(JsonFields fields, OptionalInt outerOriginal, double theta) {
        double low = fields.requiredPositive("low_freq_factor");
        double high = fields.requiredPositive("high_freq_factor");
        if (high <= low) {
            throw fields.refuse("high_freq_factor must exceed low_freq_factor, got " + high + " and " + low);
        }
        int original = originalMaxPositions(fields, outerOriginal)
                .orElseThrow(() -> fields.refuse("the field original_max_position_embeddings is missing"));
        return new Llama3(theta, fields.requiredPositive("factor"), low, high, original);
    }

    private static Yarn yarn(JsonFields fields, OptionalInt outerOriginal, double theta, int maxPositions) {
        int original = originalMaxPositions(fields, outerOriginal).orElse(maxPositions);
        double factor = fields.optionalPositive("factor").orElse((double) maxPositions / original);
        double betaFast = fields.optionalPositive("beta_fast").orElse(32);
        double betaSlow = fields.optionalPositive("beta_slow").orElse(1);
        if (betaFast < betaSlow) {
            throw fields.refuse("beta_fast must be at least beta_slow, got " + betaFast + " and " + betaSlow);
        }
        OptionalDouble mscale = fields.optionalPositive("mscale");
        OptionalDouble mscaleAllDim = fields.optionalPositive("mscale_all_dim");
        double derived = mscale.isPresent() && mscaleAllDim.isPresent()
                ? magnitude(factor, mscale.getAsDouble()) / magnitude(factor, mscaleAllDim.getAsDouble())
                : magnitude(factor, 1);
        double attentionFactor = fields.optionalPositive("attention_factor").orElse(derived);
        return new Yarn(
                theta, factor, original, attentionFactor, betaFast, betaSlow, fields.optionalBoolean("truncate", true));
    }

    /** YaRN's temperature: the attention of a context that was stretched by {@code factor} is sharpened by this. */
    private static double magnitude(double factor, double weight) {
        return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
    }

    private static LongRope longRope(
            JsonFields fields, OptionalInt outerOriginal, double theta, int rotaryDimension, int maxPositions) {
        int original = originalMaxPositions(fields, outerOriginal).orElse(maxPositions);
        double factor = fields.optionalPositive("factor").orElse((double) maxPositions / original);
        double derived = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
        return new LongRope(
                theta,
                fields.requiredPositives("short_factor", rotaryDimension / 2),
                fields.requiredPositives("long_factor", rotaryDimension / 2),
                original,
                fields.optionalPositive("attention_factor").orElse(derived));
    }
}
