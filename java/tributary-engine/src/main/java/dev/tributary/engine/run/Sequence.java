// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.Acceptance;
import dev.tributary.ConstraintException;
import dev.tributary.FinishReason;
import dev.tributary.GenerationOptions;
import dev.tributary.InsufficientMemoryException;
import dev.tributary.Speculation;
import dev.tributary.engine.cache.SavedPages;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.Limits;
import dev.tributary.engine.policy.BudgetPolicy;
import dev.tributary.engine.step.Decoder;
import dev.tributary.engine.step.Sampling;
import dev.tributary.engine.step.StepPlan;
import dev.tributary.engine.step.TokenCounts;
import dev.tributary.engine.text.Detokenizer;
import dev.tributary.engine.text.StopStrings;
import dev.tributary.engine.text.Tokenizer;
import dev.tributary.engine.tree.Candidates;
import dev.tributary.engine.tree.TokenTree;
import dev.tributary.engine.tree.TreeBuilder;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/** A request that the device thread steps: its cache, its pending token, its draft, its text. */
final class Sequence implements AutoCloseable {
    final Request request;
    final SequenceCache cache;
    final TokenTree tree = new TokenTree();
    final Candidates candidates;
    final BudgetPolicy.Part part;
    final Sampling sampling;
    /** The streams adapter that drafts, if one does. */
    final int adapter;

    /** Index in the step being planned. */
    int index;
    /** First main row in the step being planned. */
    int firstRow;
    /**
     * Whether the step being planned has a tree of it, else a chunk. Decided once: a sequence may come to the end of what it
     * reads while the step is planned, by what others have computed, and then decodes from the next step on.
     */
    boolean verifies;
    /** Tokens in the chunk of the step being planned; 0 of a tree, and where there is no room or nothing left to read. */
    int chunk;
    /** Whether the step being planned, or a pass after it, drafts for this sequence. */
    boolean wantsDraft;
    /** Row of the main states that a deferred draft begins from. */
    int sourceRow;
    /** First stream row of each node in the step being planned, −1 = none. */
    final int[] streamRow = new int[Limits.MAX_TREE];

    private final GenerationOptions options;
    private final IntPredicate endsText;
    private final int contextTokens;
    private final Optional<TokenCounts> counts;
    private final Optional<ConstrainedText> constrained;
    private final boolean hasStreams;
    private final Detokenizer detokenizer;
    private final StopStrings stopStrings;
    private final int[] emitted = new int[Limits.MAX_PATH];
    private final float[] emittedLogProbabilities = new float[Limits.MAX_PATH];
    private int emittedCount;
    private StringBuilder newText = new StringBuilder();
    private int generated;
    /** Whether the constraint was asked for the first token. */
    private boolean asked;

    private int pending = -1;
    /** The prompt and what was generated, the pending token last. */
    private int[] tokens;

    private int tokenCount;
    /** Tokens that have to be in the cache before the sequence decodes (on): the prompt, or all that was there already. */
    private int readTo;
    /** Tokens that were in the cache at some time. */
    private int reached;
    /** Tokens that were in the cache when the sequence was parked. */
    private int parkedLength;

    private Optional<SavedPages> saved = Optional.empty();
    private long startedNanos;
    private long firstTokenNanos;
    private long draftNanos;
    private @Nullable FinishReason ended;

