// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import java.nio.IntBuffer;

/**
 * Says which tokens may come next, as a grammar does. A draft is checked as it grows: a constraint is asked once for each
 * node of a token tree, with the text up to that node, so it must depend on the tokens alone; the text is then the same
 * with speculation and without.
 *
 * <p>It is called on the thread that owns the device, which does nothing else meanwhile: it should answer within
 * microseconds, and wait for nothing. While it has not returned no text of the model goes on, and {@link
 * LanguageModel#close()} waits: one that never returns blocks both for ever. Waiting there for a generation of this model,
 * or closing the model, throws an {@link IllegalStateException}. One constraint may serve several generations; they call it
 * one after another. What it throws where the text gets to, of whatever kind, fails its own generation with a {@link
 * ConstraintException}, and so does a mask that allows nothing.
 */
@FunctionalInterface
public interface TokenConstraint {
    /**
     * Allows what may follow.
     *
     * @param tokens the generated tokens so far, those of the draft's path included, without the prompt; read-only and
     *     valid during the call; empty before the first
     * @param allowed tokens that may follow: none at first
     */
    void allow(IntBuffer tokens, TokenMask allowed);
}
