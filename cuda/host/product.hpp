// SPDX-License-Identifier: Apache-2.0
//
// x Wᵀ for a few rows of x and a few panels of a packed weight: the arithmetic of linear, lm_head and edge_confidence.
//
// Numbers: x is rounded to the weight's type once ("operand rows"), unless it has that type already; every output is one fp32 accumulator that takes the
// pairs of columns in ascending order, within a pair the odd column first. With BF16 on avx512_bf16 that is vdpbf16ps,
// elsewhere two fused multiply-adds. Tiles only choose which outputs share a loop, so neither the number of rows nor
// the cut into panels can reach a bit.
//
// Tiles: rows × panels accumulators stay in registers. One row is bound by memory: eight panels give eight streams and
// eight chains. Many rows are bound by arithmetic: a tile of 6 × 4 loads 10 values for 24 products.
#pragma once

#include "host/packed.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

#if defined(__AVX512BF16__)
constexpr bool has_bf16_dot = true;
#else
constexpr bool has_bf16_dot = false;
#endif

// Greatest tile by registers: acc(rows × panels) + weights + one broadcast.
#if defined(__AVX512F__)
constexpr int max_tile_rows = 6;
constexpr int max_tile_panels = 8;
constexpr int tile_panels(int rows) { return rows <= 3 ? 8 : (rows == 4 ? 6 : (rows == 5 ? 5 : 4)); }
#elif defined(__AVX2__)
constexpr int max_tile_rows = 4;
constexpr int max_tile_panels = 4;
constexpr int tile_panels(int rows) { return rows == 1 ? 4 : (rows == 2 ? 2 : 1); }
#else
constexpr int max_tile_rows = 2;
constexpr int max_tile_panels = 2;
constexpr int tile_panels(int rows) { return rows == 1 ? 2 : 1; }
#endif

// ---------------------------------------------------------------- operand rows

// An operand row holds pairs of bf16 where vdpbf16ps takes them, pairs of fp32 elsewhere.
TRIBUTARY_INLINE bool narrow_operands(uint32_t dtype) { return has_bf16_dot && dtype == TRIB_DTYPE_BF16; }

// Bytes from one operand row to the next. The line beyond the row keeps rows of a power of two out of the same sets of
// the first-level cache.
TRIBUTARY_INLINE int64_t operand_stride(int64_t columns) {
    constexpr int64_t line = 64;
    return ceil_div(ceil_div(columns, 2) * 2 * static_cast<int64_t>(sizeof(float)), line) * line + line;
}

// Rounds a value to `dtype`, in fp32.
TRIBUTARY_INLINE float round_to_half(float x, uint32_t dtype) { return half_to_f32(f32_to_half(x, dtype), dtype); }

// Writes x [columns], rounded to `dtype`, as an operand row.
[[maybe_unused]] inline void write_operand_row(const float* x, int64_t columns, uint32_t dtype, char* row) {
    int64_t i = 0;
    const int64_t padded = ceil_div(columns, 2) * 2;
#if defined(__AVX512BF16__)
    if (dtype == TRIB_DTYPE_BF16) {
        auto* to = reinterpret_cast<uint16_t*>(row);
        for (; i + 16 <= columns; i += 16) {
            const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
            memcpy(to + i, &rounded, sizeof rounded);
        }
        for (; i < padded; ++i) {
            to[i] = f32_to_bf16(i < columns ? x[i] : 0.0F);
        }
        return;
    }
#endif
    auto* to = reinterpret_cast<float*>(row);
#if defined(__AVX512F__)
    if (dtype == TRIB_DTYPE_F16) {
        for (; i + 16 <= columns; i += 16) {
            const __m256i rounded = _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
            _mm512_storeu_ps(to + i, _mm512_cvtph_ps(rounded));
        }
    }
#endif
    for (; i < padded; ++i) {
        to[i] = i < columns ? round_to_half(x[i], dtype) : 0.0F;
    }
}

