// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.time.Duration;

/**
 * Times of one verifying pass. What generations of one step share, each counts in full.
 *
 * @param began from the request's submission to the pass's beginning
 * @param total from its beginning to its result
 * @param forward layers and LM head; on a GPU, the whole pass by the GPU's clock
 * @param verify target choice, walk and commit; 0 on a GPU, where forward holds it
 * @param draft the drafting pass before it, which its tree comes from; 0 when the streams ran inside a verifying pass
 * @param sequences generations that shared the step
 */
public record PassTiming(
        Duration began, Duration total, Duration forward, Duration verify, Duration draft, int sequences) {
    /** {@return the rest of the pass: growing the tree, planning, and on a GPU launching, copies and waiting} */
    public Duration host() {
        Duration rest = total.minus(forward).minus(verify);
        return rest.isNegative() ? Duration.ZERO : rest;
    }
}
