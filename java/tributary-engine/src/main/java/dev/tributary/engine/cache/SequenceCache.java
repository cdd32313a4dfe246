// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.Limits;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The pages of one sequence, and how many of its slots are committed. A pass reserves the pages that its rows are
 * written to, commits the accepted tokens, and gives the pages beyond them back.
 *
 * <p>A page that is full and committed is never written again, so sequences that begin alike hold it together. Where they
 * part in the middle of a page, the later one begins with a copy of it.
 */
public final class SequenceCache implements AutoCloseable {
    /** Where fewer tokens are found, computing them anew costs no more than copying the page. */
    private static final int FEWEST_COPIED = 8;

    private final PagePool pool;
    private final int[] pages;
    private int pageCount;
    private int length;
    /** The prefix of the full pages; null when its tokens are not known to the pool. */
    private PrefixTree.@Nullable Node prefix;
    /** Tokens of the page that is not full yet. */
    private final int[] open = new int[Limits.PAGE_TOKENS];

    /**
     * An empty sequence.
     *
     * @param pool where pages come from
     * @param maxPages greatest number of pages
     */
    public SequenceCache(PagePool pool, int maxPages) {
        this.pool = pool;
        this.pages = new int[maxPages];
        prefix = pool.sharing() ? pool.prefixes().root() : null;
    }

    /** {@return committed tokens L} */
    public int length() {
        return length;
    }

    /** {@return pages held} */
    public int pageCount() {
        return pageCount;
    }

    /**
     * A page held.
     *
     * @param index 0 to pageCount − 1
     * @return its number in the cache
     */
    public int page(int index) {
        return pages[index];
    }

    /**
     * Commits what other sequences have computed already: the pages that are known to continue this sequence, and the
     * beginning of the next. It has to stand at the border of a page, else nothing is found.
     *
     * @param tokens the sequence's tokens, those that are committed among them
     * @param limit tokens that may be committed in all
     * @param mostPages pages that nobody holds now and that may be taken
     * @return tokens that were found
     */
    public int adopt(int[] tokens, int limit, int mostPages) {
        if (prefix == null || length % Limits.PAGE_TOKENS != 0) {
            return 0;
        }
        int before = length;
        int pagesLeft = mostPages;
        while (length + Limits.PAGE_TOKENS <= limit) {
            PrefixTree.Node next = pool.prefixes().find(prefix, tokens, length);
            if (next == null) {
                break;
            }
            if (pagesLeft == 0 && !pool.isHeld(next)) {
                return length - before;
            }
            pagesLeft -= pool.isHeld(next) ? 0 : 1;
            pool.share(next);
            pages[pageCount++] = next.page;
            length += Limits.PAGE_TOKENS;
            prefix = next;
        }
        if (pagesLeft > 0) {
            adoptBeginning(tokens, Math.min(limit - length, Limits.PAGE_TOKENS - 1));
        }
        return length - before;
    }

    private void adoptBeginning(int[] tokens, int most) {
        if (prefix == null || most < FEWEST_COPIED) {
            return;
        }
        PrefixTree.Beginning beginning = pool.prefixes().findBeginning(prefix, tokens, length, most);
        if (beginning == null || beginning.tokens() < FEWEST_COPIED) {
            return;
        }
        int page = pool.takeCopy(beginning.node());
        if (page >= 0) {
            pages[pageCount++] = page;
            System.arraycopy(tokens, length, open, 0, beginning.tokens());
            length += beginning.tokens();
        }
    }

    /**
     * Holds pages for the slots 0 to length + rows − 1.
     *
     * @param rows slots that the next pass writes behind the committed ones
     */
    public void reserve(int rows) {
        int needed = Limits.pages(length + rows);
        if (needed > pages.length) {
            throw new IllegalArgumentException("a sequence of " + length + " tokens cannot take " + rows
                    + " more rows: " + needed + " pages, at most " + pages.length);
        }
        while (pageCount < needed) {
            pages[pageCount] = pool.take();
            pageCount++;
        }
        // A pass writes from slot L on, and commits within what it wrote.
        for (int i = length / Limits.PAGE_TOKENS; i < pageCount; i++) {
            pool.requireOwn(pages[i]);
        }
    }

    /**
     * Counts tokens as committed and gives back the pages behind them.
     *
     * @param tokens holds the tokens of this pass that stay
     * @param from first of them
     * @param count how many
     */
    public void commit(int[] tokens, int from, int count) {
        for (int i = 0; i < count; i++) {
            open[length % Limits.PAGE_TOKENS] = tokens[from + i];
            length++;
            if (length % Limits.PAGE_TOKENS == 0) {
                fill(length / Limits.PAGE_TOKENS - 1);
            }
        }
        rollback();
    }

    /**
     * Likewise, where nobody knows which tokens: from here on the sequence shares no page.
     *
     * @param count tokens that stay
     */
    public void commit(int count) {
        prefix = null;
        length += count;
        rollback();
    }

    /**
     * Supposes that this sequence gives its pages back, as well as all that are supposed to already.
     *
     * @return pages that nobody would hold then: those that others hold too stay theirs
     */
    public int leaves() {
        int freed = 0;
        for (int i = 0; i < pageCount; i++) {
            freed += pool.leaves(pages[i]) ? 1 : 0;
        }
        return freed;
    }

    /** Supposes that no more. */
    public void stays() {
        for (int i = 0; i < pageCount; i++) {
            pool.stays(pages[i]);
        }
    }

    /** Gives back what the last reservation took beyond the committed tokens. */
    public void rollback() {
        shrink(Limits.pages(length));
    }

    /**
     * Copies what is committed to the host.
     *
     * @return the copy; empty when nothing is committed, or the host has no memory for it
     */
    public Optional<SavedPages> save() {
        return length == 0 ? Optional.empty() : SavedPages.of(pool.memory(), pages, pageCount);
    }

    /**
     * Commits what was saved: this sequence is empty, and its pages may be others than then.
     *
     * @param saved the copy
     * @param tokens holds the tokens of it
     * @param count how many
     */
    public void restore(SavedPages saved, int[] tokens, int count) {
        adopt(tokens, count, Integer.MAX_VALUE);
        int first = length / Limits.PAGE_TOKENS;
        int left = count - length;
        reserve(left);
        saved.restore(pool.memory(), pages, first);
        commit(tokens, length, left);
    }

    /** Gives back every page; what is committed in them may be found by others. */
    @Override
    public void close() {
        rollback();
        int filled = length % Limits.PAGE_TOKENS;
        if (prefix != null && filled > 0) {
            pool.knowBeginning(prefix, open, filled, pages[pageCount - 1]);
        }
        length = 0;
        prefix = pool.sharing() ? pool.prefixes().root() : null;
        shrink(0);
    }

    /** A page is full: it becomes known, or gives way to one that holds the same, bit for bit. */
    private void fill(int index) {
        if (prefix == null) {
            return;
        }
        PrefixTree.Node node = pool.know(prefix, open, pages[index]);
        if (node.page != pages[index]) {
            pool.share(node);
            pool.giveBack(pages[index]);
            pages[index] = node.page;
        }
        prefix = node;
    }

    private void shrink(int keep) {
        while (pageCount > keep) {
            pool.giveBack(pages[--pageCount]);
        }
    }
}
