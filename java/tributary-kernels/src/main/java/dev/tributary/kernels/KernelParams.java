// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Params of one operation. Setters write straight into a native struct, so that a call only passes its address. Build
 * params once, call often; a setter called between two calls takes effect with the second.
 *
 * <p>The struct lives in the caller's arena: a call after the arena was closed is refused with an
 * {@link IllegalStateException}. Addresses are of the memory of the context's device and are never read or freed here.
 * Setters are not for use while another thread makes a call with the same params. Agreement of the members is checked by
 * the call, which names what it refuses in a {@link KernelException}.
 */
public abstract sealed class KernelParams
        permits WorkspaceParams,
                EmbedParams,
                RmsNormParams,
                GatherRowsParams,
                RopeAppendParams,
                InsertStreamsParams,
                PackWeightParams {
    final MemorySegment segment;

    KernelParams(Arena arena, GroupLayout layout) {
        segment = arena.allocate(layout);
        // Every params struct begins with its own size.
        segment.set(ValueLayout.JAVA_INT, 0, (int) layout.byteSize());
    }

    /** Native counts are unsigned: a negative one would arrive as some four billion. */
    static int count(String name, int value) {
        if (value < 0) {
            throw new IllegalArgumentException(name + " must not be negative, given " + value);
        }
        return value;
    }

    static long count(String name, long value) {
        if (value < 0) {
            throw new IllegalArgumentException(name + " must not be negative, given " + value);
        }
        return value;
    }
}
