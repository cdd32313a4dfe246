// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;

/**
 * What Ctrl-C does: the running work is cancelled and the command gets a moment to close its model, so that text already
 * written stays and nothing is torn away under native code.
 */
final class Interruption {
    private static final Duration PATIENCE = Duration.ofSeconds(5);

    private final AtomicReference<Optional<Runnable>> cancellation = new AtomicReference<>(Optional.empty());
    private final AtomicBoolean interrupted = new AtomicBoolean();
    private final CountDownLatch finished = new CountDownLatch(1);

    /** Listens for the end of the process. */
    void install() {
        Runtime.getRuntime().addShutdownHook(new Thread(this::interrupt, "tributary-interruption"));
    }

    /** Cancels what runs and waits until the command is through; returns at once when it already is. */
    void interrupt() {
        if (finished.getCount() == 0) {
            return;
        }
        interrupted.set(true);
        cancellation.get().ifPresent(Runnable::run);
        try {
            // When the time runs out the process ends anyhow; the operating system takes back what is left.
            var _ = finished.await(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The command is through; the process may end. */
    void finish() {
        finished.countDown();
    }

    /** {@return whether the user asked to stop} */
    boolean interrupted() {
        return interrupted.get();
    }

    /** Work that can be cancelled. */
    interface Work<T> {
        T run();
    }

    /**
     * Runs work that an interruption cancels.
     *
     * @param cancel cancels it, from another thread
     * @param work ends soon after it was cancelled
     */
    <T> T cancellable(Runnable cancel, Work<T> work) {
        cancellation.set(Optional.of(cancel));
        try {
            // An interruption that came before the line above has found nothing to cancel.
            if (interrupted()) {
                cancel.run();
            }
            return work.run();
        } finally {
            cancellation.set(Optional.empty());
        }
    }
}
