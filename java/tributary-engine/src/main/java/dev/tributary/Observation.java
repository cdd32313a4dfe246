// SPDX-License-Identifier: Apache-2.0
package dev.tributary;

import dev.tributary.engine.device.Limits;
import dev.tributary.engine.jfr.PassEvent;
import dev.tributary.engine.jfr.RequestEvent;
import dev.tributary.engine.jfr.StepEvent;
import dev.tributary.engine.run.EngineObserver;
import dev.tributary.engine.run.PassFigures;
import dev.tributary.engine.run.Request;
import dev.tributary.engine.run.StepFigures;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What becomes of an engine's figures: totals always, events while a flight recording wants them, calls while there are
 * listeners. Without the last two a pass costs a few additions under a lock that nobody else wants, and no allocation.
 */
final class Observation implements EngineObserver {
    private static final System.Logger LOGGER = System.getLogger("dev.tributary");

    private final String model;
    private final List<ModelListener> listeners = new CopyOnWriteArrayList<>();

    // Asked whether a recording wants their kind.
    private final StepEvent stepKind = new StepEvent();
    private final PassEvent passKind = new PassEvent();

    // Owned by the device thread.
    private @Nullable StepEvent stepEvent;

    // Guarded by itself.
    private final Totals totals = new Totals(Limits.MAX_DEPTH);

    /**
     * Nothing observed yet.
     *
     * @param model name of the model in events
     */
    Observation(String model) {
        this.model = model;
    }

    void add(ModelListener listener) {
        listeners.add(listener);
    }

    void remove(ModelListener listener) {
        listeners.remove(listener);
    }

    /** {@return a copy of the totals} */
    Totals totals() {
        synchronized (totals) {
            return new Totals(totals);
        }
    }

    @Override
    public void stepBegins() {
        stepEvent = null;
        if (stepKind.isEnabled()) {
            stepEvent = new StepEvent();
            stepEvent.begin();
        }
    }

    @Override
    public void passed(PassFigures pass) {
        synchronized (totals) {
            totals.add(pass);
        }
        if (passKind.isEnabled() && !pass.prefill) {
            record(pass);
        }
    }

    private void record(PassFigures pass) {
        PassEvent event = new PassEvent();
        event.model = model;
        event.request = pass.request;
        event.contextTokens = pass.contextTokens;
        event.draftedTokens = pass.drafted;
        event.decision = pass.decision.name();
        for (int depth = 1; depth < pass.draftedPerDepth.length; depth++) {
            event.draftedDepth = pass.draftedPerDepth[depth] > 0 ? depth : event.draftedDepth;
        }
        event.acceptedTokens = pass.accepted;
        event.tokens = pass.tokens;
        event.placement = pass.drafts ? pass.placement.name() : "NONE";
        event.commit();
    }

    @Override
    public void stepped(StepFigures step) {
        synchronized (totals) {
            totals.add(step);
        }
        StepEvent event = stepEvent;
        if (event != null && event.shouldCommit()) {
            record(event, step);
        }
        if (!listeners.isEmpty()) {
            StepStats stats = new StepStats(step);
            tell(listener -> listener.stepped(stats));
        }
    }

    private void record(StepEvent event, StepFigures step) {
        event.end();
        event.model = model;
        event.sequences = step.sequences;
        event.decodingSequences = step.decoding;
        event.promptTokens = step.promptTokens;
        event.sharedPromptTokens = step.sharedTokens;
        event.draftedTokens = step.drafted;
        event.acceptedTokens = step.accepted;
        event.tokens = step.tokens;
        event.promisedTokens = step.promisedTokens;
        event.relativeCost = step.relativeCost;
        event.mainRows = step.mainRows;
        event.streamRows = step.streamRows;
        event.queuedRequests = step.queued;
        event.preemptedRequests = step.parked;
        event.preemptions = step.preemptions;
        event.recomputedTokens = step.recomputedTokens;
        event.pagesInUse = step.pagesInUse;
        event.pagesCached = step.pagesCached;
        event.pages = step.pages;
        event.forward = step.forwardNanos;
        event.verify = step.verifyNanos;
        event.draft = step.draftNanos;
        event.commit();
    }

    @Override
    public void ended(Request request, @Nullable FinishReason reason, @Nullable TributaryException failure) {
        boolean cancelled = failure instanceof GenerationCancelledException;
        boolean late = failure instanceof GenerationTimeoutException;
        synchronized (totals) {
            totals.completed += reason != null ? 1 : 0;
            totals.cancelled += cancelled ? 1 : 0;
            totals.timedOut += late ? 1 : 0;
            totals.failed += reason == null && !cancelled && !late ? 1 : 0;
        }
        RequestEvent event = request.event();
        if (event.shouldCommit()) {
            record(
                    event,
                    request,
                    reason != null ? reason.name() : cancelled ? "CANCELLED" : late ? "TIMED_OUT" : "FAILED");
        }
        if (!listeners.isEmpty()) {
            RequestOutcome outcome = new RequestOutcome(
                    request.number(),
                    request.counters(GenerationStats::new),
                    Optional.ofNullable(reason),
                    Optional.ofNullable(failure),
                    Duration.ofNanos(System.nanoTime() - request.submittedNanos()));
            tell(listener -> listener.ended(outcome));
        }
    }

    private void record(RequestEvent event, Request request, String outcome) {
        event.end();
        event.model = model;
        event.request = request.number();
        event.outcome = outcome;
        GenerationStats stats = request.counters(GenerationStats::new);
        event.promptTokens = stats.promptTokens();
        event.sharedPromptTokens = stats.sharedPromptTokens();
        event.preemptions = stats.preemptions();
        event.tokens = stats.tokens();
        event.passes = stats.passes();
        event.draftedTokens = stats.draftedTokens();
        event.tokensPerPass = stats.tokensPerPass();
        event.queued = stats.queued().toNanos();
        event.prefill = stats.prefill().toNanos();
        event.decode = stats.decode().toNanos();
        event.commit();
    }

    /** Whatever a listener throws, an Error as well as an exception: the engine and its generations must not suffer for it. */
    private void tell(Consumer<ModelListener> call) {
        for (ModelListener listener : listeners) {
            try {
                call.accept(listener);
            } catch (Throwable e) {
                drop(listener, e);
            }
        }
    }

    private void drop(ModelListener listener, Throwable failure) {
        try {
            listeners.remove(listener);
            LOGGER.log(System.Logger.Level.ERROR, "a model listener threw and hears nothing more", failure);
        } catch (RuntimeException | Error unwritten) {
            // A log that throws too, or no memory to write it: there is nobody left to tell.
        }
    }
}
