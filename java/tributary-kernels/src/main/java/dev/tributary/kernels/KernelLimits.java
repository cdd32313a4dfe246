// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;

/** Limits of the kernels, as the C header states them. */
public final class KernelLimits {
    /** Tokens in one page of the KV cache, and keys in one tile of the fixed reduction order. */
    public static final int PAGE_TOKENS = Tributary.TRIB_PAGE_TOKENS();

    /** Greatest γ, the number of speculative streams of an anchor. */
    public static final int MAX_GAMMA = Tributary.TRIB_MAX_GAMMA();

    /** Greatest number of nodes in a sequence's token tree. */
    public static final int MAX_TREE = Tributary.TRIB_MAX_TREE();

    /** Greatest depth of a node below the root. */
    public static final int MAX_DEPTH = Tributary.TRIB_MAX_DEPTH();

    /** Entries of one accepted path: from the root to the deepest node. */
    public static final int MAX_PATH = Tributary.TRIB_MAX_PATH();

    /** Greatest k of {@link KernelContext#lmHead} and {@link KernelContext#topK}. */
    public static final int MAX_TOP_K = Tributary.TRIB_MAX_TOP_K();

    /** Greatest number of output parts of {@link KernelContext#linear}. */
    public static final int MAX_PARTS = Tributary.TRIB_MAX_PARTS();

    private KernelLimits() {}
}
