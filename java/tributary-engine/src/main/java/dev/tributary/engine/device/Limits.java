// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.device;

import dev.tributary.kernels.KernelLimits;

/** Sizes that the kernels fix. */
public final class Limits {
    /** Tokens in one page of the KV cache. */
    public static final int PAGE_TOKENS = KernelLimits.PAGE_TOKENS;
    /** Greatest number of streams. */
    public static final int MAX_GAMMA = KernelLimits.MAX_GAMMA;
    /** Greatest number of nodes in a token tree. */
    public static final int MAX_TREE = KernelLimits.MAX_TREE;
    /** Greatest depth of a node. */
    public static final int MAX_DEPTH = KernelLimits.MAX_DEPTH;
    /** Entries of one accepted path. */
    public static final int MAX_PATH = KernelLimits.MAX_PATH;

    /** Greatest number of tokens with a bias of their own in one request. */
    public static final int MAX_BIASES = 1024;

    private Limits() {}

    /**
     * Pages that hold a number of tokens.
     *
     * @param tokens at least 0
     * @return ⌈tokens / page⌉
     */
    public static int pages(int tokens) {
        return (tokens + PAGE_TOKENS - 1) / PAGE_TOKENS;
    }
}
