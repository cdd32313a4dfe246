// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/** When a drafted token becomes part of the text. */
public sealed interface Acceptance {
    /** Where it is what plain decoding would choose: the text is the same with speculation and without. */
    record Exact() implements Acceptance {}

    /**
     * Also where it is typical of what the model might say: where its probability exceeds
     * {@code min(epsilon, delta · exp(−entropy))} of the distribution at the sampling temperature (Medusa, arXiv
     * 2401.10774, section 2.3.1). <strong>The text may then differ from plain decoding's</strong>, and depend on what was
     * drafted: the same seed gives the same text only where the drafts are the same: with a fixed budget, on all nodes or
     * deferred, and nothing else running, since other budgets and placements go by what was measured, and many sequences share a
     * step's rows. Accepted paths get longer. Filters (top-k, top-p, min-p) decide on choices only, not on what is typical;
     * tokens that a {@link TokenConstraint} excludes are never accepted. Needs a temperature above 0.
     *
     * @param epsilon probability that suffices whatever the entropy, more than 0 and less than 1
     * @param delta scale of the bar that falls with the entropy, more than 0 and at most 10
     */
    record Typical(float epsilon, float delta) implements Acceptance {
        /**
         * Checks the ranges.
         *
         * @throws ConfigurationException when a value is out of its range
         */
        public Typical {
            if (!(epsilon > 0f && epsilon < 1f)) {
                throw new ConfigurationException(
                        "epsilon of typical acceptance is " + epsilon + ", expected more than 0 and less than 1");
            }
            if (!(delta > 0f && delta <= 10f)) {
                throw new ConfigurationException(
                        "delta of typical acceptance is " + delta + ", expected more than 0 and at most 10");
            }
        }

        /**
         * Medusa's pairing, delta = √epsilon.
         *
         * @param epsilon more than 0 and less than 1; Medusa uses 0.09
         */
        public Typical(float epsilon) {
            this(epsilon, (float) Math.sqrt(epsilon));
        }
    }
}
