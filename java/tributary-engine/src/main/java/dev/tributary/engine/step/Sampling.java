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
 */
public record Sampling(boolean active, float temperature, int topK, float topP, float minP, long seed, int choice) {
    /** No choice: the sequence only fills its cache. */
    public static final Sampling NONE = new Sampling(false, 0f, 0, 1f, 0f, 0, 0);
}