    Sequence(
            Request request,
            SequenceCache cache,
            Candidates candidates,
            Tokenizer tokenizer,
            IntPredicate endToken,
            int vocabulary,
            int contextTokens,
            OptionalInt adapter) {
        this.request = request;
        this.cache = cache;
        this.candidates = candidates;
        this.contextTokens = contextTokens;
        options = request.options();
        hasStreams = adapter.isPresent();
        this.adapter = adapter.orElse(0);
        tokens = request.prompt().clone();
        tokenCount = tokens.length;
        readTo = tokens.length;
        endsText = options.ignoreEndTokens() ? token -> false : endToken;
        part = new BudgetPolicy.Part(
                tree,
                hasStreams ? options.speculation() : Speculation.off(),
                this.adapter,
                options.acceptance() instanceof Acceptance.Typical);
        Sampling.Penalties penalties = penalties(options);
        sampling = new Sampling(
                true,
                options.temperature(),
                options.topK(),
                options.topP(),
                options.minP(),
                options.seed(),
                request.choice(),
                penalties,
                switch (options.acceptance()) {
                    case Acceptance.Exact _ -> Sampling.Typical.NEVER;
                    case Acceptance.Typical(float epsilon, float delta) -> new Sampling.Typical(epsilon, delta);
                });
        boolean penalized = !penalties.equals(Sampling.Penalties.NONE);
        counts = penalized || !options.logitBias().isEmpty()
                ? Optional.of(new TokenCounts(request.prompt(), options.logitBias(), penalized))
                : Optional.empty();
        constrained = options.constraint().map(rule -> new ConstrainedText(rule, vocabulary, endsText));
        detokenizer = tokenizer.detokenizer(request.prompt());
        stopStrings = new StopStrings(options.stopStrings());
    }

    private static Sampling.Penalties penalties(GenerationOptions options) {
        return new Sampling.Penalties(
                options.repetitionPenalty(), options.presencePenalty(), options.frequencyPenalty());
    }

    /**
     * Takes the memory that a request's choices need beyond greedy ones, before the request begins: where there is none it
     * fails alone, and no step of others with it.
     *
     * @throws InsufficientMemoryException when the device has none
     */
    static void takeMemory(Request request, Decoder decoder) {
        GenerationOptions options = request.options();
        if (options.constraint().isPresent()
                || !options.logitBias().isEmpty()
                || !penalties(options).equals(Sampling.Penalties.NONE)
                || options.acceptance() instanceof Acceptance.Typical) {
            decoder.takeForAdjusted();
        } else if (options.temperature() > 0
                || options.logProbabilities()
                || request.observer().isPresent()) {
            decoder.takeForLogits();
        }
    }

    void start(long now) {
        startedNanos = now;
        request.counters(counters -> counters.queuedNanos = now - request.submittedNanos());
    }

    /**
     * Commits what other sequences have computed of what it has to read. The last token of a prompt is left: its logits
     * choose the first of the text.
     *
     * @param mostPages pages that nobody holds now and that may be taken
     * @return tokens of the prompt that need not be read
     */
    int adopt(int mostPages) {
        cache.adopt(tokens, pending < 0 ? readTo - 1 : readTo, mostPages);
        int found = Math.max(0, cache.length() - reached);
        reached = Math.max(reached, cache.length());
        if (found > 0) {
            request.counters(counters -> counters.sharedTokens += found);
        }
        return found;
    }

    /** {@return the prompt and what was generated; longer than they are} */
    int[] tokens() {
        return tokens;
    }

    int readTo() {
        return readTo;
    }

    int leftToRead() {
        return Math.max(0, readTo - cache.length());
    }

    /** {@return whether the chunk of the step being planned is the end of the prompt, so that the first token follows} */
    boolean endsPrompt() {
        return pending < 0 && chunk > 0 && chunk == leftToRead();
    }

    /**
     * Commits the chunk of the step.
     *
     * @return how many of its tokens had been in the cache before the sequence was parked
     */
    int commitChunk() {
        int again = Math.clamp(reached - cache.length(), 0, chunk);
        cache.commit(tokens, cache.length(), chunk);
        reached = Math.max(reached, cache.length());
        return again;
    }

    boolean decodes() {
        return pending >= 0 && leftToRead() == 0;
    }

    /**
     * Gives its pages back and keeps what is needed to go on later.
     *
     * @param save whether to keep what is in them, else it is computed anew
     */
    void park(boolean save) {
        saved = save ? cache.save() : Optional.empty();
        parkedLength = cache.length();
        readTo = Math.max(readTo, parkedLength);
        cache.close();
        request.counters(counters -> counters.preemptions++);
    }

