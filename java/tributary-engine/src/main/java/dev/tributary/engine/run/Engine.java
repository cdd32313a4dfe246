// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConfigurationException;
import dev.tributary.DeviceException;
import dev.tributary.GenerationCancelledException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.ModelClosedException;
import dev.tributary.Speculation;
import dev.tributary.TributaryException;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.KernelFailure;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.policy.BudgetPolicy;
import dev.tributary.engine.policy.PassCosts;
import dev.tributary.engine.step.Decoder;
import dev.tributary.engine.step.StepPlan;
import dev.tributary.engine.step.StepResults;
import dev.tributary.engine.text.StopStrings;
import dev.tributary.engine.tree.Candidates;
import dev.tributary.engine.tree.TreeBuilder;
import dev.tributary.kernels.KernelException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The thread that owns a device: it loads the model, then admits requests, steps the running ones together, and retires
 * those that end. Requests come by a queue; nobody else touches device memory.
 *
 * <p>A step: plan the rows of all sequences, run them, take the accepted tokens, draft for those that go on.
 */
public final class Engine implements AutoCloseable {
    private final Thread thread;
    private final CompletableFuture<LoadedModel> loaded = new CompletableFuture<>();

    // Guarded by this.
    private final Deque<Request> queue = new ArrayDeque<>();
    private boolean closing;
    private long submitted;
    private @Nullable DeviceException poison;

    // Owned by the device thread.
    private EngineObserver observer = EngineObserver.SILENT;
    private final StepFigures stepFigures = new StepFigures();
    private final PassFigures passFigures = new PassFigures();
    private long stepBegan;
    private final List<Sequence> running = new ArrayList<>();
    /** Taken from the queue, with pages promised, but not running yet. */
    private final List<Request> admitted = new ArrayList<>();

    private final List<BudgetPolicy.Part> parts = new ArrayList<>();
    private final List<Sequence> drafting = new ArrayList<>();
    private final TreeBuilder builder = new TreeBuilder();
    private final int[] pathTokens = new int[Limits.MAX_PATH];
    private final int[] path = new int[Limits.MAX_PATH];
    private final int[] committed = new int[Limits.MAX_PATH];
    private int promisedPages;
    /** Committed tokens of a running sequence, on average. */
    private double context;

    private Engine(String name, Supplier<LoadedModel> loader) {
        thread = Thread.ofPlatform().daemon().name("tributary-" + name).unstarted(() -> run(loader));
    }

    /**
     * Starts the thread, and on it loads the model.
     *
     * @param name of the thread
     * @param loader loads the model; called on the device thread
     * @param observer hears what the engine does
     * @return the engine, once the model is loaded
     */
    public static Engine start(String name, Supplier<LoadedModel> loader, EngineObserver observer) {
        Engine engine = new Engine(name, loader);
        engine.observer = observer; // the thread's start makes it known there
        engine.thread.start();
        try {
            engine.loaded.join();
        } catch (java.util.concurrent.CompletionException e) {
            if (e.getCause() instanceof TributaryException failure) {
                throw failure;
            }
            throw new DeviceException("the model could not be loaded: " + messageOf(e.getCause()), e);
        }
        return engine;
    }

    /** One line of what went wrong; the class where there is no message. */
    private static String messageOf(@Nullable Throwable e) {
        String message = e == null ? null : e.getMessage();
        return message == null ? String.valueOf(e) : message.lines().findFirst().orElse(message);
    }

    /** {@return the loaded model} */
    public LoadedModel model() {
        return loaded.join();
    }

    /**
     * Queues a request.
     *
     * @param request the request
     * @throws ConfigurationException when it can never run
     * @throws ModelClosedException when the model is closed or closing
     * @throws DeviceException when the device failed earlier
     */
    public void submit(Request request) {
        LoadedModel model = model();
        int prompt = request.prompt().length;
        if (prompt == 0) {
            throw new ConfigurationException("the prompt has no tokens, expected at least 1");
        }
        if (prompt >= model.contextTokens()) {
            throw new ConfigurationException("the prompt has " + prompt + " tokens, expected fewer than the context's "
                    + model.contextTokens() + " (LoadOptions.contextTokens)");
        }
        requireUsable(request.options().stopStrings());
        var _ = model.adapterOf(request.options());
        int width = request.options().speculation().shape() instanceof Speculation.Shape.Cartesian cartesian
                ? cartesian.width()
                : 1;
        if (width > model.capacity().candidates() && model.streams().isPresent()) {
            throw new ConfigurationException("Cartesian width is " + width + ", expected at most "
                    + model.capacity().candidates() + " candidates of a stream");
        }
        synchronized (this) {
            if (poison != null) {
                throw new DeviceException(String.valueOf(poison.getMessage()), poison);
            }
            if (closing) {
                throw new ModelClosedException("the model is closed and takes no new requests");
            }
            request.submitted(++submitted, observer);
            queue.add(request);
            notifyAll();
        }
    }

