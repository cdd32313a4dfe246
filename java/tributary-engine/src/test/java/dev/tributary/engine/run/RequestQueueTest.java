// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.GenerationCancelledException;
import dev.tributary.GenerationOptions;
import dev.tributary.GenerationTimeoutException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class RequestQueueTest {
    private static final long SECOND = 1_000_000_000L;
    /** Close to where the clock turns over. */
    private static final long EPOCH = Long.MAX_VALUE - 5 * SECOND;

    private static long at(long nanos) {
        return EPOCH + nanos;
    }

    private static Request request(long number, GenerationOptions options, long nanos) {
        Request request = new Request(new int[] {1}, options, 0, Optional.empty(), at(nanos));
        request.submitted(number, EngineObserver.SILENT, Thread.currentThread());
        return request;
    }

    private static GenerationOptions priority(int priority) {
        return GenerationOptions.builder().priority(priority).build();
    }

    @Test
    void nobodyIsOvertakenBeyondWhatPrioritiesAreWorth() {
        for (long seed = 0; seed < 30; seed++) {
            Random random = new Random(seed);
            RequestQueue queue = new RequestQueue(EPOCH);
            Set<Request> waiting = new HashSet<>();
            long now = 0;
            long number = 0;
            for (int step = 0; step < 2000; step++) {
                now += random.nextLong(SECOND / 2);
                if (random.nextInt(5) < 3) {
                    Request request = request(++number, priority(random.nextInt(-3, 4)), now);
                    waiting.add(request);
                    queue.add(request);
                } else if (!waiting.isEmpty()) {
                    Request next = Objects.requireNonNull(queue.peek());
                    queue.remove(next);
                    waiting.remove(next);
                    for (Request other : waiting) {
                        long behind = next.submittedNanos() - other.submittedNanos();
                        int above = next.options().priority() - other.options().priority();
                        assertTrue(behind <= above * SECOND, "seed " + seed);
                        assertTrue(next.isBefore(other) && !other.isBefore(next), "seed " + seed);
                    }
                }
                assertEquals(waiting.size(), queue.size());
            }
        }
    }

    @Test
    void equalsComeInTheOrderOfTheirSubmission() {
        RequestQueue queue = new RequestQueue(EPOCH);
        for (int i = 20; i > 0; i--) {
            queue.add(request(i, priority(0), 7));
        }
        for (int i = 1; i <= 20; i++) {
            Request next = Objects.requireNonNull(queue.peek());
            assertEquals(i, next.number());
            queue.remove(next);
        }
    }

    @Test
    void thoseWhoseTimeIsOverAndThoseCancelledAreTakenOut() {
        RequestQueue queue = new RequestQueue(EPOCH);
        List<Request> all = new ArrayList<>();
        for (int i = 1; i <= 9; i++) {
            GenerationOptions.Builder options = GenerationOptions.builder();
            if (i % 3 == 0) {
                options.timeout(Duration.ofSeconds(i));
            }
            all.add(request(i, options.build(), 0));
        }
        all.forEach(queue::add);
        assertEquals(List.of(), queue.takeEnded(at(SECOND)));
        all.get(3).cancel();
        queue.disturb();
        assertEquals(List.of(all.get(3)), queue.takeEnded(at(SECOND)));
        assertEquals(Set.of(all.get(2), all.get(5)), Set.copyOf(queue.takeEnded(at(6 * SECOND))));
        assertEquals(List.of(), queue.takeEnded(at(9 * SECOND - 1)));
        assertEquals(List.of(all.get(8)), queue.takeEnded(at(9 * SECOND)));
        assertEquals(5, queue.takeAll().size());
        assertEquals(0, queue.size());
        assertTrue(all.get(3).endedEarly() instanceof GenerationCancelledException);
        String why = String.valueOf(all.get(5).endedEarly().getMessage());
        assertTrue(all.get(5).endedEarly() instanceof GenerationTimeoutException && why.contains("6000 ms"), why);
    }

    @Test
    void aTimeoutLongerThanAnyClockNeverComes() {
        GenerationOptions options = GenerationOptions.builder()
                .timeout(Duration.ofSeconds(Long.MAX_VALUE))
                .build();
        assertFalse(request(1, options, 0).isLate(at(1000 * SECOND)));
    }
}