    /** Takes back what was kept; there are pages for it. */
    void resume() {
        saved.ifPresent(pages -> cache.restore(pages, tokens, parkedLength));
        discardSaved();
    }

    void discardSaved() {
        saved.ifPresent(SavedPages::close);
        saved = Optional.empty();
    }

    int parkedLength() {
        return parkedLength;
    }

    /** {@return bytes of host memory that keep its pages while it is parked} */
    long savedBytes() {
        return saved.map(SavedPages::bytes).orElse(0L);
    }

    int generated() {
        return generated;
    }

    boolean speculates() {
        return hasStreams && !(options.speculation().budget() instanceof Speculation.Budget.None);
    }

    /** Whether an accepted node without streams is followed by a drafting pass; else by a pass of one row. */
    boolean draftsDeferred() {
        return decodes() && part.placement() == Speculation.Placement.DEFERRED;
    }

    Optional<FinishReason> ended() {
        return Optional.ofNullable(ended);
    }

    /**
     * Asks the text's constraint what may come next, once for each choice.
     *
     * @throws ConstraintException when it has no answer for the text so far
     */
    void askConstraint() {
        if (decodes()) {
            constrained.ifPresent(text -> text.begin(pending));
        } else if (pending < 0 && !asked) {
            asked = true;
            constrained.ifPresent(ConstrainedText::begin);
        }
    }

    /** Grows the next tree from the pending token, as large as the options and the text's limits allow. */
    void growTree(TreeBuilder builder, BudgetPolicy policy, int mostNodes) {
        tree.reset(pending);
        part.drafted(candidates.depth() > 0);
        int nodes = 1;
        float leastProbability = 0;
        switch (options.speculation().budget()) {
            case Speculation.Budget.None _ -> {}
            case Speculation.Budget.Fixed fixed -> nodes = fixed.nodes();
            case Speculation.Budget.Adaptive adaptive -> {
                nodes = adaptive.maxNodes();
                leastProbability = policy.leastProbability(cache.length());
            }
        }
        builder.grow(
                tree,
                candidates,
                options.speculation().shape(),
                Math.min(nodes, mostNodes),
                tokensLeft() - 1,
                leastProbability,
                endsText,
                constrained.<TreeBuilder.Admission>map(text -> text).orElse(TreeBuilder.Admission.ALL));
        Arrays.fill(streamRow, 0, tree.size(), -1);
    }

    /** {@return nanoseconds that the constraint took while the tree grew: the caller's time, and none of the pass} */
    long takeConstraintNanos() {
        return constrained.map(ConstrainedText::takeDraftNanos).orElse(0L);
    }

    /** Asks for the target's choice in the pass being planned. */
    void choose(Decoder decoder) {
        StepPlan plan = decoder.plan();
        plan.choose(index, sampling, generated);
        Optional<TokenTree> planned = verifies ? Optional.of(tree) : Optional.empty();
        counts.ifPresent(of -> plan.adjust(decoder.samplingTables(), index, sampling.penalties(), of, planned));
        constrained.ifPresent(text -> plan.allow(
                decoder.samplingTables(),
                index,
                text.masks(),
                text.words() * planned.map(TokenTree::size).orElse(1)));
        if (options.logProbabilities() || request.observer().isPresent()) {
            plan.keepLogits();
        }
    }

    /** Tokens that the text may still take, by its own limit and the context's. */
    int tokensLeft() {
        int pendingTokens = pending >= 0 ? 1 : 0;
        int length = Math.max(cache.length(), readTo);
        return Math.min(options.maxTokens() - generated, contextTokens - length - pendingTokens);
    }

