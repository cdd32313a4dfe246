// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.cache;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/** The pages of a sequence in host memory: [layer][page of the sequence][bytes of a page in one layer]. */
public final class SavedPages implements AutoCloseable {
    private final Arena arena;
    private final MemorySegment content;
    private final int count;

    private SavedPages(Arena arena, MemorySegment content, int count) {
        this.arena = arena;
        this.content = content;
        this.count = count;
    }

    /**
     * Copies pages to the host.
     *
     * @param memory where they lie
     * @param pages holds their numbers
     * @param count how many, at least 1
     * @return the copy; empty when the host has no memory for it
     */
    @SuppressWarnings("MustBeClosedChecker") // closed with the copy
    static Optional<SavedPages> of(CacheMemory memory, int[] pages, int count) {
        Arena arena = Arena.ofConfined();
        try {
            SavedPages saved = new SavedPages(arena, arena.allocate(count * memory.bytesOfPage(), Long.BYTES), count);
            memory.eachRun(
                    pages,
                    0,
                    count,
                    (layer, from, offset, bytes) ->
                            memory.memory().read(offset, saved.part(memory, layer, from, bytes)));
            return Optional.of(saved);
        } catch (OutOfMemoryError e) {
            arena.close();
            return Optional.empty();
        } catch (Throwable e) {
            arena.close();
            throw e;
        }
    }

    /** {@return bytes of host memory} */
    public long bytes() {
        return content.byteSize();
    }

    /** Copies the last of the pages to the device, into others. */
    void restore(CacheMemory memory, int[] pages, int first) {
        memory.eachRun(
                pages,
                first,
                count,
                (layer, from, offset, bytes) -> memory.memory().write(offset, part(memory, layer, from, bytes)));
    }

    private MemorySegment part(CacheMemory memory, int layer, int from, long bytes) {
        return content.asSlice(((long) layer * count + from) * memory.pageBytes(), bytes);
    }

    @Override
    public void close() {
        arena.close();
    }
}
