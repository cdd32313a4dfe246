// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import dev.tributary.engine.device.DeviceMemory;
import java.lang.foreign.MemorySegment;

/** Pools for tests, over ordinary memory. */
public final class Pools {
    private Pools() {}

    /** {@return pages that share nothing and have no memory} */
    public static PagePool alone(int pages) {
        return new PagePool(new CacheMemory(memory(1), 1, pages, 1), false);
    }

    static DeviceMemory memory(long bytes) {
        return new HeapMemory(MemorySegment.ofArray(new long[Math.toIntExact((bytes + 7) / 8)]));
    }

    private record HeapMemory(MemorySegment segment) implements DeviceMemory {
        @Override
        public long address() {
            return 0;
        }

        @Override
        public long bytes() {
            return segment.byteSize();
        }

        @Override
        public void write(long offset, MemorySegment source) {
            MemorySegment.copy(source, 0, segment, offset, source.byteSize());
        }

        @Override
        public void read(long offset, MemorySegment target) {
            MemorySegment.copy(segment, offset, target, 0, target.byteSize());
        }

        @Override
        public void copy(long from, long to, long count) {
            MemorySegment.copy(segment, from, segment, to, count);
        }

        @Override
        public void close() {}
    }
}
