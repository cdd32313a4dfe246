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

    /**
     * A part of a matrix, in the same memory.
     *
     * @param first its first row
     * @param count how many rows
     * @return {@code [count, columns]}, of the same name
     */
    WeightTensor rows(long first, long count) {
        long columns = shape.get(1);
        long rowBytes = columns * dtype.bytes();
        return new WeightTensor(name, dtype, List.of(count, columns), data.asSlice(first * rowBytes, count * rowBytes));
    }
}
