// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

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

    /**
     * Reads both forms: {@code rope_theta} with {@code rope_scaling}, and {@code rope_parameters}, which holds theta too.
     */
    static RopeParameters read(JsonFields config, int headDimension, int maxPositions) {
        Set<String> whole = Set.of("1", "1.0");
        config.only("partial_rotary_factor", whole);
        OptionalDouble outerTheta = config.optionalPositive("rope_theta");
        Optional<JsonFields> scaling = config.optionalObject("rope_scaling");
        Optional<JsonFields> parameters = config.optionalObject("rope_parameters");
        if (scaling.isPresent() && parameters.isPresent()) {
            throw config.refuse("rope_scaling and rope_parameters are both given, only one may be");
        }
        JsonFields fields = parameters.or(() -> scaling).orElse(null);
        double theta = outerTheta.orElse(10_000);
        if (fields == null) {
            return new Default(theta);
        }
        fields.only("partial_rotary_factor", whole);
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
        String type = type(fields);
        RopeParameters rope = switch (type) {
            case "default" -> new Default(theta);
            case "linear" -> new Linear(theta, fields.requiredPositive("factor"));
            case "llama3" -> llama3(config, fields, theta);
            case "yarn" -> yarn(config, fields, theta, maxPositions);
            case "longrope" -> longRope(config, fields, theta, headDimension, maxPositions);
            default ->
                throw fields.refuse("rope_type " + StrictJson.quote(type)
                        + " is not supported, only default, linear, llama3, yarn and longrope");
        };
        fields.refuseOthers(Set.of());
        return rope;
    }

    private static String type(JsonFields fields) {
        Optional<String> type = fields.optionalString("rope_type");
        Optional<String> older = fields.optionalString("type");
        if (type.isPresent() && older.isPresent() && !type.equals(older)) {
            throw fields.refuse("rope_type is given twice: " + StrictJson.quote(type.get()) + " and "
                    + StrictJson.quote(older.get()));
        }
        return type.or(() -> older).orElse("default");
    }

    /** Some configs write the positions of pre-training beside the scaling, most inside it. */
    private static OptionalInt originalMaxPositions(JsonFields config, JsonFields fields) {
        String name = "original_max_position_embeddings";
        OptionalInt outer = config.optionalInt(name, 2, ModelConfig.MAX_POSITIONS);
        OptionalInt inner = fields.optionalInt(name, 2, ModelConfig.MAX_POSITIONS);
        if (outer.isPresent() && inner.isPresent() && outer.getAsInt() != inner.getAsInt()) {
            throw config.refuse(name + " is given twice: " + outer.getAsInt() + " and " + inner.getAsInt());
        }
        return inner.isPresent() ? inner : outer;
    }

    private static Llama3 llama3(JsonFields config, JsonFields fields, double theta) {
        double low = fields.requiredPositive("low_freq_factor");
        double high = fields.requiredPositive("high_freq_factor");
        if (high <= low) {
            throw fields.refuse("high_freq_factor must exceed low_freq_factor, got " + high + " and " + low);
        }
        int original = originalMaxPositions(config, fields)
                .orElseThrow(() -> fields.refuse("the field original_max_position_embeddings is missing"));
        return new Llama3(theta, fields.requiredPositive("factor"), low, high, original);
    }

    private static Yarn yarn(JsonFields config, JsonFields fields, double theta, int maxPositions) {
        int original = originalMaxPositions(config, fields).orElse(maxPositions);
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
            JsonFields config, JsonFields fields, double theta, int headDimension, int maxPositions) {
        int original = originalMaxPositions(config, fields).orElse(maxPositions);
        double factor = fields.optionalPositive("factor").orElse((double) maxPositions / original);
        double derived = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
        return new LongRope(
                theta,
                fields.requiredPositives("short_factor", headDimension / 2),
                fields.requiredPositives("long_factor", headDimension / 2),
                original,
                fields.optionalPositive("attention_factor").orElse(derived));
    }
}
