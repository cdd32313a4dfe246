// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.step;

import dev.tributary.engine.device.Limits;

/**
 * What one step can hold at most; fixed when a model is loaded.
 *
 * @param sequences S
 * @param mainRows R: nodes of all trees and tokens of all prefill chunks
 * @param streamRows Q, a multiple of gamma; 0 without streams
 * @param gamma γ; 0 without streams
 * @param pages P: pages of one sequence
 * @param candidates tokens kept per stream row
 * @param adapters streams adapters that its sequences may choose from; 0 without streams
 */
public record StepCapacity(
        int sequences, int mainRows, int streamRows, int gamma, int pages, int candidates, int adapters) {
    /** {@return R + Q} */
    public int rows() {
        return mainRows + streamRows;
    }

    /** Runs of stream rows that have one adapter: with several to choose from, at most one for each sequence. */
    int segments() {
        return adapters > 1 ? sequences : 1;
    }

    int maskWords() {
        return mainRows * (Limits.MAX_TREE / Long.SIZE);
    }
}
