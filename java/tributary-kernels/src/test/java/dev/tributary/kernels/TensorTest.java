// SPDX-License-Identifier: Apache-2.0
package dev.tributary.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.kernels.ffi.Tributary;
import dev.tributary.kernels.ffi.trib_kv_cache;
import dev.tributary.kernels.ffi.trib_tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class TensorTest {
    @Test
    void unusedDimensionsAreLeadingOnes() {
        assertNative(Tensor.vector(DType.F16, 64, 7), 64, Tributary.TRIB_DTYPE_F16(), 1, 1, 7, 1);
        assertNative(Tensor.matrix(DType.F32, 64, 3, 7), 64, Tributary.TRIB_DTYPE_F32(), 1, 3, 7, 21, 7, 1);
        assertNative(Tensor.cube(DType.BF16, 64, 2, 3, 7), 64, Tributary.TRIB_DTYPE_BF16(), 2, 3, 7, 21, 7, 1);
    }

    @Test
    void viewOfAWiderBufferKeepsItsShape() {
        // k of [rows, (q_heads + 2 kv_heads) d] with 4 query heads, 2 KV heads and d = 8.
        long width = (4 + 2 * 2) * 8;
        Tensor k = Tensor.cube(DType.F32, 4096 + 4 * 8 * 4, 5, 2, 8).withStride(width);
        assertNative(k, 4096 + 128, Tributary.TRIB_DTYPE_F32(), 5, 2, 8, width, 8, 1);
        assertNative(
                Tensor.matrix(DType.F32, 64, 5, 8).withStride(width),
                64,
                Tributary.TRIB_DTYPE_F32(),
                1,
                5,
                8,
                5 * width,
                width,
                1);
        // One row is a cube still, not a matrix.
        assertNative(
                Tensor.cube(DType.F32, 64, 1, 2, 8).withStride(width),
                64,
                Tributary.TRIB_DTYPE_F32(),
                1,
                2,
                8,
                width,
                8,
                1);
    }

    @Test
    void rowsOfAViewMayNotOverlap() {
        assertThrows(
                IllegalArgumentException.class,
                () -> Tensor.matrix(DType.F32, 64, 5, 8).withStride(7));
        assertThrows(
                IllegalArgumentException.class,
                () -> Tensor.cube(DType.F32, 64, 5, 2, 8).withStride(15));
    }

    @Test
    void vectorsAndPackedWeightsHaveNoRowStride() {
        assertThrows(
                IllegalStateException.class,
                () -> Tensor.vector(DType.F32, 64, 8).withStride(8));
        assertThrows(
                IllegalStateException.class,
                () -> Tensor.packed(DType.BF16, Layout.PACKED, 64, 8, 8).withStride(8));
    }

    @Test
    void packedWeightsAreOfAPackedLayout() {
        assertThrows(IllegalArgumentException.class, () -> Tensor.packed(DType.BF16, Layout.ROW_MAJOR, 64, 8, 8));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment written = arena.allocate(trib_tensor.layout());
            Tensor.packed(DType.BF16, Layout.PACKED_GATE, 64, 8, 4).writeTo(written);
            assertEquals(Tributary.TRIB_LAYOUT_PACKED_GATE(), trib_tensor.layout(written));
        }
    }

    @Test
    void noTensorIsAllZeros() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment written = arena.allocate(trib_tensor.layout());
            // Whatever stood there before goes.
            written.fill((byte) -1);
            Tensor.NONE.writeTo(written);
            assertArrayEquals(new byte[(int) written.byteSize()], written.toArray(ValueLayout.JAVA_BYTE));
        }
        assertTrue(Tensor.NONE.isNone());
    }

    @Test
    void sizesArePositive() {
        assertThrows(IllegalArgumentException.class, () -> Tensor.vector(DType.F32, 64, 0));
        assertThrows(IllegalArgumentException.class, () -> Tensor.matrix(DType.F32, 64, -1, 8));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Tensor(64, DType.F32, Layout.ROW_MAJOR, 2, 2, 3, 4, 12, 4),
                "an unused dimension that is not 1");
        assertThrows(
                IllegalArgumentException.class,
                () -> new Tensor(64, DType.F32, Layout.ROW_MAJOR, 0, 0, 0, 0, 0, 0),
                "no tensor, with an address");
        assertThrows(
                IllegalArgumentException.class, () -> new Tensor(64, DType.F32, Layout.ROW_MAJOR, 4, 1, 1, 1, 1, 1));
        assertThrows(
                ArithmeticException.class, () -> Tensor.matrix(DType.F32, 64, Long.MAX_VALUE / 2, Long.MAX_VALUE / 2));
    }

    @Test
    void cacheSizeIsThatOfItsPages() {
        KvCache cache = new KvCache(64, DType.BF16, 3, 5, 2, 16);
        assertEquals(2L * 2 * KernelLimits.PAGE_TOKENS * 16 * 2, cache.pageBytes());
        assertEquals(3 * 5 * cache.pageBytes(), cache.byteSize());
        assertThrows(IllegalArgumentException.class, () -> new KvCache(64, DType.BF16, 0, 5, 2, 16));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment written = arena.allocate(trib_kv_cache.layout());
            written.fill((byte) -1);
            cache.writeTo(written);
            assertEquals(64, trib_kv_cache.address(written));
            assertEquals(Tributary.TRIB_DTYPE_BF16(), trib_kv_cache.dtype(written));
            assertEquals(3, trib_kv_cache.layers(written));
            assertEquals(5, trib_kv_cache.pages(written));
            assertEquals(2, trib_kv_cache.kv_heads(written));
            assertEquals(16, trib_kv_cache.head_dim(written));
            assertEquals(0, trib_kv_cache.reserved(written));
        }
    }

    /** Expects three sizes, then the strides of the used dimensions, the innermost last. */
    private static void assertNative(Tensor tensor, long address, int dtype, long... sizesThenStrides) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment written = arena.allocate(trib_tensor.layout());
            written.fill((byte) -1);
            tensor.writeTo(written);
            assertEquals(address, trib_tensor.address(written));
            assertEquals(dtype, trib_tensor.dtype(written));
            assertEquals(Tributary.TRIB_LAYOUT_ROW_MAJOR(), trib_tensor.layout(written));
            assertEquals(
                    0, trib_tensor.scales(written) | trib_tensor.scale_block(written) | trib_tensor.reserved(written));
            for (int i = 0; i < 3; i++) {
                assertEquals(sizesThenStrides[i], trib_tensor.shape(written, i));
            }
            int strides = sizesThenStrides.length - 3;
            for (int i = 0; i < strides; i++) {
                assertEquals(sizesThenStrides[3 + i], trib_tensor.stride(written, 3 - strides + i));
            }
        }
    }
}
