// SPDX-License-Identifier: Apache-2.0
package dev.tributary.engine.model;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A tensor in a mapped file.
 *
 * @param name as in the file
 * @param dtype element type
 * @param shape dimensions, outermost first
 * @param data the elements, row-major, little endian, read-only; lives as long as the {@link WeightFiles} it is from. Its
 *     address is a multiple of the element size only when the file's writer padded the header
 */
public record WeightTensor(String name, DType dtype, List<Long> shape, MemorySegment data) {
    /** Copies the shape. */
    public WeightTensor {
        shape = List.copyOf(shape);
    }

    /** {@return how many elements} */
    public long elements() {
        return data.byteSize() / dtype.bytes();
    }
}
