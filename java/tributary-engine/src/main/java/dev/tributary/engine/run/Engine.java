// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.ConfigurationException;
import dev.tributary.ConstraintException;
import dev.tributary.DeviceException;
import dev.tributary.FinishReason;
import dev.tributary.GenerationCancelledException;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.ModelClosedException;
import dev.tributary.QueueFullException;
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
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;
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
    private final RequestQueue queue = new RequestQueue(System.nanoTime());
    private boolean closing;
    private long submitted;
    private long refused;
    // Written by the device thread.
    private volatile int parked;
    private volatile long savedBytes;
    private @Nullable DeviceException poison;

    // Owned by the device thread.
    private EngineObserver observer = EngineObserver.SILENT;
    private final StepFigures stepFigures = new StepFigures();
    private final PassFigures passFigures = new PassFigures();
    private long stepBegan;
    /** Taken from the queue, but not running yet. */
    private Optional<Request> beginning = Optional.empty();

    private final List<BudgetPolicy.Part> parts = new ArrayList<>();
    private final List<Sequence> drafting = new ArrayList<>();
    private final TreeBuilder builder = new TreeBuilder();
    private final int[] pathTokens = new int[Limits.MAX_PATH];
    private final int[] path = new int[Limits.MAX_PATH];
    private final int[] committed = new int[Limits.MAX_PATH];
    /** Committed tokens of a running sequence, on average. */
    private double context;
    /** What callers' code took of the step: constraints while it was planned, listeners that heard of ends. */
    private long callersNanos;

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
     * Queues requests: all of them or none.
     *
     * @param requests the requests
     * @throws ConfigurationException when one can never run
     * @throws ModelClosedException when the model is closed or closing
     * @throws QueueFullException when too many wait
     * @throws DeviceException when the device failed earlier
     */
    public void submit(List<Request> requests) {
        LoadedModel model = model();
        requests.forEach(request -> requireRunnable(model, request));
        synchronized (this) {
            requireOpen();
            int capacity = model.limits().queueCapacity();
            if (queue.size() > capacity - requests.size()) {
                refused += requests.size();
                throw new QueueFullException("the queue is full: " + queue.size() + " requests wait"
                        + (requests.size() > 1 ? " and " + requests.size() + " would join them" : "")
                        + ", the capacity is " + capacity + " (LoadOptions.queueCapacity), " + refused
                        + " were refused so far");
            }
            for (Request request : requests) {
                request.submitted(++submitted, observer, thread);
                queue.add(request);
            }
            notifyAll();
        }
    }

    /**
     * Checks that there is somebody who would run a request.
     *
     * @throws ModelClosedException when the model is closed or closing
     * @throws DeviceException when the device failed earlier
     */
    public synchronized void requireOpen() {
        if (poison != null) {
            throw new DeviceException(String.valueOf(poison.getMessage()), poison);
        }
        if (closing) {
            throw new ModelClosedException("the model is closed and takes no new requests");
        }
    }

    private static void requireRunnable(LoadedModel model, Request request) {
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
        for (int token : request.options().logitBias().keySet()) {
            if (token >= model.config().vocabularySize()) {
                throw new ConfigurationException(
                        "logitBias names token " + token + ", expected less than the vocabulary's "
                                + model.config().vocabularySize());
            }
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

    /** {@return sequences that have made room for others and wait to go on} */
    public int parked() {
        return parked;
    }

    /** {@return bytes of host memory that keep their pages} */
    public long savedBytes() {
        return savedBytes;
    }

    /** {@return requests that were refused since too many waited} */
    public synchronized long refused() {
        return refused;
    }

    /** Wakes the device thread, so that it sees a cancellation. */
    public synchronized void wake() {
        queue.disturb();
        notifyAll();
    }

    /**
     * Refuses new requests, cancels the others, waits for the device thread to free everything. Idempotent.
     *
     * @throws IllegalStateException on the device thread, which would wait for itself; nothing is closed then
     */
    @Override
    public void close() {
        if (Thread.currentThread() == thread) {
            throw new IllegalStateException(
                    "close was called on the model's own thread, from a listener or a constraint:"
                            + " it would wait for that to return");
        }
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
        Schedule schedule = new Schedule(model);
        try (model) {
            if (!model.device().isSynchronous()) {
                Rehearsal.of(model); // where the host computes, its part of a pass is small beside the rest
            }
            PassCosts costs = Calibration.measure(model);
            BudgetPolicy policy =
                    new BudgetPolicy(costs, model.gamma(), model.capacity().adapters());
            loaded.complete(model);
            while (admit(model, schedule)) {
                try {
                    step(model, schedule, policy, costs);
                } catch (InsufficientMemoryException e) {
                    failRunning(schedule, e);
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
            failAll(schedule, failure);
        }
    }

    /** A pass that there is no memory for fails those who were in it; the device and all others go on. */
    private void failRunning(Schedule schedule, InsufficientMemoryException failure) {
        for (Sequence sequence : List.copyOf(schedule.running())) {
            end(schedule, sequence, request -> request.fail(failure));
        }
    }

    /** Gives a sequence's pages back, then completes its request, in any case: nobody else knows of it any more. */
    private void end(Schedule schedule, Sequence sequence, Consumer<Request> how) {
        try {
            schedule.end(sequence);
            publish(schedule);
        } finally {
            how.accept(sequence.request);
        }
    }

    /** Fails requests that nobody else knows of any more: each, whatever the end of another throws. */
    private static void failEach(List<Request> requests, Function<Request, TributaryException> why) {
        RuntimeException thrown = null;
        for (Request request : requests) {
            try {
                request.fail(why.apply(request));
            } catch (Throwable e) {
                if (thrown == null) {
                    thrown = new IllegalStateException("the end of request " + request.number() + " failed", e);
                } else {
                    thrown.addSuppressed(e);
                }
            }
        }
        if (thrown != null) {
            throw thrown;
        }
    }

    /** Steps one request to its end, without queue and thread. */
    static void rehearse(LoadedModel model, BudgetPolicy policy, PassCosts costs, Request request) {
        Engine engine = new Engine("rehearsal", () -> model);
        Schedule schedule = new Schedule(model);
        schedule.start(sequence(model, request, System.nanoTime()));
        while (!schedule.isIdle()) {
            schedule.makeRoom();
            engine.step(model, schedule, policy, costs);
        }
    }

    /** Nothing is freed one by one: the device goes, and everything with it. */
    private void failAll(Schedule schedule, TributaryException failure) {
        List<Request> all = new ArrayList<>();
        schedule.all().forEach(sequence -> all.add(sequence.request));
        beginning.ifPresent(all::add);
        beginning = Optional.empty();
        synchronized (this) {
            all.addAll(queue.takeAll());
        }
        try {
            schedule.abandon();
        } finally {
            failEach(all, _ -> failure);
        }
    }

    /**
     * Ends what was cancelled or is late, admits what fits, waits when there is nothing to do.
     *
     * @return false when the engine ends
     */
    private boolean admit(LoadedModel model, Schedule schedule) {
        long now = System.nanoTime();
        for (Sequence sequence : schedule.all()) {
            if (sequence.request.isCancelled() || sequence.request.isLate(now)) {
                end(schedule, sequence, request -> request.fail(request.endedEarly()));
            }
        }
        List<Request> ended;
        boolean open;
        synchronized (this) {
            ended = queue.takeEnded(now);
            while (ended.isEmpty() && !closing && queue.size() == 0 && schedule.isIdle()) {
                try {
                    wait();
                } catch (InterruptedException e) {
                    // Nobody outside has this thread; should one interrupt it all the same, it looks again.
                }
            }
            open = !closing;
        }
        failEach(ended, Request::endedEarly);
        if (!open) {
            for (Sequence sequence : schedule.all()) {
                end(
                        schedule,
                        sequence,
                        request -> request.fail(
                                new GenerationCancelledException("the model was closed during the generation")));
            }
            failAll(schedule, new GenerationCancelledException("the model was closed before the generation began"));
            publish(schedule);
            return false;
        }
        while (beginNext(model, schedule)) {}
        askConstraints(schedule);
        schedule.makeRoom();
        publish(schedule);
        return true;
    }

    /** A text whose constraint has no answer ends here, before pages are promised to anybody. */
    private void askConstraints(Schedule schedule) {
        for (Sequence sequence : List.copyOf(schedule.running())) {
            try {
                sequence.askConstraint();
            } catch (ConstraintException e) {
                end(schedule, sequence, request -> request.fail(e));
            }
        }
    }

    private void publish(Schedule schedule) {
        parked = schedule.parked();
        savedBytes = schedule.savedBytes();
    }

    /** Lets whoever comes first among those that wait and those that were parked begin, or go on, if it fits. */
    private boolean beginNext(LoadedModel model, Schedule schedule) {
        Request head;
        long turn; // of those that wait now: whoever is submitted from here on comes too late for it
        synchronized (this) {
            turn = System.nanoTime();
            head = queue.peek();
            stepFigures.queued = queue.size();
        }
        if (schedule.hasParkedBefore(head)) {
            return schedule.resumes();
        }
        if (head == null) {
            return false;
        }
        try {
            Sequence.takeMemory(head, model.decoder());
        } catch (InsufficientMemoryException e) {
            synchronized (this) {
                queue.remove(head);
            }
            head.fail(e);
            return true;
        }
        if (!schedule.admits(head)) {
            return false;
        }
        synchronized (this) {
            queue.remove(head);
        }
        // Not under the lock: a sequence begins by reading its whole prompt.
        beginning = Optional.of(head);
        schedule.start(sequence(model, head, turn));
        beginning = Optional.empty();
        return true;
    }

    /** A sequence whose turn came then. */
    static Sequence sequence(LoadedModel model, Request request, long turn) {
        Sequence sequence = new Sequence(
                request,
                new SequenceCache(model.pages(), model.capacity().pages()),
                new Candidates(model.gamma(), Math.max(1, model.capacity().candidates())),
                model.tokenizer(),
                model.config().endTokens()::contains,
                model.config().vocabularySize(),
                model.contextTokens(),
                model.adapterOf(request.options()));
        sequence.start(turn);
        return sequence;
    }

    private void step(LoadedModel model, Schedule schedule, BudgetPolicy policy, PassCosts costs) {
        List<Sequence> running = schedule.running();
        if (running.isEmpty()) {
            return;
        }
        observer.stepBegins();
        stepFigures.reset();
        stepFigures.sequences = running.size();
        long begin = System.nanoTime();
        stepBegan = begin;
        Decoder decoder = model.decoder();
        boolean prefills = plan(model, schedule, policy);
        StepPlan plan = decoder.plan();
        decoder.verify(model.streams().isPresent());
        stepFigures.forwardNanos = decoder.forwardNanos();
        stepFigures.verifyNanos = decoder.verifyNanos();
        boolean typical = decoder.wasPrepared() && !prefills;
        int mainRows = plan.mainRows();
        int streamRows = plan.streamRows();

        drafting.clear();
        for (Sequence sequence : List.copyOf(running)) {
            takeResults(model, schedule, policy, sequence);
        }
        long verified = System.nanoTime();
        if (typical) {
            // What callers' code takes is no cost of a row: others' trees must not shrink for it.
            costs.observeVerify(mainRows, streamRows, context, verified - begin - callersNanos);
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
        stepFigures.promisedTokens = policy.promisedTokens();
        stepFigures.relativeCost = policy.relativeCost();
        stepFigures.mainRows = mainRows;
        stepFigures.streamRows = streamRows;
        stepFigures.pages = model.pages().capacity();
        stepFigures.pagesInUse = stepFigures.pages - model.pages().available();
        stepFigures.pagesCached = model.pages().cached();
        stepFigures.parked = schedule.parked();
        stepFigures.preemptions = schedule.takePreemptions();
        stepFigures.savedBytes = schedule.savedBytes();
        stepFigures.totalNanos = System.nanoTime() - begin;
        observer.stepped(stepFigures);
    }

    /** Writes the next pass: trees of the sequences that decode, chunks of those that read their prompt. */
    private boolean plan(LoadedModel model, Schedule schedule, BudgetPolicy policy) {
        List<Sequence> running = schedule.running();
        StepPlan plan = model.decoder().plan();
        parts.clear();
        int decoding = 0;
        context = 0;
        callersNanos = 0;
        for (Sequence sequence : running) {
            sequence.verifies = sequence.decodes();
            decoding += sequence.verifies ? 1 : 0;
            context += (double) sequence.cache.length() / running.size();
        }
        for (Sequence sequence : running) {
            if (sequence.verifies) {
                sequence.growTree(builder, policy, schedule.rows(sequence, model.treeRows() / decoding));
                callersNanos += sequence.takeConstraintNanos();
                schedule.grant(sequence, sequence.tree.size());
                parts.add(sequence.part);
            }
        }
        policy.decide(parts, context);

        plan.begin();
        int prefillRows = LoadedModel.PREFILL_ROWS;
        boolean prefills = false;
        for (Sequence sequence : running) {
            if (sequence.verifies) {
                planTree(model, plan, sequence, policy);
            } else {
                if (prefillRows > 0) {
                    stepFigures.sharedTokens += schedule.adopt(sequence);
                }
                sequence.chunk = schedule.rows(sequence, Math.min(prefillRows, sequence.leftToRead()));
                schedule.grant(sequence, sequence.chunk);
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
        sequence.choose(model.decoder());
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
        sequence.firstRow = plan.addChunk(sequence.tokens(), length, sequence.chunk);
        sequence.streamRow[0] = -1;
        boolean last = sequence.endsPrompt();
        sequence.wantsDraft = last && model.gamma() > 0 && sequence.speculates() && policy.drafts(sequence.part);
        if (last) {
            int lastRow = sequence.firstRow + sequence.chunk - 1;
            plan.wantLogits(lastRow);
            sequence.choose(model.decoder());
            Speculation.Placement placement =
                    sequence.request.options().speculation().placement();
            if (sequence.wantsDraft && placement != Speculation.Placement.DEFERRED) {
                sequence.streamRow[0] = plan.addStreams(
                        sequence.index, lastRow, sequence.chunk - 1, length + sequence.chunk - 1, sequence.adapter);
            }
        }
    }

    private void takeResults(LoadedModel model, Schedule schedule, BudgetPolicy policy, Sequence sequence) {
        Decoder decoder = model.decoder();
        StepResults results = decoder.results();
        long now = System.nanoTime();
        int accepted = 0;
        int count = 0;
        int anchor = 0;
        Optional<PassRecord> record = Optional.empty();
        java.util.Arrays.fill(passFigures.draftedPerDepth, 0);
        passFigures.contextTokens = sequence.cache.length();
        if (!sequence.verifies) {
            boolean last = sequence.endsPrompt();
            int again = sequence.commitChunk();
            stepFigures.promptTokens += sequence.chunk - again;
            stepFigures.recomputedTokens += again;
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
                    stepFigures.sequences);
            record = Optional.of(PassRecord.of(sequence.tree, path, accepted, bonus, times));
        }
        int before = sequence.generated();
        int taken = sequence.take(pathTokens, i -> results.logProbability(sequence.index, i), count, now);
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
            FinishReason reason = sequence.ended().get();
            long ending = System.nanoTime();
            end(schedule, sequence, request -> request.finish(reason));
            callersNanos += System.nanoTime() - ending;
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
        pass.decision = sequence.part.decision();
        if (!pass.prefill) {
            stepFigures.decisions.add(pass.decision);
        }
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