// Writes x [columns], which has the type `dtype` already, as an operand row.
[[maybe_unused]] inline void write_operand_row(const uint16_t* x, int64_t columns, uint32_t dtype, char* row) {
    const int64_t padded = ceil_div(columns, 2) * 2;
    if (narrow_operands(dtype)) {
        memcpy(row, x, sizeof(uint16_t) * static_cast<size_t>(columns));
        if (padded != columns) {
            const uint16_t none = 0;
            memcpy(row + sizeof(uint16_t) * static_cast<size_t>(columns), &none, sizeof none);
        }
        return;
    }
    auto* to = reinterpret_cast<float*>(row);
    int64_t i = 0;
    for (; i + panel_rows <= columns; i += panel_rows) {
        store(to + i, load_half(x + i, dtype));
    }
    for (; i < padded; ++i) {
        to[i] = i < columns ? half_to_f32(x[i], dtype) : 0.0F;
    }
}

// Writes row `index` of x [rows, columns], F32 or of the type `dtype`, as an operand row.
[[maybe_unused]] inline void write_operand_row(const trib_tensor& x, int64_t index, uint32_t dtype, char* row) {
    const int64_t first = index * x.stride[1];
    if (x.dtype == TRIB_DTYPE_F32) {
        write_operand_row(pointer<const float>(x.address) + first, x.shape[2], dtype, row);
    } else {
        write_operand_row(pointer<const uint16_t>(x.address) + first, x.shape[2], dtype, row);
    }
}

// ---------------------------------------------------------------- tiles

struct tile_arguments {
    const char* rows;  // operand rows
    int64_t row_stride;
    const uint16_t* panels;
    int64_t panel_elements;
    int64_t pairs;
    float* out;          // [rows, panels, 16], added to: K may come in pieces, and the chain is the same
    int64_t out_stride;  // from row to row, in elements
};

#if defined(__AVX512BF16__)
template <int R, int P>
void dot_tile(const tile_arguments& arguments) {
    const tile_arguments t = arguments;  // a copy: the stores below cannot change it
    __m512 total[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            total[r][p] = _mm512_loadu_ps(t.out + r * t.out_stride + p * panel_rows);
        }
    }
    for (int64_t pair = 0; pair < t.pairs; ++pair) {
        __m512bh w[P];
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            w[p] =
                reinterpret_cast<__m512bh>(_mm512_loadu_si512(t.panels + p * t.panel_elements + pair * pair_elements));
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            int32_t x;
            memcpy(&x, t.rows + r * t.row_stride + pair * 4, sizeof x);
            const auto broadcast = reinterpret_cast<__m512bh>(_mm512_set1_epi32(x));
#pragma GCC unroll 8
            for (int p = 0; p < P; ++p) {
                total[r][p] = _mm512_dpbf16_ps(total[r][p], w[p], broadcast);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            _mm512_storeu_ps(t.out + r * t.out_stride + p * panel_rows, total[r][p]);
        }
    }
}
#endif

// The two columns of a pair of a panel.
struct weight_pair {
    f32x16 even, odd;
};

template <uint32_t dtype>
TRIBUTARY_INLINE weight_pair load_weight_pair(const uint16_t* from) {
    weight_pair w;
    if constexpr (dtype == TRIB_DTYPE_F16) {
        w.even = load_f16(from);
        w.odd = load_f16(from + panel_rows);
    } else {
        for (int i = 0; i < vector_parts; ++i) {
            u32_part both;
            memcpy(&both, from + 2 * i * part_lanes, sizeof both);
            const u32_part even = both << 16;
            const u32_part odd = both & 0xffff0000U;
            memcpy(&w.even.part[i], &even, sizeof even);
            memcpy(&w.odd.part[i], &odd, sizeof odd);
        }
    }
    return w;
}

template <uint32_t dtype, int R, int P>
void fma_tile(const tile_arguments& arguments) {
    const tile_arguments t = arguments;
    f32x16 total[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            total[r][p] = load(t.out + r * t.out_stride + p * panel_rows);
        }
    }
    for (int64_t pair = 0; pair < t.pairs; ++pair) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            const weight_pair w = load_weight_pair<dtype>(t.panels + p * t.panel_elements + pair * pair_elements);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const auto* x = reinterpret_cast<const float*>(t.rows + r * t.row_stride) + 2 * pair;
                total[r][p] = fma(splat(x[1]), w.odd, total[r][p]);
                total[r][p] = fma(splat(x[0]), w.even, total[r][p]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
            store(t.out + r * t.out_stride + p * panel_rows, total[r][p]);
        }
    }
}

