// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.run.Engine;
import dev.tributary.engine.run.PassRecord;
import dev.tributary.engine.run.Request;
import dev.tributary.engine.text.Tokenizer;
import java.lang.ref.Cleaner;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * One text as it is generated. Iterate over it to read parts of the text as they become certain, or ask for the whole.
 * Any thread may call any method; waiting callers never hold the device up.
 *
 * <p>Closing an unfinished generation cancels it and gives its memory back within one step; one that nobody can reach
 * any more is cancelled too, unless its {@link #future()} was taken. A generation that has ended can be read for as long
 * as it is reachable, closed or not.
 */
public final class Generation implements Iterable<String>, AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private final Request request;
    private final Tokenizer tokenizer;
    private final Cancellation cancellation;
    private final Cleaner.Cleanable cleanable;
    private final AtomicBoolean iterated = new AtomicBoolean();

    Generation(Engine engine, Request request, Tokenizer tokenizer) {
        this.request = request;
        this.tokenizer = tokenizer;
        cancellation = new Cancellation(engine, request);
        cleanable = CLEANER.register(this, cancellation);
    }

    /** What the Cleaner runs; must not reach the generation. */
    private static final class Cancellation implements Runnable {
        private final Engine engine;
        private final Request request;
        private volatile boolean abandonable = true;

        Cancellation(Engine engine, Request request) {
            this.engine = engine;
            this.request = request;
        }

        @Override
        public void run() {
            if (abandonable) {
                cancel();
            }
        }

        void cancel() {
            if (!request.isDone()) {
                request.cancel();
                engine.wake();
            }
        }
    }

    /**
     * The text, part by part; a part never splits a character. Can be asked for once. Its methods wait for the next part.
     *
     * @return the iterator
     * @throws IllegalStateException the second time
     */
    @Override
    public Iterator<String> iterator() {
        if (iterated.getAndSet(true)) {
            throw new IllegalStateException(
                    "a generation can be iterated once; text() can be read any number of times");
        }
        return new Parts(this);
    }

    private static final class Parts implements Iterator<String> {
        // Keeps the generation reachable, and so uncancelled, while it is iterated.
        private final Generation generation;
        private int index;
        private Optional<String> next = Optional.empty();

        Parts(Generation generation) {
            this.generation = generation;
        }

        @Override
        public boolean hasNext() {
            if (next.isEmpty()) {
                next = generation.request.awaitChunk(index);
            }
            return next.isPresent();
        }

        @Override
        public String next() {
            if (!hasNext()) {
                throw new NoSuchElementException("the text has ended");
            }
            String part = next.orElseThrow();
            next = Optional.empty();
            index++;
            return part;
        }
    }

    /**
     * Waits for the end.
     *
     * @return the whole text
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     */
    public String text() {
        return await(Request::text);
    }

    /**
     * Waits for the end.
     *
     * @return the generated tokens; an end token is the last of them
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     */
    public int[] tokens() {
        return await(Request::tokens);
    }

    /**
     * Waits for the end.
     *
     * @return natural logarithms of the probabilities of {@link #tokens()} under the model's own distribution, before
     *     temperature, penalties and filters; empty unless {@link GenerationOptions#logProbabilities()}
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     */
    public float[] logProbabilities() {
        return await(Request::logProbabilities);
    }

    /** {@return its index among the choices of its request, from 0} */
    public int choice() {
        return request.choice();
    }

    /**
     * Waits for the end.
     *
     * @return why it ended
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     */
    public FinishReason finishReason() {
        return await(Request::reason);
    }

    /**
     * Waits for the end.
     *
     * @return the passes with their token trees; empty unless {@link GenerationOptions#trace()}
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     * @throws ModelClosedException when the model was closed since
     */
    public List<PassTrace> trace() {
        List<PassRecord> passes = await(Request::passes);
        List<PassTrace> traces = new ArrayList<>();
        for (PassRecord pass : passes) {
            List<PassTrace.Node> nodes = new ArrayList<>();
            for (int node = 0; node < pass.tokens().length; node++) {
                nodes.add(new PassTrace.Node(
                        pass.tokens()[node],
                        tokenizer.decode(pass.tokens()[node]),
                        pass.parents()[node],
                        pass.depths()[node],
                        pass.probabilities()[node],
                        pass.accepted()[node]));
            }
            traces.add(new PassTrace(traces.size(), nodes, pass.bonus(), tokenizer.decode(pass.bonus()), pass.text()));
        }
        return List.copyOf(traces);
    }

    /**
     * Waits for the end.
     *
     * @return the times of the passes, one for each of {@link #trace()}; empty unless {@link GenerationOptions#trace()}
     * @throws GenerationCancelledException when it was cancelled, or the waiting thread interrupted
     * @throws GenerationTimeoutException when its timeout was over
     * @throws DeviceException when the device failed
     * @throws InsufficientMemoryException when the device had no memory left for it
     * @throws ConstraintException when its constraint failed
     * @throws IllegalStateException when a listener or a constraint of its model waits here for a text that has not ended
     */
    public List<PassTiming> timings() {
        return await(Request::passes).stream()
                .map(PassRecord::times)
                .map(times -> new PassTiming(
                        Duration.ofNanos(times.began()),
                        Duration.ofNanos(times.total()),
                        Duration.ofNanos(times.forward()),
                        Duration.ofNanos(times.verify()),
                        Duration.ofNanos(times.draft()),
                        times.sequences()))
                .toList();
    }

    /** {@return the figures so far; does not wait} */
    public GenerationStats stats() {
        return request.counters(GenerationStats::new);
    }

    /**
     * The whole text as a future, completed on a thread of the common pool: exceptionally with
     * {@link GenerationCancelledException}, {@link GenerationTimeoutException}, {@link DeviceException},
     * {@link InsufficientMemoryException} or {@link ConstraintException}. From here on the generation runs to its end even when it is not reachable any more. Cancelling the future does not cancel the generation.
     *
     * @return a new future
     */
    public CompletableFuture<String> future() {
        try {
            cancellation.abandonable = false;
            return request.future();
        } finally {
            // The Cleaner may run from here on, and finds that it has nothing to do.
            java.lang.ref.Reference.reachabilityFence(this);
        }
    }

    /** Ends the generation within one step; those who wait get a {@link GenerationCancelledException}. */
    public void cancel() {
        cancellation.cancel();
    }

    /** Cancels the generation if it has not ended. Idempotent. */
    @Override
    public void close() {
        cancellation.abandonable = true;
        cleanable.clean();
    }

    private <T> T await(java.util.function.Function<Request, T> result) {
        try {
            return request.await(result);
        } finally {
            // Nobody may find this generation unreachable while it is waited for.
            java.lang.ref.Reference.reachabilityFence(this);
        }
    }
}