    /**
     * Takes tokens as they were generated, up to the end of the text if it is among them.
     *
     * @param newTokens holds what was generated
     * @param logProbabilities of each, read when the options ask for them
     * @param count how many
     * @param now by {@link System#nanoTime()}
     * @return how many were taken
     */
    int take(int[] newTokens, IntToFloat logProbabilities, int count, long now) {
        if (generated == 0) {
            firstTokenNanos = now;
        }
        emittedCount = 0;
        newText = new StringBuilder();
        for (int i = 0; i < count && ended == null; i++) {
            int token = newTokens[i];
            if (options.logProbabilities()) {
                emittedLogProbabilities[emittedCount] = logProbabilities.at(i);
            }
            emitted[emittedCount++] = token;
            generated++;
            if (endsText.test(token)) {
                ended = FinishReason.END_TOKEN;
            } else {
                newText.append(stopStrings.append(detokenizer.append(token)));
                if (stopStrings.stopped()) {
                    ended = FinishReason.STOP_STRING;
                } else if (generated == options.maxTokens()) {
                    ended = FinishReason.MAX_TOKENS;
                }
            }
        }
        // The last one is the next tree's root; what stands before it is history to its choices.
        for (int i = pending >= 0 ? -1 : 0; i < count - 1; i++) {
            int token = i < 0 ? pending : newTokens[i];
            counts.ifPresent(of -> of.add(token));
            constrained.ifPresent(text -> text.add(token));
        }
        pending = newTokens[count - 1];
        if (tokenCount + count > tokens.length) {
            tokens = Arrays.copyOf(tokens, Math.max(2 * tokens.length, tokenCount + count));
        }
        System.arraycopy(newTokens, 0, tokens, tokenCount, count);
        tokenCount += count;
        reached = Math.max(reached, cache.length());
        return emittedCount;
    }

    /** After the cache was committed: whether the context holds another token, then tells the request. */
    void publish(Optional<PassRecord> pass, PassTimes times, int drafted, int[] draftedPerDepth, long now) {
        if (ended == null && tokensLeft() <= 0) {
            ended = FinishReason.CONTEXT_LIMIT;
        }
        if (ended != null && ended != FinishReason.STOP_STRING) {
            newText.append(stopStrings.append(detokenizer.flush()));
            if (stopStrings.stopped()) {
                ended = FinishReason.STOP_STRING;
            }
            newText.append(stopStrings.flush());
        }
        boolean first = generated == emittedCount;
        String text = newText.toString();
        Optional<PassRecord> traced = pass.map(record -> record.withText(text));
        draftNanos = 0;
        request.progress(emitted, emittedLogProbabilities, emittedCount, text, traced, counters -> {
            if (first) {
                counters.prefillNanos = firstTokenNanos - startedNanos;
            } else {
                counters.passes++;
                counters.draftedTokens += drafted;
                counters.treeSizes[drafted + 1]++;
                counters.decisions.add(part.decision());
                if (wantsDraft && ended == null) {
                    counters.placements.add(part.placement());
                }
                int accepted = Math.min(emittedCount, times.acceptedDrafts());
                counters.acceptedLengths[accepted]++;
                for (int depth = 1; depth <= Limits.MAX_DEPTH; depth++) {
                    counters.draftedPerDepth[depth - 1] += draftedPerDepth[depth];
                    counters.acceptedPerDepth[depth - 1] += depth <= accepted ? 1 : 0;
                }
                counters.forwardNanos += times.forward();
                counters.verifyNanos += times.verify();
                counters.decodeNanos = now - firstTokenNanos;
                counters.hostNanos = Math.max(
                        0, counters.decodeNanos - counters.forwardNanos - counters.verifyNanos - counters.draftNanos);
            }
        });
    }

    /** Time of the drafting pass that the current tree comes from; 0 when its streams ran inside a verifying pass. */
    long draftNanos() {
        return draftNanos;
    }

    void addDraftTime(long nanos) {
        draftNanos = nanos;
        request.counters(counters -> counters.draftNanos += nanos);
    }

    /** A number for each index. */
    @FunctionalInterface
    interface IntToFloat {
        float at(int index);
    }

    /**
     * Times of one pass.
     *
     * @param forward layers and head, nanoseconds
     * @param verify verification and commit, nanoseconds
     * @param acceptedDrafts drafted tokens accepted
     */
    record PassTimes(long forward, long verify, int acceptedDrafts) {}

    /** Gives back what it holds. */
    @Override
    public void close() {
        discardSaved();
        cache.close();
    }
}
