// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * Requests that wait for their turn, in the order of {@link Request#isBefore}: who waits long enough comes first whatever
 * arrives, since a level of priority is worth no more than a time that is waited. Not thread-safe.
 */
final class RequestQueue {
    private final PriorityQueue<Request> waiting =
            new PriorityQueue<>((one, other) -> one == other ? 0 : one.isBefore(other) ? -1 : 1);
    /** Whether somebody wants out, or may. */
    private boolean restless;
    /** When the next of them runs out of time. */
    private long nextDeadline = Long.MAX_VALUE;

    private final long epoch;

    /**
     * Nobody waits.
     *
     * @param epoch a time by {@link System#nanoTime()} from which deadlines are counted
     */
    RequestQueue(long epoch) {
        this.epoch = epoch;
    }

    int size() {
        return waiting.size();
    }

    void add(Request request) {
        waiting.add(request);
        if (request.deadline().isPresent()) {
            nextDeadline = Math.min(nextDeadline, request.deadline().getAsLong() - epoch);
        }
    }

    /** {@return whose turn is next, or null} */
    @Nullable
    Request peek() {
        return waiting.peek();
    }

    void remove(Request request) {
        waiting.remove(request);
    }

    /** A request may have been cancelled. */
    void disturb() {
        restless = true;
    }

    /** Takes out those that were cancelled or whose time is over. */
    List<Request> takeEnded(long now) {
        if (!restless && now - epoch < nextDeadline) {
            return List.of();
        }
        restless = false;
        List<Request> ended = take(request -> request.isCancelled() || request.isLate(now));
        nextDeadline = Long.MAX_VALUE;
        for (Request request : waiting) {
            if (request.deadline().isPresent()) {
                nextDeadline = Math.min(nextDeadline, request.deadline().getAsLong() - epoch);
            }
        }
        return ended;
    }

    List<Request> takeAll() {
        return take(request -> true);
    }

    private List<Request> take(Predicate<Request> which) {
        List<Request> taken = new ArrayList<>();
        waiting.removeIf(request -> {
            boolean goes = which.test(request);
            if (goes) {
                taken.add(request);
            }
            return goes;
        });
        return taken;
    }
}
