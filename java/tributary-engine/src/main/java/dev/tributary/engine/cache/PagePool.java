// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import java.util.BitSet;

/** The pages of a KV cache: which are free. Changed by the device thread only; any thread may ask how many are free. */
public final class PagePool {
    private final int[] free;
    private final BitSet taken;
    private int count;
    /** What other threads read of count, which the device thread alone counts. */
    private volatile int published;

    /**
     * All pages free.
     *
     * @param pages pages of the cache
     */
    public PagePool(int pages) {
        free = new int[pages];
        taken = new BitSet(pages);
        for (int i = 0; i < pages; i++) {
            free[i] = pages - 1 - i;
        }
        count = pages;
        published = pages;
    }

    /** {@return pages in all} */
    public int capacity() {
        return free.length;
    }

    /** {@return free pages} */
    public int available() {
        return published;
    }

    int take() {
        if (count == 0) {
            throw new IllegalStateException("the KV cache has no free page; admission must keep " + free.length
                    + " pages from being promised twice");
        }
        int page = free[--count];
        published = count;
        taken.set(page);
        return page;
    }

    void giveBack(int page) {
        if (!taken.get(page)) {
            throw new IllegalStateException("page " + page + " is given back but was not taken");
        }
        taken.clear(page);
        free[count++] = page;
        published = count;
    }
}
