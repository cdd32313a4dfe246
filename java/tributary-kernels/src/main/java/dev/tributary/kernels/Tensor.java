// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_tensor;
import java.lang.foreign.MemorySegment;

/**
 * Description of a tensor of up to three dimensions in the memory of a device. It owns nothing. Sizes and strides are in
 * elements; the last stride is always 1. Leading dimensions that the rank does not use have size 1.
 *
 * @param address address of the first element; 0 while only capacities matter, as for
 *     {@link KernelContext#workspaceSize}
 * @param dtype type of the elements
 * @param layout order of the elements; the strides of packed layouts are ignored
 * @param rank dimensions in use, 1 to 3; 0 for {@link #NONE}
 * @param size0 size of the outermost dimension
 * @param size1 size of the middle dimension
 * @param size2 size of the innermost dimension
 * @param stride0 elements from one index of the outermost dimension to the next
 * @param stride1 elements from one index of the middle dimension to the next
 */
public record Tensor(
        long address,
        DType dtype,
        Layout layout,
        int rank,
        long size0,
        long size1,
        long size2,
        long stride0,
        long stride1) {

    /** No tensor, for operands that may be left out. */
    public static final Tensor NONE = new Tensor(0, DType.F32, Layout.ROW_MAJOR, 0, 0, 0, 0, 0, 0);

    /**
     * Checks the description.
     *
     * @throws IllegalArgumentException if the rank is not 0 to 3, a size is not positive, an unused dimension is not 1,
     *     or a stride is negative
     */
    public Tensor {
        if (rank < 0 || rank > 3) {
            throw new IllegalArgumentException("a tensor has 1 to 3 dimensions, given rank " + rank);
        }
        long least = rank == 0 ? 0 : 1;
        long unused0 = rank == 3 ? size0 : least;
        long unused1 = rank >= 2 ? size1 : least;
        boolean none = rank == 0 && (address | size0 | size1 | size2 | stride0 | stride1) != 0;
        if (none || size0 < least || size1 < least || size2 < least || size0 != unused0 || size1 != unused1) {
            throw new IllegalArgumentException(
                    "a tensor of rank " + rank + " has positive sizes, 1 where unused: given [" + size0 + ", " + size1
                            + ", " + size2 + "] at " + address);
        }
        if (stride0 < 0 || stride1 < 0) {
            throw new IllegalArgumentException(
                    "strides must not be negative, given [" + stride0 + ", " + stride1 + ", 1]");
        }
    }

    /**
     * A contiguous vector [size].
     *
     * @param dtype type of the elements
     * @param address address of the first element
     * @param size elements
     * @return the vector
     */
    public static Tensor vector(DType dtype, long address, long size) {
        return new Tensor(address, dtype, Layout.ROW_MAJOR, 1, 1, 1, size, size, size);
    }

    /**
     * A contiguous matrix [rows, columns].
     *
     * @param dtype type of the elements
     * @param address address of the first element
     * @param rows rows
     * @param columns columns
     * @return the matrix
     */
    public static Tensor matrix(DType dtype, long address, long rows, long columns) {
        return new Tensor(
                address, dtype, Layout.ROW_MAJOR, 2, 1, rows, columns, Math.multiplyExact(rows, columns), columns);
    }

    /**
     * A contiguous tensor [a, b, c], such as [rows, heads, head size].
     *
     * @param dtype type of the elements
     * @param address address of the first element
     * @param a size of the outermost dimension
     * @param b size of the middle dimension
     * @param c size of the innermost dimension
     * @return the tensor
     */
    public static Tensor cube(DType dtype, long address, long a, long b, long c) {
        return new Tensor(address, dtype, Layout.ROW_MAJOR, 3, a, b, c, Math.multiplyExact(b, c), c);
    }

    /**
     * A weight [rows, columns] in the backend's own order, of {@link KernelContext#packedSize} bytes.
     *
     * @param dtype type of the elements
     * @param layout {@link Layout#PACKED} or {@link Layout#PACKED_GATE}
     * @param address address of the first byte
     * @param rows rows of the weight, its outputs
     * @param columns columns of the weight, its inputs
     * @return the weight
     * @throws IllegalArgumentException if the layout is not a packed one
     */
    public static Tensor packed(DType dtype, Layout layout, long address, long rows, long columns) {
        if (layout == Layout.ROW_MAJOR) {
            throw new IllegalArgumentException("a packed weight has layout PACKED or PACKED_GATE, given ROW_MAJOR");
        }
        return new Tensor(address, dtype, layout, 2, 1, rows, columns, Math.multiplyExact(rows, columns), columns);
    }

    /**
     * This tensor with another distance between its rows (the first of its dimensions), for a view of a wider buffer: q,
     * k and v inside [rows, (q_heads + 2 kv_heads) d].
     *
     * @param rowStride elements from one row to the next, at least those of a row
     * @return the view
     * @throws IllegalStateException if this is packed, or of fewer than two dimensions
     * @throws IllegalArgumentException if rows would overlap
     */
    public Tensor withStride(long rowStride) {
        if (layout != Layout.ROW_MAJOR || rank < 2) {
            throw new IllegalStateException("only row-major matrices and cubes have a row stride, not " + this);
        }
        long row = rank == 2 ? size2 : Math.multiplyExact(size1, stride1);
        if (rowStride < row) {
            throw new IllegalArgumentException("a row stride of " + rowStride + " is less than the " + row
                    + " elements of a row: rows would overlap");
        }
        return rank == 2
                ? new Tensor(
                        address, dtype, layout, 2, 1, size1, size2, Math.multiplyExact(size1, rowStride), rowStride)
                : new Tensor(address, dtype, layout, 3, size0, size1, size2, rowStride, stride1);
    }

    /**
     * The same description at another address.
     *
     * @param address address of the first element
     * @return the tensor at the address
     */
    public Tensor withAddress(long address) {
        return new Tensor(address, dtype, layout, rank, size0, size1, size2, stride0, stride1);
    }

    /** {@return whether this is {@link #NONE}} */
    public boolean isNone() {
        return rank == 0;
    }

    /** Writes every member of a zeroed or used {@code trib_tensor}. */
    void writeTo(MemorySegment tensor) {
        trib_tensor.address(tensor, address);
        trib_tensor.scales(tensor, 0);
        trib_tensor.shape(tensor, 0, size0);
        trib_tensor.shape(tensor, 1, size1);
        trib_tensor.shape(tensor, 2, size2);
        trib_tensor.stride(tensor, 0, stride0);
        trib_tensor.stride(tensor, 1, stride1);
        trib_tensor.stride(tensor, 2, isNone() ? 0 : 1);
        trib_tensor.dtype(tensor, isNone() ? Tributary.TRIB_DTYPE_NONE() : dtype.code);
        trib_tensor.layout(tensor, layout.code);
        trib_tensor.scale_block(tensor, 0);
        trib_tensor.reserved(tensor, 0);
    }
}
