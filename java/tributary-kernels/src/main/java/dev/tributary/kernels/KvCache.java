// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.trib_kv_cache;
import java.lang.foreign.MemorySegment;

/**
 * Description of a paged KV cache in the memory of a device: [layer][page][K | V][kv_head][{@link
 * KernelLimits#PAGE_TOKENS}][head_dim]. It owns nothing. Keys are stored after RoPE; slots that no token was written to may
 * hold anything.
 *
 * @param address address of the first element; 0 while only capacities matter
 * @param dtype {@link DType#BF16} or {@link DType#F16}
 * @param layers layers
 * @param pages pages of each layer
 * @param kvHeads KV heads
 * @param headDimension head size d: a multiple of 8, at most 256
 */
public record KvCache(long address, DType dtype, int layers, int pages, int kvHeads, int headDimension) {

    /**
     * Checks the description.
     *
     * @throws IllegalArgumentException if a count is not positive
     */
    public KvCache {
        if (layers < 1 || pages < 1 || kvHeads < 1 || headDimension < 1) {
            throw new IllegalArgumentException("a KV cache has positive counts, given " + layers + " layers, " + pages
                    + " pages, " + kvHeads + " KV heads of size " + headDimension);
        }
    }

    /** {@return the size in bytes of one page in one layer: K and V of its tokens} */
    public long pageBytes() {
        return 2L * kvHeads * KernelLimits.PAGE_TOKENS * headDimension * dtype.byteSize();
    }

    /** {@return the size of the whole cache in bytes} */
    public long byteSize() {
        return Math.multiplyExact(Math.multiplyExact((long) layers, pages), pageBytes());
    }

    /** Writes every member of a {@code trib_kv_cache}. */
    void writeTo(MemorySegment cache) {
        trib_kv_cache.address(cache, address);
        trib_kv_cache.dtype(cache, dtype.code);
        trib_kv_cache.layers(cache, layers);
        trib_kv_cache.pages(cache, pages);
        trib_kv_cache.kv_heads(cache, kvHeads);
        trib_kv_cache.head_dim(cache, headDimension);
        trib_kv_cache.reserved(cache, 0);
    }
}
