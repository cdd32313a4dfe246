// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.run;

import dev.tributary.engine.cache.PagePool;
import dev.tributary.engine.cache.SequenceCache;
import dev.tributary.engine.device.Limits;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Who runs, who has to make room, and which pages a step may take. Owned by the device thread.
 *
 * <p>Whose turn it is goes by {@link Request#isBefore} alone, for those who wait, run and were preempted alike. A sequence is
 * admitted when there are pages for its prompt and for the next page of everybody's text, not for all that it may become.
 * When pages run out, the last in order gives all of its own back and is parked: its keys and values go to host memory, or,
 * where that is at its budget, are computed anew. It comes back in its turn, before any that are behind it. The first
 * in order is never parked for want of pages, and any sequence fits alone: so there is always one that gets on, it ends, and
 * only finitely many can ever come before another.
 */
final class Schedule {
    private final PagePool pages;
    private final SchedulingLimits limits;
    private final int mostSequences;
    // Both in order.
    private final List<Sequence> running = new ArrayList<>();
    private final List<Sequence> parked = new ArrayList<>();
    private long savedBytes;
    private int preemptions;
    /** Pages that the step being planned may take beyond those that everybody needs. */
    private int spare;

    Schedule(LoadedModel model) {
        pages = model.pages();
        limits = model.limits();
        mostSequences = model.capacity().sequences();
    }

    /** {@return those that are stepped, in order} */
    List<Sequence> running() {
        return running;
    }

    boolean isIdle() {
        return running.isEmpty() && parked.isEmpty();
    }

    int parked() {
        return parked.size();
    }

    /** {@return bytes of host memory that hold pages} */
    long savedBytes() {
        return savedBytes;
    }

    /** {@return how often a sequence was parked since this was asked last} */
    int takePreemptions() {
        int taken = preemptions;
        preemptions = 0;
        return taken;
    }

    /** A sequence runs from now on. */
    void start(Sequence sequence) {
        insert(running, sequence);
    }

    /** {@return those that run and those that are parked, as they are now} */
    List<Sequence> all() {
        List<Sequence> all = new ArrayList<>(running);
        all.addAll(parked);
        return all;
    }

    /** A sequence that ran, or was parked, has ended; its pages are given back. */
    void end(Sequence sequence) {
        running.remove(sequence);
        parked.remove(sequence);
        savedBytes -= sequence.savedBytes();
        sequence.close();
    }

    /** Forgets all, and gives no page back: the device is lost, or about to be closed. */
    void abandon() {
        parked.forEach(Sequence::discardSaved);
        running.clear();
        parked.clear();
    }

    /** {@return whether a parked sequence comes before whoever waits} */
    boolean hasParkedBefore(@Nullable Request head) {
        return !parked.isEmpty() && (head == null || parked.getFirst().request.isBefore(head));
    }

    /** Lets the first of the parked sequences run again, if it fits. */
    boolean resumes() {
        Sequence sequence = parked.getFirst();
        int parkedLength = sequence.parkedLength();
        if (!makesRoom(sequence.request, wanted(sequence, parkedLength), sequence.tokens(), parkedLength)) {
            return false;
        }
        // Those who made room are behind it.
        savedBytes -= sequence.savedBytes();
        sequence.resume();
        parked.remove(sequence);
        insert(running, sequence);
        return true;
    }

    /** {@return whether a request can begin; those behind it that run have made room, if that was enough} */
    boolean admits(Request request) {
        int prompt = request.prompt().length;
        int text = Math.min(Limits.PAGE_TOKENS, request.options().maxTokens());
        return makesRoom(request, Limits.pages(prompt + text), request.prompt(), prompt - 1);
    }

    /**
     * Parks as many of those behind a request as it takes, from the last on, and nobody where all of them are not enough.
     *
     * @param request whose turn it is
     * @param wanted pages that it should have
     * @param tokens its text
     * @param shareable tokens of it whose pages need not be its own, where somebody who stays has them
     * @return whether it fits now
     */
    private boolean makesRoom(Request request, int wanted, int[] tokens, int shareable) {
        int least = running.size();
        int free = free();
        boolean fits = fits(wanted - pages.held(tokens, shareable), least, free);
        while (!fits && least > 0 && request.isBefore(running.get(least - 1).request)) {
            least--;
            SequenceCache cache = running.get(least).cache;
            // What it was promised, and what nobody holds beside it: a common prefix goes with the last of its holders.
            free += wanted(running.get(least), cache.length()) - cache.pageCount() + cache.leaves();
            fits = fits(wanted - pages.held(tokens, shareable), least, free);
        }
        for (Sequence behind : running.subList(least, running.size())) {
            behind.cache.stays();
        }
        while (fits && running.size() > least) {
            park(running.getLast());
        }
        return fits;
    }

    private boolean fits(int wanted, int sequences, int free) {
        return sequences == 0 || (sequences < mostSequences && wanted <= free);
    }

    /** Pages that are left when everybody has those of the prompt and the next of the text. */
    private int free() {
        int free = pages.available();
        for (Sequence sequence : running) {
            free -= wanted(sequence, sequence.cache.length()) - sequence.cache.pageCount();
        }
        return free;
    }

    private static int wanted(Sequence sequence, int length) {
        int text = Math.clamp(sequence.tokensLeft(), 1, Limits.PAGE_TOKENS);
        return Limits.pages(Math.max(length, sequence.readTo()) + text);
    }

    /** Parks the last in order until all others can take their next step. */
    void makeRoom() {
        while (running.size() > 1 && needed() > pages.available()) {
            park(running.getLast());
        }
        spare = pages.available() - needed();
    }

    /** Pages without which the next step is none: a token for each that decodes, and a chunk if the first reads. */
    private int needed() {
        int needed = 0;
        for (int i = 0; i < running.size(); i++) {
            needed += i == 0 || running.get(i).decodes() ? needed(running.get(i)) : 0;
        }
        return needed;
    }

    private static int needed(Sequence sequence) {
        int rows = sequence.decodes() ? 1 : Math.min(LoadedModel.PREFILL_ROWS, sequence.leftToRead());
        return Limits.pages(sequence.cache.length() + rows) - sequence.cache.pageCount();
    }

    /** {@return rows that a sequence may have in the step being planned, given what it has and needs} */
    int rows(Sequence sequence, int most) {
        int own = sequence.decodes() || sequence == running.getFirst() ? needed(sequence) : 0;
        long slots = (long) (sequence.cache.pageCount() + own + Math.max(0, spare)) * Limits.PAGE_TOKENS;
        return Math.clamp(slots - sequence.cache.length(), 0, most);
    }

    /** Counts the pages of so many rows, which a sequence will reserve in this step. */
    void grant(Sequence sequence, int rows) {
        int own = sequence.decodes() || sequence == running.getFirst() ? needed(sequence) : 0;
        int taken = Limits.pages(sequence.cache.length() + rows) - sequence.cache.pageCount();
        spare -= Math.max(0, taken - own);
    }

    /**
     * Commits what others have computed of what a sequence reads next.
     *
     * @return tokens of the prompt that need not be read
     */
    int adopt(Sequence sequence) {
        int before = pages.available();
        int found = sequence.adopt(Math.max(0, spare));
        spare -= before - pages.available();
        return found;
    }

    /**
     * All pages are saved, those too that others hold: whoever holds them may be gone when the sequence comes back, and a
     * page that was given up since would make it compute the whole text before its own pages anew.
     */
    private void park(Sequence sequence) {
        long bytes = sequence.cache.pageCount() * pages.memory().bytesOfPage();
        sequence.park(savedBytes + bytes <= limits.swapBytes());
        savedBytes += sequence.savedBytes();
        preemptions++;
        running.remove(sequence);
        insert(parked, sequence);
    }

    private static void insert(List<Sequence> sequences, Sequence sequence) {
        int at = sequences.size();
        while (at > 0 && sequence.request.isBefore(sequences.get(at - 1).request)) {
            at--;
        }
        sequences.add(at, sequence);
    }
}
