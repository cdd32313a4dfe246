// SPDX-License-Identifier: Apache-2.0
package dev.tributary.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
final class InterruptionTest {
    @Test
    void runningWorkIsCancelledAndWaitedFor() throws Exception {
        Interruption interruption = new Interruption();
        CountDownLatch started = new CountDownLatch(1);
        CompletableFuture<String> cancelled = new CompletableFuture<>();
        AtomicReference<String> outcome = new AtomicReference<>("");
        Thread work = Thread.startVirtualThread(() -> {
            interruption.cancellable(() -> cancelled.complete("cancelled"), () -> {
                started.countDown();
                outcome.set(cancelled.join());
                return "";
            });
            interruption.finish();
        });
        started.await();
        interruption.interrupt();
        assertEquals("cancelled", outcome.get());
        assertTrue(interruption.interrupted());
        work.join();
    }

    @Test
    void afterTheCommandIsThroughNothingIsInterrupted() {
        Interruption interruption = new Interruption();
        interruption.finish();
        interruption.interrupt();
        assertFalse(interruption.interrupted());
    }

    @Test
    void workThatBeginsAfterwardsIsCancelledAtOnce() throws Exception {
        Interruption interruption = new Interruption();
        Thread interrupting = Thread.startVirtualThread(interruption::interrupt);
        while (!interruption.interrupted()) {
            Thread.onSpinWait();
        }
        AtomicInteger cancellations = new AtomicInteger();
        interruption.cancellable(cancellations::incrementAndGet, () -> "");
        interruption.finish();
        interrupting.join();
        assertEquals(1, cancellations.get());
    }
}
