// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConstraintException;
import dev.tributary.DeviceException;
import dev.tributary.FinishReason;
import dev.tributary.GenerationCancelledException;
import dev.tributary.GenerationOptions;
import dev.tributary.GenerationTimeoutException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.TributaryException;
import dev.tributary.engine.jfr.RequestEvent;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ForkJoinPool;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What a caller and the device thread share of one generation. The device thread adds and never waits; callers wait on
 * this object.
 */
public final class Request {
    /** Hears the target's logits for each generated token; for tests of losslessness. */
    public interface LogitObserver {
        /**
         * Called on the device thread.
         *
         * @param index index of the generated token that these logits chose
         * @param logits [V] floats, valid during the call
         */
        void logits(int index, MemorySegment logits);
    }

    /** What a level of priority is worth. */
    private static final long LEVEL_NANOS = 1_000_000_000L;
    /** Longer than anybody waits, and short enough to be added to a time. */
    private static final Duration LONGEST = Duration.ofDays(10_000);

    private final int[] prompt;
    private final GenerationOptions options;
    private final int choice;
    private final Optional<LogitObserver> observer;
    private final long submittedNanos;
    private final RequestEvent event = new RequestEvent();
    private volatile boolean cancelled;

    // Set once, before the device thread knows of the request.
    private long number;
    private EngineObserver engineObserver = EngineObserver.SILENT;
    private @Nullable Thread deviceThread;

    // Guarded by this.
    private final RequestCounters counters = new RequestCounters();
    private final List<String> chunks = new ArrayList<>();
    private int[] tokens = new int[16];
    private float[] logProbabilities = new float[0];
    private int tokenCount;
    private final List<PassRecord> passes = new ArrayList<>();
    private boolean done;
    private boolean consumerWaits;
    private @Nullable FinishReason reason;
    private @Nullable TributaryException failure;
    private final List<Runnable> completions = new ArrayList<>();

    /**
     * A request that is not submitted yet.
     *
     * @param prompt tokens of the prompt
     * @param options its options
     * @param observer who hears logits
     */
    public Request(int[] prompt, GenerationOptions options, Optional<LogitObserver> observer) {
        this(prompt, options, 0, observer, System.nanoTime());
    }

    /**
     * One of several choices for a prompt.
     *
     * @param prompt tokens of the prompt
     * @param options its options
     * @param choice index of the choice, which is part of the sampling noise's counter
     * @param observer who hears logits
     */
    public Request(int[] prompt, GenerationOptions options, int choice, Optional<LogitObserver> observer) {
        this(prompt, options, choice, observer, System.nanoTime());
    }

    /** One that was made then. */
    Request(
            int[] prompt,
            GenerationOptions options,
            int choice,
            Optional<LogitObserver> observer,
            long submittedNanos) {
        this.submittedNanos = submittedNanos;
        this.prompt = prompt.clone();
        this.options = options;
        this.choice = choice;
        this.observer = observer;
        counters.promptTokens = prompt.length;
    }

    int[] prompt() {
        return prompt;
    }

    GenerationOptions options() {
        return options;
    }

    /** {@return index among the choices for its prompt} */
    public int choice() {
        return choice;
    }

    Optional<LogitObserver> observer() {
        return observer;
    }

    /** An engine takes the request; its thread is the one that must not wait for it. */
    void submitted(long itsNumber, EngineObserver itsObserver, Thread itsThread) {
        number = itsNumber;
        engineObserver = itsObserver;
        deviceThread = itsThread;
        event.begin();
    }

    /** {@return its number, from 1 in each engine} */
    public long number() {
        return number;
    }

    /** {@return the event that began when it was submitted} */
    public RequestEvent event() {
        return event;
    }

    /** {@return when it was made, by {@link System#nanoTime()}} */
    public long submittedNanos() {
        return submittedNanos;
    }

    /**
     * Whose turn comes first: of two requests of the same priority that of the earlier, and a level of priority makes up for
     * a second. So a request is overtaken by those of higher priority that come within as many seconds behind it as they are
     * levels above it, and by no others.
     */
    boolean isBefore(Request other) {
        long lead = Math.subtractExact(options.priority(), other.options.priority()) * LEVEL_NANOS;
        long earlier = other.submittedNanos - submittedNanos;
        return earlier + lead == 0 ? number < other.number : earlier + lead > 0;
    }

