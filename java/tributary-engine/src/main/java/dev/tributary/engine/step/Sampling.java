// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

/**
 * How the target of a sequence is chosen.
 *
 * @param active whether a choice is wanted at all
 * @param temperature 0 = greedy
 * @param topK 0 = off
 * @param topP 1 = off
 * @param minP 0 = off
 * @param seed of the noise
 * @param choice index of the choice within its request
 * @param penalties of tokens that the text has
 * @param typical when tokens are accepted that plain decoding would not choose
 */
public record Sampling(
        boolean active,
        float temperature,
        int topK,
        float topP,
        float minP,
        long seed,
        int choice,
        Penalties penalties,
        Typical typical) {
    /** No choice: the sequence only fills its cache. */
    public static final Sampling NONE = new Sampling(false, 0f, 0, 1f, 0f, 0, 0, Penalties.NONE, Typical.NEVER);

    /** The most probable token, ties to the lowest id. */
    public static final Sampling GREEDY = new Sampling(true, 0f, 0, 1f, 0f, 0, 0, Penalties.NONE, Typical.NEVER);

    /**
     * Penalties of tokens that the text has.
     *
     * @param repetition of those in prompt and generated text; 1 = off
     * @param presence of those in the generated text; 0 = off
     * @param frequency of each occurrence there; 0 = off
     */
    public record Penalties(float repetition, float presence, float frequency) {
        /** All off. */
        public static final Penalties NONE = new Penalties(1f, 0f, 0f);
    }

    /**
     * Typical acceptance.
     *
     * @param epsilon 0 = off
     * @param delta greater than 0
     */
    public record Typical(float epsilon, float delta) {
        /** Only what plain decoding chooses is accepted. */
        public static final Typical NEVER = new Typical(0f, 0f);
    }
}
