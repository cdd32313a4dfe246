// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.FinishReason;
import dev.tributary.TributaryException;
import org.jspecify.annotations.Nullable;

/**
 * Hears what an engine does; called on the device thread, between passes. The figures are reused: they hold during the
 * call.
 */
public interface EngineObserver {
    /** Hears nothing. */
    EngineObserver SILENT = new EngineObserver() {};

    /** A step begins. */
    default void stepBegins() {}

    /**
     * One sequence of the step took its tokens, before its readers can know that it ended.
     *
     * @param pass what the step did for it
     */
    default void passed(PassFigures pass) {}

    /**
     * A step ended.
     *
     * @param step what it did
     */
    default void stepped(StepFigures step) {}

    /**
     * A request ended, and nobody who waits for it knows yet.
     *
     * @param request the request
     * @param reason why its text ended, when it ended by itself
     * @param failure what ended it otherwise
     */
    default void ended(Request request, @Nullable FinishReason reason, @Nullable TributaryException failure) {}
}
