// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.DeviceMemory;

/**
 * Where the keys and values of the pages lie: [layer][page][bytes of a page in one layer]. A page is moved layer by layer.
 *
 * @param memory of the device
 * @param layers layers
 * @param pages pages
 * @param pageBytes bytes of one page in one layer
 */
public record CacheMemory(DeviceMemory memory, int layers, int pages, long pageBytes) {
    /** {@return bytes of one page in all layers} */
    public long bytesOfPage() {
        return layers * pageBytes;
    }

    /** Copies a page, in stream order. */
    void copy(int from, int to) {
        for (int layer = 0; layer < layers; layer++) {
            memory.copy(offset(layer, from), offset(layer, to), pageBytes);
        }
    }

    /** What is done with pages that lie one behind the other. */
    @FunctionalInterface
    interface Run {
        /**
         * Called for each layer.
         *
         * @param layer the layer
         * @param from index of the first page
         * @param offset where it lies
         * @param bytes of all
         */
        void move(int layer, int from, long offset, long bytes);
    }

    /** Pages mostly lie one behind the other, and a device moves few large pieces sooner than many small ones. */
    void eachRun(int[] numbers, int first, int end, Run action) {
        for (int layer = 0; layer < layers; layer++) {
            int next;
            for (int from = first; from < end; from = next) {
                next = from + 1;
                while (next < end && numbers[next] == numbers[next - 1] + 1) {
                    next++;
                }
                action.move(layer, from, offset(layer, numbers[from]), (next - from) * pageBytes);
            }
        }
    }

    private long offset(int layer, int page) {
        return ((long) layer * pages + page) * pageBytes;
    }
}
