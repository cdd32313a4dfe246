// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.Limits;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The pages of a KV cache: who holds them, and what is known of their content. A page is free, held by one sequence or
 * shared by several, or cached: nobody holds it, but it has the keys and values of a known prefix and keeps them until a
 * page is wanted and none is free. Then the one that was not used for the longest time goes.
 *
 * <p>Changed by the device thread only; any thread may ask for the counts.
 */
public final class PagePool {
    private static final int NONE = -1;

    private final CacheMemory memory;
    private final boolean sharing;
    private final PrefixTree prefixes = new PrefixTree();
    private final int[] free;
    private int freeCount;
    /** Sequences that hold each page. */
    private final int[] holders;
    /** How many of them are supposed to give it back, while somebody asks what that would free. */
    private final int[] leaving;
    /** The prefix that ends with each page, where it is known. */
    private final PrefixTree.@Nullable Node[] known;
    // Cached pages as a list, the longest unused first.
    private final int[] newer;
    private final int[] older;
    private int oldest = NONE;
    private int newest = NONE;
    private int cachedCount;
    // What other threads read of the counts, which the device thread alone changes.
    private volatile int publishedFree;
    private volatile int publishedCached;

    /**
     * All pages free.
     *
     * @param memory where they lie
     * @param sharing whether sequences share the pages of a common prefix
     */
    public PagePool(CacheMemory memory, boolean sharing) {
        int pages = memory.pages();
        this.memory = memory;
        this.sharing = sharing;
        free = new int[pages];
        holders = new int[pages];
        leaving = new int[pages];
        known = new PrefixTree.@Nullable Node[pages];
        newer = new int[pages];
        older = new int[pages];
        for (int i = 0; i < pages; i++) {
            free[i] = pages - 1 - i;
        }
        freeCount = pages;
        publish();
    }

    /** {@return pages in all} */
    public int capacity() {
        return free.length;
    }

    /** {@return pages that no sequence holds, cached ones among them} */
    public int available() {
        return publishedFree + publishedCached;
    }

    /** {@return pages that no sequence holds and that keep a known prefix} */
    public int cached() {
        return publishedCached;
    }

    /** {@return whether sequences share the pages of a common prefix} */
    public boolean sharing() {
        return sharing;
    }

    /** {@return where the pages lie} */
    public CacheMemory memory() {
        return memory;
    }

    /**
     * How many of the pages that a text begins with are held by others who stay, so that holding them too takes none.
     *
     * @param tokens the text
     * @param limit tokens of it that count
     * @return pages
     */
    public int held(int[] tokens, int limit) {
        int held = 0;
        PrefixTree.Node node = sharing ? prefixes.root() : null;
        while (node != null && (held + 1) * Limits.PAGE_TOKENS <= limit) {
            node = prefixes.find(node, tokens, held * Limits.PAGE_TOKENS);
            if (node == null || holders[node.page] == leaving[node.page]) {
                break;
            }
            held++;
        }
        return held;
    }

    /** Supposes that one sequence less holds a page, until it {@link #stays}; whether nobody would hold it then. */
    boolean leaves(int page) {
        return ++leaving[page] == holders[page];
    }

    void stays(int page) {
        leaving[page]--;
    }

    boolean isHeld(PrefixTree.Node node) {
        return holders[node.page] > 0;
    }

    PrefixTree prefixes() {
        return prefixes;
    }

    /** Takes a page whose content means nothing to whoever takes it. */
    int take() {
        if (freeCount == 0) {
            forgetOldest();
        }
        int page = free[--freeCount];
        holders[page] = 1;
        publish();
        return page;
    }

    /** Another sequence holds the page of a known prefix. */
    void share(PrefixTree.Node node) {
        if (holders[node.page]++ == 0) {
            unlink(node.page);
            publish();
        }
    }

    /** One sequence less holds a page. */
    void giveBack(int page) {
        if (holders[page] == 0) {
            throw new IllegalStateException("page " + page + " is given back but nobody holds it");
        }
        if (--holders[page] == 0) {
            if (known[page] == null) {
                free[freeCount++] = page;
            } else {
                append(page);
            }
            publish();
        }
    }

    /**
     * Takes a page that begins with the content of another.
     *
     * @param node the other; it may be cached
     * @return the page, or −1 when none is left
     */
    int takeCopy(PrefixTree.Node node) {
        share(node); // or it might be the one that gives way
        int page = NONE;
        if (freeCount + cachedCount > 0) {
            page = take();
            memory.copy(node.page, page);
        }
        giveBack(node.page);
        return page;
    }

    /**
     * Says what a full page holds.
     *
     * @param prefix what stands before it
     * @param tokens its tokens
     * @param page the page, held by one sequence
     * @return the node of this prefix: of this page, or of another that holds the same already
     */
    PrefixTree.Node know(PrefixTree.Node prefix, int[] tokens, int page) {
        PrefixTree.Node node = prefixes.find(prefix, tokens, 0);
        if (node == null) {
            node = prefixes.add(prefix, tokens, Limits.PAGE_TOKENS, page);
            known[page] = node;
        }
        return node;
    }

    /**
     * Says what a page holds that is about to be given back without being full.
     *
     * @param prefix what stands before it
     * @param tokens holds its tokens
     * @param count how many
     * @param page the page, held by one sequence
     */
    void knowBeginning(PrefixTree.Node prefix, int[] tokens, int count, int page) {
        PrefixTree.Beginning other = prefixes.findBeginning(prefix, tokens, 0, count);
        if (other == null || other.tokens() < count) {
            known[page] = prefixes.add(prefix, tokens, count, page);
        }
    }

    /** Fails when writing into a page would change what others see, or what is known of it. */
    void requireOwn(int page) {
        if (holders[page] != 1 || known[page] != null) {
            throw new IllegalStateException("page " + page + " is written to while " + holders[page]
                    + " sequences hold it" + (known[page] == null ? "" : " and its prefix is known"));
        }
    }

    private void forgetOldest() {
        int page = oldest;
        if (page == NONE) {
            throw new IllegalStateException(
                    "the KV cache has no page left of " + free.length + "; sequences must make room before a pass");
        }
        unlink(page);
        // Whoever holds a page holds all before it, and gives them back behind it: what was not used for the longest
        // time is never followed by another.
        prefixes.remove(Objects.requireNonNull(known[page]));
        known[page] = null;
        free[freeCount++] = page;
    }

    private void append(int page) {
        older[page] = newest;
        newer[page] = NONE;
        if (newest == NONE) {
            oldest = page;
        } else {
            newer[newest] = page;
        }
        newest = page;
        cachedCount++;
    }

    private void unlink(int page) {
        if (older[page] == NONE) {
            oldest = newer[page];
        } else {
            newer[older[page]] = newer[page];
        }
        if (newer[page] == NONE) {
            newest = older[page];
        } else {
            older[newer[page]] = older[page];
        }
        cachedCount--;
    }

    private void publish() {
        publishedFree = freeCount;
        publishedCached = cachedCount;
    }
}
