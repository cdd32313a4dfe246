// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

/**
 * Hears of each step and of each request's end, see {@link LanguageModel#addListener}. Called on the thread that owns the
 * device, between two steps: all generations wait for it, so it must return soon, and it must neither wait for a
 * generation nor close the model. One that throws is told to the log and hears nothing more.
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