    /** {@return when its time is over, by {@link System#nanoTime()}} */
    OptionalLong deadline() {
        return options.timeout()
                .map(timeout -> OptionalLong.of(submittedNanos + nanos(timeout)))
                .orElseGet(OptionalLong::empty);
    }

    private static long nanos(Duration timeout) {
        return timeout.compareTo(LONGEST) > 0 ? LONGEST.toNanos() : timeout.toNanos();
    }

    boolean isLate(long now) {
        return deadline().isPresent() && now - deadline().getAsLong() >= 0;
    }

    /** Why it ends when it was cancelled, or its time is over. */
    TributaryException endedEarly() {
        if (isCancelled()) {
            return new GenerationCancelledException("the generation was cancelled");
        }
        synchronized (this) {
            return new GenerationTimeoutException("the generation did not end within its timeout of "
                    + options.timeout().map(Duration::toMillis).orElse(0L) + " ms: "
                    + (counters.queuedNanos == 0
                            ? "it was still waiting for its turn"
                            : "it had waited " + counters.queuedNanos / 1_000_000 + " ms for its turn and generated "
                                    + tokenCount + " tokens"));
        }
    }

    /** Asks for the end; the device thread ends the request within one step. */
    public void cancel() {
        cancelled = true;
    }

    /** {@return whether the end was asked for} */
    public boolean isCancelled() {
        return cancelled;
    }

    /** {@return whether the request has ended, one way or another} */
    public synchronized boolean isDone() {
        return done;
    }

    /**
     * Waits for a part of the text.
     *
     * @param index the part, from 0
     * @return the part, or empty when the text ended before it
     * @throws IllegalStateException on the thread that generates the text, where it is not there yet
     */
    public synchronized Optional<String> awaitChunk(int index) {
        while (chunks.size() <= index && !done) {
            consumerWaits = true;
            awaitChange();
        }
        if (index < chunks.size()) {
            return Optional.of(chunks.get(index));
        }
        throwFailure();
        return Optional.empty();
    }

    /**
     * Waits for the end and copies something out.
     *
     * @param <T> what
     * @param result how, under this request's lock
     * @return it
     * @throws IllegalStateException on the thread that generates the text, before the end
     */
    public <T> T await(Function<Request, T> result) {
        synchronized (this) {
            while (!done) {
                awaitChange();
            }
            throwFailure();
            return result.apply(this);
        }
    }

    /** {@return the text so far} */
    public synchronized String text() {
        return String.join("", chunks);
    }

    /** {@return the tokens so far} */
    public synchronized int[] tokens() {
        return Arrays.copyOf(tokens, tokenCount);
    }

    /** {@return log-probabilities of the tokens so far, when the options ask for them} */
    public synchronized float[] logProbabilities() {
        return Arrays.copyOf(logProbabilities, options.logProbabilities() ? tokenCount : 0);
    }

    /** {@return the passes so far, when the options ask for them} */
    public synchronized List<PassRecord> passes() {
        return List.copyOf(passes);
    }

    /** {@return why the generation ended; only after its end} */
    public synchronized FinishReason reason() {
        if (reason == null) {
            throw new IllegalStateException("the generation has not ended");
        }
        return reason;
    }

    /**
     * Reads the figures.
     *
     * @param <T> what is made of them
     * @param reader called under this request's lock
     * @return its result
     */
    public synchronized <T> T counters(Function<RequestCounters, T> reader) {
        return reader.apply(counters);
    }

    /**
     * Completes a future when the request ends, on a thread of the common pool. On the thread that generates the text it
     * cannot be waited for.
     *
     * @return the future of the text
     */
    public CompletableFuture<String> future() {
        CompletableFuture<String> future = new Promise<>(this);
        Runnable completion = () -> {
            TributaryException failed;
            String text;
            synchronized (this) {
                failed = failure;
                text = text();
            }
            if (failed != null) {
                future.completeExceptionally(failed);
            } else {
                future.complete(text);
            }
        };
        synchronized (this) {
            if (!done) {
                completions.add(completion);
                return future;
            }
        }
        completion.run();
        return future;
    }