    /** Invalid stop strings are the caller's to hear of, not the device thread's. */
    private static void requireUsable(List<String> stopStrings) {
        var _ = new StopStrings(stopStrings);
    }

    /** {@return requests that were ever submitted} */
    public synchronized long submitted() {
        return submitted;
    }

    /** {@return requests that wait to be admitted} */
    public synchronized int queued() {
        return queue.size();
    }

    /** Wakes the device thread, so that it sees a cancellation. */
    public synchronized void wake() {
        notifyAll();
    }

    /** Refuses new requests, cancels the others, waits for the device thread to free everything. Idempotent. */
    @Override
    public void close() {
        synchronized (this) {
            closing = true;
            notifyAll();
        }
        boolean interrupted = false;
        while (true) {
            try {
                thread.join();
                break;
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void run(Supplier<LoadedModel> loader) {
        LoadedModel model;
        try {
            model = loader.get();
        } catch (Throwable e) {
            loaded.completeExceptionally(e);
            return;
        }
        try (model) {
            if (!model.device().isSynchronous()) {
                Rehearsal.of(model); // where the host computes, its part of a pass is small beside the rest
            }
            PassCosts costs = Calibration.measure(model);
            BudgetPolicy policy =
                    new BudgetPolicy(costs, model.gamma(), model.capacity().adapters());
            loaded.complete(model);
            while (admit(model)) {
                try {
                    step(model, policy, costs);
                } catch (InsufficientMemoryException e) {
                    failRunning(e);
                }
            }
        } catch (Throwable e) {
            TributaryException known = e instanceof KernelException kernel ? KernelFailure.of(kernel) : null;
            DeviceException failure = e instanceof DeviceException device
                    ? device
                    : known instanceof DeviceException device
                            ? device
                            : new DeviceException("the device failed, and with it this model: " + messageOf(e), e);
            synchronized (this) {
                poison = failure;
            }
            loaded.completeExceptionally(failure);
            failAll(failure);
        }
    }

    /** A pass that there is no memory for fails those who were in it; the device and all others go on. */
    private void failRunning(InsufficientMemoryException failure) {
        for (Sequence sequence : running) {
            retire(sequence);
            sequence.request.fail(failure);
        }
        running.clear();
    }

    /** Steps one request to its end, without queue and thread. */
    static void rehearse(LoadedModel model, BudgetPolicy policy, PassCosts costs, Request request) {
        Engine engine = new Engine("rehearsal", () -> model);
        engine.promisedPages = pagesOf(model, request);
        engine.running.add(engine.sequence(model, request));
        while (!engine.running.isEmpty()) {
            engine.step(model, policy, costs);
        }
    }

    private void failAll(TributaryException failure) {
        for (Sequence sequence : running) {
            sequence.request.fail(failure);
        }
        running.clear();
        List<Request> waiting = new ArrayList<>(admitted);
        admitted.clear();
        synchronized (this) {
            waiting.addAll(queue);
            queue.clear();
        }
        waiting.forEach(request -> request.fail(failure));
    }

    /**
     * Retires cancelled sequences, admits what fits, waits when there is nothing to do.
     *
     * @return false when the engine ends
     */
    private boolean admit(LoadedModel model) {
        for (Iterator<Sequence> all = running.iterator(); all.hasNext(); ) {
            Sequence sequence = all.next();
            if (sequence.request.isCancelled()) {
                all.remove();
                retire(sequence);
                sequence.request.fail(new GenerationCancelledException("the generation was cancelled"));
            }
        }
        List<Request> cancelled = new ArrayList<>();
        boolean open;
        synchronized (this) {
            while (true) {
                for (Iterator<Request> all = queue.iterator(); all.hasNext(); ) {
                    Request request = all.next();
                    if (request.isCancelled()) {
                        all.remove();
                        cancelled.add(request);
                    }
                }
                open = !closing;
                if (!open) {
                    break;
                }
                while (!queue.isEmpty()
                        && running.size() + admitted.size() < model.capacity().sequences()
                        && promisedPages + pagesOf(model, queue.peek())
                                <= model.pages().capacity()) {
                    Request request = queue.remove();
                    promisedPages += pagesOf(model, request);
                    admitted.add(request);
                }
                stepFigures.queued = queue.size();
                if (!running.isEmpty() || !admitted.isEmpty() || !cancelled.isEmpty()) {
                    break;
                }
                try {
                    wait();
                } catch (InterruptedException e) {
                    // Nobody outside has this thread; should one interrupt it all the same, it looks again.
                }
            }
        }
        // Not under the lock: a sequence begins by reading its whole prompt.
        for (Request request : List.copyOf(admitted)) {
            running.add(sequence(model, request));
            admitted.remove(request);
        }
        cancelled.forEach(r -> r.fail(new GenerationCancelledException("the generation was cancelled")));
        if (!open) {
            for (Sequence sequence : running) {
                retire(sequence);
                sequence.request.fail(new GenerationCancelledException("the model was closed during the generation"));
            }
            running.clear();
            failAll(new GenerationCancelledException("the model was closed before the generation began"));
        }
        return open;
    }

    private static int pagesOf(LoadedModel model, Request request) {
        long tokens =
                Math.min((long) request.prompt().length + request.options().maxTokens(), model.contextTokens());
        return Math.min(model.capacity().pages(), Limits.pages((int) tokens + Limits.MAX_TREE) + 1);
    }

    private Sequence sequence(LoadedModel model, Request request) {
        int pages = pagesOf(model, request);
        Sequence sequence = new Sequence(
                request,
                new SequenceCache(model.pages(), model.capacity().pages()),
                pages,
                new Candidates(model.gamma(), Math.max(1, model.capacity().candidates())),
                model.tokenizer(),
                model.config().endTokens()::contains,
                model.contextTokens(),
                model.adapterOf(request.options()));
        sequence.start(System.nanoTime());
        return sequence;
    }

    private void retire(Sequence sequence) {
        if (!sequence.retired) {
            sequence.retired = true;
            promisedPages -= sequence.promisedPages;
            sequence.close();
        }
    }

    private void step(LoadedModel model, BudgetPolicy policy, PassCosts costs) {
        if (running.isEmpty()) {
            return;
        }
        observer.stepBegins();
        stepFigures.reset();
        stepFigures.sequences = running.size();
        long begin = System.nanoTime();
        stepBegan = begin;
        Decoder decoder = model.decoder();
        boolean prefills = plan(model, policy);
        StepPlan plan = decoder.plan();
        decoder.verify(model.streams().isPresent());
        stepFigures.forwardNanos = decoder.forwardNanos();
        stepFigures.verifyNanos = decoder.verifyNanos();
        boolean typical = decoder.wasPrepared() && !prefills;
        int mainRows = plan.mainRows();
        int streamRows = plan.streamRows();

        drafting.clear();
        for (Sequence sequence : running) {
            takeResults(model, policy, sequence);
        }
        running.removeIf(sequence -> sequence.ended().isPresent());
        long verified = System.nanoTime();
        if (typical) {
            costs.observeVerify(mainRows, streamRows, context, verified - begin);
        }
        if (!drafting.isEmpty()) {
            draft(decoder);
            long nanos = System.nanoTime() - verified;
            if (decoder.wasPrepared()) {
                costs.observeDraft(drafting.size() * model.gamma(), context, nanos);
            }
            drafting.forEach(sequence -> sequence.addDraftTime(nanos));
            stepFigures.draftNanos = nanos;
        }
        stepFigures.mainRows = mainRows;
        stepFigures.streamRows = streamRows;
        stepFigures.pages = model.pages().capacity();
        stepFigures.pagesInUse = stepFigures.pages - model.pages().available();
        stepFigures.pagesCached = model.pages().cached();
        stepFigures.totalNanos = System.nanoTime() - begin;
        observer.stepped(stepFigures);
    }

    /** Writes the next pass: trees of the sequences that decode, chunks of those that read their prompt. */
    private boolean plan(LoadedModel model, BudgetPolicy policy) {
        StepPlan plan = model.decoder().plan();
        parts.clear();
        int decoding = 0;
        context = 0;
        for (Sequence sequence : running) {
            decoding += sequence.decodes() ? 1 : 0;
            context += (double) sequence.cache.length() / running.size();
        }
        for (Sequence sequence : running) {
            if (sequence.decodes()) {
                sequence.growTree(builder, policy, model.treeRows() / decoding);
                parts.add(sequence.part);
            }
        }
        policy.decide(parts, context);

        plan.begin();
        int prefillRows = LoadedModel.PREFILL_ROWS;
        boolean prefills = false;
        for (Sequence sequence : running) {
            if (sequence.decodes()) {
                planTree(model, plan, sequence, policy);
            } else {
                if (prefillRows > 0) {
                    stepFigures.sharedTokens += sequence.adoptPrefix();
                }
                sequence.chunk = Math.min(prefillRows, sequence.promptLeft());
                prefillRows -= sequence.chunk;
                prefills = true;
                planChunk(model, plan, sequence, policy);
            }
        }
        plan.finish();
        return prefills;
    }

    private static void planTree(LoadedModel model, StepPlan plan, Sequence sequence, BudgetPolicy policy) {
        sequence.chunk = 0;
        sequence.cache.reserve(sequence.tree.size());
        sequence.index = plan.openSequence(sequence.cache);
        sequence.firstRow = plan.addTree(sequence.tree);
        plan.choose(sequence.index, sequence.sampling, sequence.generated());
        if (sequence.request.observer().isPresent()) {
            plan.keepLogits();
        }
        sequence.wantsDraft = model.gamma() > 0 && sequence.speculates() && policy.drafts(sequence.part);
        if (sequence.wantsDraft && sequence.part.placement() != Speculation.Placement.DEFERRED) {
            for (int node = 0; node < sequence.tree.size(); node++) {
                if (sequence.part.isAnchor(node)) {
                    sequence.streamRow[node] = plan.addStreams(
                            sequence.index,
                            sequence.firstRow + node,
                            node,
                            sequence.cache.length() + sequence.tree.depth(node),
                            sequence.adapter);
                }
            }
        }
    }

    private static void planChunk(LoadedModel model, StepPlan plan, Sequence sequence, BudgetPolicy policy) {
        int length = sequence.cache.length();
        sequence.cache.reserve(sequence.chunk);
        sequence.index = plan.openSequence(sequence.cache);
        sequence.firstRow = plan.addChunk(sequence.request.prompt(), length, sequence.chunk);
        sequence.streamRow[0] = -1;
        boolean last = sequence.chunk > 0 && sequence.chunk == sequence.promptLeft();
        sequence.wantsDraft = last && model.gamma() > 0 && sequence.speculates() && policy.drafts(sequence.part);
        if (last) {
            int lastRow = sequence.firstRow + sequence.chunk - 1;
            plan.wantLogits(lastRow);
            plan.choose(sequence.index, sequence.sampling, 0);
            if (sequence.request.observer().isPresent()) {
                plan.keepLogits();
            }
            Speculation.Placement placement =
                    sequence.request.options().speculation().placement();
            if (sequence.wantsDraft && placement != Speculation.Placement.DEFERRED) {
                sequence.streamRow[0] = plan.addStreams(
                        sequence.index, lastRow, sequence.chunk - 1, length + sequence.chunk - 1, sequence.adapter);
            }
        }
    }

    private void takeResults(LoadedModel model, BudgetPolicy policy, Sequence sequence) {
        Decoder decoder = model.decoder();
        StepResults results = decoder.results();
        long now = System.nanoTime();
        int accepted = 0;
        int count = 0;
        int anchor = 0;
        Optional<PassRecord> record = Optional.empty();
        java.util.Arrays.fill(passFigures.draftedPerDepth, 0);
        passFigures.contextTokens = sequence.cache.length();
        if (sequence.chunk > 0 || !sequence.decodes()) {
            boolean last = sequence.chunk > 0 && sequence.chunk == sequence.promptLeft();
            sequence.cache.commit(sequence.request.prompt(), sequence.cache.length(), sequence.chunk);
            stepFigures.promptTokens += sequence.chunk;
            if (!last) {
                return;
            }
        } else {
            accepted = results.acceptedCount(sequence.index);
            for (int i = 0; i < accepted; i++) {
                path[i] = results.acceptedNode(sequence.index, i);
                committed[i] = sequence.tree.token(path[i]);
                if (i > 0) {
                    pathTokens[count++] = committed[i];
                }
            }
            anchor = path[accepted - 1];
            for (int node = 1; node < sequence.tree.size(); node++) {
                passFigures.draftedPerDepth[sequence.tree.depth(node)]++;
            }
            sequence.cache.commit(committed, 0, accepted);
            policy.observe(sequence.part, accepted - 1);
        }
        int bonus = results.bonus(sequence.index);
        pathTokens[count++] = bonus;
        if (sequence.request.options().trace() && accepted > 0) {
            PassRecord.Times times = new PassRecord.Times(
                    stepBegan - sequence.request.submittedNanos(),
                    now - stepBegan,
                    decoder.forwardNanos(),
                    decoder.verifyNanos(),
                    sequence.draftNanos(),
                    running.size());
            record = Optional.of(PassRecord.of(sequence.tree, path, accepted, bonus, times));
        }
        int before = sequence.generated();
        int taken = sequence.take(pathTokens, count, now);
        if (sequence.request.observer().isPresent()) {
            Request.LogitObserver observer = sequence.request.observer().get();
            for (int i = 0; i < taken; i++) {
                observer.logits(before + i, decoder.logits(results.acceptedRow(sequence.index, i)));
            }
        }
        Sequence.PassTimes times =
                new Sequence.PassTimes(decoder.forwardNanos(), decoder.verifyNanos(), Math.max(0, accepted - 1));
        int drafted = accepted == 0 ? 0 : sequence.tree.size() - 1;
        sequence.publish(record, times, drafted, passFigures.draftedPerDepth, now);
        sequence.candidates.clear();
        observePass(sequence, drafted, accepted, taken);
        if (sequence.ended().isPresent()) {
            retire(sequence);
            sequence.request.finish(sequence.ended().get());
        } else if (sequence.wantsDraft) {
            int stream = sequence.streamRow[anchor];
            if (stream >= 0) {
                takeCandidates(decoder.plan(), results, sequence, stream, model.gamma());
            } else if (sequence.draftsDeferred()) {
                sequence.sourceRow = results.acceptedRow(sequence.index, Math.max(0, accepted - 1));
                drafting.add(sequence);
            }
        }
    }

    private void observePass(Sequence sequence, int drafted, int accepted, int taken) {
        PassFigures pass = passFigures;
        pass.request = sequence.request.number();
        pass.prefill = accepted == 0;
        pass.drafted = drafted;
        pass.accepted = Math.min(taken, Math.max(0, accepted - 1));
        pass.tokens = taken;
        pass.drafts = sequence.wantsDraft && sequence.ended().isEmpty();
        pass.placement = sequence.part.placement();
        stepFigures.decoding += pass.prefill ? 0 : 1;
        stepFigures.drafted += drafted;
        stepFigures.accepted += pass.accepted;
        stepFigures.tokens += taken;
        observer.passed(pass);
    }

    private void draft(Decoder decoder) {
        StepPlan plan = decoder.draftPlan();
        plan.begin();
        for (Sequence sequence : drafting) {
            int index = plan.openSequence(sequence.cache);
            sequence.streamRow[0] =
                    plan.addStreams(index, sequence.sourceRow, -1, sequence.cache.length() - 1, sequence.adapter);
        }
        plan.finish();
        decoder.draft();
        for (Sequence sequence : drafting) {
            takeCandidates(
                    plan,
                    decoder.results(),
                    sequence,
                    sequence.streamRow[0],
                    plan.capacity().gamma());
        }
    }

    private static void takeCandidates(
            StepPlan plan, StepResults results, Sequence sequence, int streamRow, int gamma) {
        Candidates candidates = sequence.candidates;
        candidates.clear();
        for (int j = 0; j < gamma; j++) {
            int result = plan.streamResult(streamRow + j);
            candidates.addStream();
            for (int rank = 0; rank < candidates.width(); rank++) {
                candidates.set(rank, results.candidate(result, rank), results.probability(result, rank));
            }
        }
    }
}
