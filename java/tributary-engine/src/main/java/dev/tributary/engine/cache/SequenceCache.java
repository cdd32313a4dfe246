// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.Limits;

/**
 * The pages of one sequence, and how many of its slots are committed. A pass reserves the pages that its rows are
 * written to, commits the accepted tokens, and gives the pages beyond them back.
 */
public final class SequenceCache implements AutoCloseable {
    private final PagePool pool;
    private final int[] pages;
    private int pageCount;
    private int length;

    /**
     * An empty sequence.
     *
     * @param pool where pages come from
     * @param maxPages greatest number of pages
     */
    public SequenceCache(PagePool pool, int maxPages) {
        this.pool = pool;
        this.pages = new int[maxPages];
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
            pages[pageCount++] = pool.take();
        }
    }

    /**
     * Counts tokens as committed and gives back the pages behind them.
     *
     * @param tokens tokens of this pass that stay
     */
    public void commit(int tokens) {
        length += tokens;
        shrink(Limits.pages(length));
    }

    /** Gives back what the last reservation took beyond the committed tokens. */
    public void rollback() {
        shrink(Limits.pages(length));
    }

    /** Gives back every page. */
    @Override
    public void close() {
        length = 0;
        shrink(0);
    }

    private void shrink(int keep) {
        while (pageCount > keep) {
            pool.giveBack(pages[--pageCount]);
        }
    }
}
