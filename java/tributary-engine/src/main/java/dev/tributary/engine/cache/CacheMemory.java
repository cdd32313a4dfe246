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

    private long offset(int layer, int page) {
        return ((long) layer * pages + page) * pageBytes;
    }
}