    /** Adds what one pass brought; the device thread calls it once a pass. */
    synchronized void progress(
            int[] newTokens,
            float[] newLogProbabilities,
            int count,
            String text,
            Optional<PassRecord> pass,
            java.util.function.Consumer<RequestCounters> update) {
        if (tokenCount + count > tokens.length) {
            tokens = Arrays.copyOf(tokens, Math.max(2 * tokens.length, tokenCount + count));
        }
        System.arraycopy(newTokens, 0, tokens, tokenCount, count);
        if (options.logProbabilities()) {
            if (logProbabilities.length < tokens.length) {
                logProbabilities = Arrays.copyOf(logProbabilities, tokens.length);
            }
            System.arraycopy(newLogProbabilities, 0, logProbabilities, tokenCount, count);
        }
        tokenCount += count;
        counters.tokens = tokenCount;
        pass.ifPresent(passes::add);
        update.accept(counters);
        if (!text.isEmpty()) {
            chunks.add(text);
            if (consumerWaits) {
                consumerWaits = false;
                notifyAll();
            }
        }
    }

    void finish(FinishReason why) {
        end(why, null);
    }

    void fail(TributaryException why) {
        end(null, why);
    }

    /** Only the device thread ends a request. */
    private void end(@Nullable FinishReason why, @Nullable TributaryException failed) {
        if (isDone()) {
            return;
        }
        try {
            engineObserver.ended(this, why, failed);
        } finally {
            // Whoever waits must not wait for ever, whatever becomes of those who are told first.
            complete(why, failed);
        }
    }

    private void complete(@Nullable FinishReason why, @Nullable TributaryException failed) {
        List<Runnable> ready;
        synchronized (this) {
            reason = why;
            failure = failed;
            done = true;
            notifyAll();
            ready = List.copyOf(completions);
            completions.clear();
        }
        ready.forEach(ForkJoinPool.commonPool()::execute);
    }

    private void throwFailure() {
        TributaryException failed = failure;
        if (failed instanceof GenerationCancelledException) {
            throw new GenerationCancelledException(String.valueOf(failed.getMessage()), failed);
        }
        if (failed instanceof GenerationTimeoutException) {
            throw new GenerationTimeoutException(String.valueOf(failed.getMessage()), failed);
        }
        if (failed instanceof InsufficientMemoryException) {
            throw new InsufficientMemoryException(String.valueOf(failed.getMessage()), failed);
        }
        if (failed instanceof ConstraintException) {
            throw new ConstraintException(String.valueOf(failed.getMessage()), failed);
        }
        if (failed != null) {
            throw new DeviceException(String.valueOf(failed.getMessage()), failed);
        }
    }

    /** The device thread would wait for itself. That of another model may wait: its own texts stand still meanwhile. */
    private void requireOtherThread() {
        if (Thread.currentThread() == deviceThread) {
            throw new IllegalStateException(
                    "a generation was waited for on its model's own thread, from a listener or a"
                            + " constraint: nothing is generated until that returns");
        }
    }

    /** A result that the device thread does not wait for, nor for what is made of it. */
    private static final class Promise<T> extends CompletableFuture<T> {
        private final Request request;

        Promise(Request request) {
            this.request = request;
        }

        @Override
        public <U> CompletableFuture<U> newIncompleteFuture() {
            return new Promise<>(request);
        }

        @Override
        public T get() throws InterruptedException, ExecutionException {
            requireWaitable();
            return super.get();
        }

        @Override
        public T join() {
            requireWaitable();
            return super.join();
        }

        private void requireWaitable() {
            if (!isDone()) {
                request.requireOtherThread();
            }
        }
    }

    @SuppressWarnings("WaitNotInLoop") // the callers loop
    private void awaitChange() {
        requireOtherThread();
        try {
            wait();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new GenerationCancelledException("the thread that waited for the generation was interrupted", e);
        }
    }
}