using tile_function = void (*)(const tile_arguments&);

template <uint32_t dtype, int R, int P>
constexpr tile_function tile_of() {
#if defined(__AVX512BF16__)
    if constexpr (dtype == TRIB_DTYPE_BF16) {
        return dot_tile<R, P>;
    } else {
        return fma_tile<dtype, R, P>;
    }
#else
    return fma_tile<dtype, R, P>;
#endif
}

struct tile_table {
    tile_function of[max_tile_rows][max_tile_panels];  // [rows − 1][panels − 1]
};

template <uint32_t dtype, int R, int P>
constexpr void fill_tiles(tile_table& tiles) {
    tiles.of[R - 1][P - 1] = tile_of<dtype, R, P>();
    if constexpr (P < tile_panels(R)) {
        fill_tiles<dtype, R, P + 1>(tiles);
    } else if constexpr (R < max_tile_rows) {
        fill_tiles<dtype, R + 1, 1>(tiles);
    }
}

template <uint32_t dtype>
constexpr tile_table make_tiles() {
    tile_table tiles = {};
    fill_tiles<dtype, 1, 1>(tiles);
    return tiles;
}

constexpr tile_table bf16_tiles = make_tiles<TRIB_DTYPE_BF16>();
constexpr tile_table f16_tiles = make_tiles<TRIB_DTYPE_F16>();

// A range of the pairs of columns.
struct pair_range {
    int64_t begin, end;
};

// Products of `rows` ≤ max_tile_rows operand rows with panels [first, first + panels) over a range of K, the ranges in
// ascending order from 0: out[row · panels + panel] is 16 outputs.
[[maybe_unused]] inline void product(const packed_weight& weight, int64_t first, int panels, pair_range pairs,
                                     const char* operands, int64_t stride, int rows, float* out) {
    const tile_table& tiles = weight.dtype == TRIB_DTYPE_BF16 ? bf16_tiles : f16_tiles;
    const int64_t pair_bytes = narrow_operands(weight.dtype) ? 4 : 8;
    const int most = tile_panels(rows);
    if (pairs.begin == 0) {
        memset(out, 0, sizeof(float) * static_cast<size_t>(rows * panels * panel_rows));
    }
    for (int done = 0; done < panels; done += most) {
        const int now = panels - done < most ? panels - done : most;
        tiles.of[rows - 1][now - 1]({operands + pairs.begin * pair_bytes, stride,
                                     weight.panel(first + done) + pairs.begin * pair_elements, weight.panel_elements(),
                                     pairs.end - pairs.begin, out + done * panel_rows, int64_t{panels} * panel_rows});
    }
}

// Likewise over all of K.
[[maybe_unused]] inline void product(const packed_weight& weight, int64_t first, int panels, const char* operands,
                                     int64_t stride, int rows, float* out) {
    product(weight, first, panels, {0, weight.pairs}, operands, stride, rows, out);
}

// ---------------------------------------------------------------- cutting work

// Cut of [0, total) into `count` ranges whose sizes differ by at most one.
struct even_cut {
    int64_t total;
    int64_t count;

    static even_cut into(int64_t total, int64_t count) { return {total, count}; }
    // As few ranges of at most `most` as there can be; one, empty, when there is nothing to cut.
    static even_cut by(int64_t total, int64_t most) { return {total, total > most ? ceil_div(total, most) : 1}; }

    int64_t begin(int64_t i) const { return i * (total / count) + (i < total % count ? i : total % count); }
    int64_t size(int64_t i) const { return begin(i + 1) - begin(i); }
};

// The rows of one tile when there are `rows` in all.
TRIBUTARY_INLINE even_cut cut_rows(int64_t rows) { return even_cut::by(rows, max_tile_rows); }

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
