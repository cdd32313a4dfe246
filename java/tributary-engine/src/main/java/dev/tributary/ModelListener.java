// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/**
 * Hears of each step and of each request's end, see {@link LanguageModel#addListener}. Called on the thread that owns the
 * device, between two steps: all generations wait for it, so it must return soon. While it has not returned no text of the
 * model goes on, and {@link LanguageModel#close()} waits: one that never returns blocks both for ever. Waiting there for a
 * generation of this model that has not ended, or closing the model, throws an {@link IllegalStateException}; a generation
 * of another model may be waited for, if no listener there waits for one of this. One that throws, whatever it is, is told
 * to the log and hears nothing more.
 */
public interface ModelListener {
    /**
     * A step ended.
     *
     * @param step its figures
     */
    default void stepped(StepStats step) {}

    /**
     * A request ended. Whoever waits for it hears of it after this returns.
     *
     * @param outcome how
     */
    default void ended(RequestOutcome outcome) {}
}
