// SPDX-License-Identifier: Apache-2.0
//
// Multi-stream attention, y[row, head] = softmax(scale · q Kᵀ) V over the keys that the row sees.
//
// Order. A row at position p reduces the keys below its border b(p) in tiles of 64 absolute positions, ascending, and
// then one list of single keys: positions b … p (committed slots, then ancestors by depth), then its own streams. What a
// tile or the list contributes is a function of the keys' values and their places in it only, so the bits of a row do
// not depend on slots, siblings, other rows or threads, nor on whether its newest keys are committed or still in a tree.
// Each contribution enters an online-softmax state (m, l, o): greatest score, Σ eˢ⁻ᵐ, Σ eˢ⁻ᵐ v.
//   dot        16 lanes along d, chunks ascending, then lanes folded in halves: the same tree for every kernel below
//   Σ eˢ⁻ᵐ     by lane (key index mod 16), then folded
//   Σ eˢ⁻ᵐ v   key by key, ascending
// Keys below first_visible are left out of every sum: their memory may hold anything.
//
// Work. A task is a block of rows × one KV head (× a part of its query heads when there are many). Per tile and query,
// 2 · 64 · d products; a tile's K and V (256 · d bytes) come from L2 at best. Three or more queries share them: the
// tile is widened to fp32 once (16 KiB for d = 64, which stays in L1) and multiplied by blocks of 4 × 4 accumulators
// (AVX-512; smaller where there are fewer registers), which needs one load for two products. One or two queries, and the
// single keys, read the 16-bit values directly: widening them costs less than writing them down.
#include "host/operations.hpp"
#include "host/step.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int tile_keys = TRIB_PAGE_TOKENS;
constexpr int max_head_dim = 256;
// Queries (rows × heads) of one task; half of it above d = 128, so that a task's state stays within 64 KiB of stack.
constexpr int max_queries = 32;
constexpr int max_state = max_queries * 128;
// Single keys of a row: b … p is at most TRIB_MAX_DEPTH + 64, plus streams. A tree deeper than TRIB_MAX_DEPTH breaks the
// caller's promise; room for all of its nodes keeps even that within bounds.
constexpr int max_single_keys = TRIB_MAX_DEPTH + tile_keys + TRIB_MAX_TREE + TRIB_MAX_GAMMA;
static_assert(max_single_keys % 16 == 8);
constexpr int single_capacity = max_single_keys + 8;
// Queries and keys of one block of accumulators; vectors of one block of outputs.
constexpr int block_queries = vector_parts == 1 ? 4 : 2;
constexpr int block_keys = vector_parts == 1 ? 4 : 2;
constexpr int block_vectors = vector_parts == 1 ? 4 : 2;
constexpr float minus_infinity = -__builtin_inff();

// ---------------------------------------------------------------- elements of a key or value row

struct bf16_elements {
    using type = uint16_t;
    TRIBUTARY_INLINE static f32x16 load16(const uint16_t* x) {
#if defined(__AVX512F__)
        // One widening load and one shift, where GCC 12 makes two halves and joins them.
        f32x16 y;
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
        y.part[0] = f32_part(_mm512_slli_epi32(wide, 16));
        return y;
#else
        return load_bf16(x);
#endif
    }
};

struct f16_elements {
    using type = uint16_t;
    TRIBUTARY_INLINE static f32x16 load16(const uint16_t* x) { return load_f16(x); }
};

// A widened tile: rows are padded with zeros to whole vectors.
struct f32_elements {
    using type = float;
    TRIBUTARY_INLINE static f32x16 load16(const float* x) { return load(x); }
};

// The 8 elements that head sizes of 8 · odd leave over, the upper lanes 0.
template <class Elements>
TRIBUTARY_INLINE f32x16 load8(const typename Elements::type* x) {
    typename Elements::type padded[16] = {};
    memcpy(padded, x, 8 * sizeof *x);
    return Elements::load16(padded);
}

// ---------------------------------------------------------------- sums of 16 vectors at once

// A vector folded to what one register holds: 16, 8 or 4 lanes.
using folded = f32_part;

TRIBUTARY_INLINE folded fold(f32x16 x) {
#if defined(__AVX512F__)
    return x.part[0];
#elif defined(__AVX2__)
    return x.part[0] + x.part[1];
#else
    return (x.part[0] + x.part[2]) + (x.part[1] + x.part[3]);
#endif
}

// Lane i of the result is sum(x_i), bit for bit: the folding of sum() for 16 vectors side by side.
TRIBUTARY_INLINE f32x16 sums(const folded x[16]) {
    f32x16 y;
#if defined(__AVX512F__)
    folded quads[4];
    for (int j = 0; j < 4; ++j) {
        folded pairs[2];
        for (int i = 0; i < 2; ++i) {
            const folded a = x[j + 8 * i];
            const folded b = x[j + 8 * i + 4];
            pairs[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                       __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
        }
        quads[j] =
            __builtin_shufflevector(pairs[0], pairs[1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
            __builtin_shufflevector(pairs[0], pairs[1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
    folded halves[2];
    for (int i = 0; i < 2; ++i) {
        const folded a = quads[2 * i];
        const folded b = quads[2 * i + 1];
        halves[i] = __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                    __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    y.part[0] =
        __builtin_shufflevector(halves[0], halves[1], 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
        __builtin_shufflevector(halves[0], halves[1], 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
#elif defined(__AVX2__)
    for (int part = 0; part < 2; ++part) {
        const folded* of = x + 8 * part;
        folded quads[4];
        for (int j = 0; j < 4; ++j) {
            quads[j] = __builtin_shufflevector(of[j], of[j + 4], 0, 1, 2, 3, 8, 9, 10, 11) +
                       __builtin_shufflevector(of[j], of[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        }
        folded halves[2];
        for (int i = 0; i < 2; ++i) {
            const folded a = quads[2 * i];
            const folded b = quads[2 * i + 1];
            halves[i] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
                        __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
        }
        y.part[part] = __builtin_shufflevector(halves[0], halves[1], 0, 2, 8, 10, 4, 6, 12, 14) +
                       __builtin_shufflevector(halves[0], halves[1], 1, 3, 9, 11, 5, 7, 13, 15);
    }
#else
    for (int part = 0; part < 4; ++part) {
        const folded* of = x + 4 * part;
        for (int i = 0; i < 4; ++i) {
            y.part[part][i] = (of[i][0] + of[i][2]) + (of[i][1] + of[i][3]);
        }
    }
#endif
    return y;
}

// ---------------------------------------------------------------- kernels

// scores[i] = q · key(i), i < n, for one query; scores has room for n rounded up to 16. Chunks > 0: that many vectors
// make a row, known at compile time; else d decides.
template <class Elements, int Chunks, class Key>
TRIBUTARY_INLINE void score(const float* q, int d, int n, const Key& key, float* scores) {
    const int chunks = Chunks > 0 ? Chunks : d / 16;
    const bool half = Chunks == 0 && d % 16 != 0;
    for (int k = 0; k < n; k += 16) {
        folded lanes[16];
        for (int i = 0; i < 16; ++i) {
            const typename Elements::type* x = key(k + i < n ? k + i : n - 1);
            f32x16 products = zero();
            for (int c = 0; c < chunks; ++c) {
                products = fma(load(q + 16 * c), Elements::load16(x + 16 * c), products);
            }
            if (half) {
                products = fma(load(q + 16 * chunks), load8<Elements>(x + 16 * chunks), products);
            }
            lanes[i] = fold(products);
        }
        store(scores + k, sums(lanes));
    }
}

// scores[i][k] = q[i] · keys[k] for block_queries queries and a widened tile [64, width].
TRIBUTARY_INLINE void score_block(const float* const q[], const float* keys, int width, float* const scores[]) {
    constexpr int keys_at_once = 16 / block_queries;
    for (int k = 0; k < tile_keys; k += keys_at_once) {
        folded lanes[16];
        for (int begin = 0; begin < keys_at_once; begin += block_keys) {
            f32x16 products[block_queries][block_keys];
            for (int i = 0; i < block_queries; ++i) {
                for (int j = 0; j < block_keys; ++j) {
                    products[i][j] = zero();
                }
            }
            const float* key = keys + (k + begin) * width;
            for (int c = 0; c < width; c += 16) {
                f32x16 x[block_keys];
                for (int j = 0; j < block_keys; ++j) {
                    x[j] = load(key + j * width + c);
                }
                for (int i = 0; i < block_queries; ++i) {
                    const f32x16 query = load(q[i] + c);
                    for (int j = 0; j < block_keys; ++j) {
                        products[i][j] = fma(query, x[j], products[i][j]);
                    }
                }
            }
            for (int i = 0; i < block_queries; ++i) {
                for (int j = 0; j < block_keys; ++j) {
                    lanes[i * keys_at_once + begin + j] = fold(products[i][j]);
                }
            }
        }
        float block[16];
        store(block, sums(lanes));
        for (int i = 0; i < block_queries; ++i) {
            memcpy(scores[i] + k, block + i * keys_at_once, keys_at_once * sizeof(float));
        }
    }
}

// o[i] = o[i] · factor[i] + Σₖ weights[i][k] · value(k), begin ≤ k < end, ascending, for `Vectors` vectors of d from
// `column` on. `half`: the last of them is the half vector.
template <class Elements, int Queries, int Vectors, class Value>
TRIBUTARY_INLINE void accumulate_columns(float* const o[], const float factor[], const float* const weights[],
                                         int column, bool half, int begin, int end, const Value& value) {
    f32x16 sum_of[Queries][Vectors];
    for (int i = 0; i < Queries; ++i) {
        for (int v = 0; v < Vectors; ++v) {
            sum_of[i][v] = load(o[i] + column + 16 * v) * splat(factor[i]);
        }
    }
    for (int k = begin; k < end; ++k) {
        const typename Elements::type* x = value(k) + column;
        f32x16 values[Vectors];
        for (int v = 0; v < Vectors; ++v) {
            values[v] = v == Vectors - 1 && half ? load8<Elements>(x + 16 * v) : Elements::load16(x + 16 * v);
        }
        for (int i = 0; i < Queries; ++i) {
            const f32x16 weight = splat(weights[i][k]);
            for (int v = 0; v < Vectors; ++v) {
                sum_of[i][v] = fma(weight, values[v], sum_of[i][v]);
            }
        }
    }
    for (int i = 0; i < Queries; ++i) {
        for (int v = 0; v < Vectors; ++v) {
            store(o[i] + column + 16 * v, sum_of[i][v]);
        }
    }
}

template <class Elements, int Queries, class Value>
TRIBUTARY_INLINE void accumulate(float* const o[], const float factor[], const float* const weights[], int d, int begin,
                                 int end, const Value& value) {
    constexpr int wide = Queries == 1 ? 4 : block_vectors;
    int column = 0;
    for (; column + 16 * wide <= d; column += 16 * wide) {
        accumulate_columns<Elements, Queries, wide>(o, factor, weights, column, false, begin, end, value);
    }
    for (; column < d; column += 16) {
        accumulate_columns<Elements, Queries, 1>(o, factor, weights, column, column + 8 == d, begin, end, value);
    }
}

// ---------------------------------------------------------------- online softmax

struct softmax_state {
    float greatest = minus_infinity;  // m
    float sum_of_weights = 0.0F;      // l
};

// eˣ for x ≤ 0: as exp() of vector.hpp, but what only greater arguments need is left out, and products fuse. Within
// 1.1 units in the last place; 0 below −87.3; NaN stays NaN.
TRIBUTARY_INLINE f32x16 exp_of_negative(f32x16 x) {
    const f32x16 magic = splat(12582912.0F);  // 1.5 · 2²³: leaves the nearest integer in the low bits
    const f32x16 shifted = fma(x, splat(1.44269504F), magic);
    const f32x16 n = shifted - magic;
    f32x16 r = fma(n, splat(-0.693359375F), x);
    r = fma(n, splat(2.12194440e-4F), r);
    f32x16 p = splat(1.9875691500e-4F);
    p = fma(p, r, splat(1.3981999507e-3F));
    p = fma(p, r, splat(8.3334519073e-3F));
    p = fma(p, r, splat(4.1665795894e-2F));
    p = fma(p, r, splat(1.6666665459e-1F));
    p = fma(p, r, splat(5.0000001201e-1F));
    p = fma(p, r * r, r) + splat(1.0F);
    for (int i = 0; i < vector_parts; ++i) {
        i32_part exponent;
        memcpy(&exponent, &shifted.part[i], sizeof exponent);
        exponent = (exponent - 0x4b400000 + 127) << 23;
        f32_part scale;
        memcpy(&scale, &exponent, sizeof scale);
        const f32_part y = p.part[i] * scale;
        p.part[i] = x.part[i] < f32_part{} - 87.33654F ? f32_part{} : y;
    }
    return p;
}

// Turns scores[0 … n) (n a multiple of 16, −∞ where there is no key) into weights e^(scale · score − m) for the new m
// and enters them into l. Returns the factor e^(m − new m) for o.
TRIBUTARY_INLINE float enter_weights(softmax_state& state, float* scores, int n, float scale) {
    f32x16 greatest = splat(minus_infinity);
    const f32x16 scales = splat(scale);
    for (int k = 0; k < n; k += 16) {
        const f32x16 scaled = load(scores + k) * scales;
        store(scores + k, scaled);
        greatest = max(scaled, greatest);
    }
    const float before = state.greatest;
    const float seen = max_lane(greatest);
    const float now = before > seen ? before : seen;
    if (now == minus_infinity) {  // only −∞ so far: nothing has a weight, and −∞ − −∞ would not be one
        for (int k = 0; k < n; k += 16) {
            store(scores + k, zero());
        }
        return 1.0F;
    }
    f32x16 weights = zero();
    for (int k = 0; k < n; k += 16) {
        const f32x16 weight = exp_of_negative(load(scores + k) - splat(now));
        store(scores + k, weight);
        weights = weights + weight;
    }
    float factor = 1.0F;
    if (now != before) {
        float lanes[16];
        store(lanes, exp_of_negative(splat(before - now)));
        factor = lanes[0];
    }
    state.greatest = now;
    state.sum_of_weights = state.sum_of_weights * factor + sum(weights);
    return factor;
}

// ---------------------------------------------------------------- rows

struct attention_view {
    step_view step;
    const uint16_t* q;  // [R + Q, q_heads, d] of q_type
    void* y;            // [R + Q, q_heads, d] of y_type
    uint32_t q_type, y_type;
    int64_t q_row, q_head, y_row, y_head;
    const uint16_t* pages;     // of the layer: [page][K | V][kv_head][64][d]
    const uint16_t* stream_k;  // [Q, kv_heads, d]
    const uint16_t* stream_v;
    int64_t stream_k_row, stream_k_head, stream_v_row, stream_v_head;
    int kv_heads, d;
    float scale;

    // Keys of a page for one head, [64][d]; the values of the page follow at values_after().
    const uint16_t* keys(int page, int kv_head) const {
        return pages + (static_cast<int64_t>(page) * 2 * kv_heads + kv_head) * tile_keys * d;
    }
    int64_t values_after() const { return static_cast<int64_t>(kv_heads) * tile_keys * d; }
};

// b(p): keys below it are committed whatever the tree holds, and come in whole tiles.
int tile_border(int position) {
    return position >= TRIB_MAX_DEPTH ? (position - TRIB_MAX_DEPTH) / tile_keys * tile_keys : 0;
}

// Keys and values of a row that are reduced singly, in order.
struct single_keys {
    int count = 0;
    const uint16_t* key[single_capacity];
    const uint16_t* value[single_capacity];
};

void list_single_keys(const attention_view& a, int row, int kv_head, single_keys& list) {
    const step_view& step = a.step;
    const int sequence = step.row_sequence[row];
    const int node = step.row_node[row];
    const int position = step.row_position[row];
    const int first_visible = step.row_first_visible[row];
    const int border = tile_border(position);
    const int64_t values_after = a.values_after();
    list.count = 0;
    const auto add_slot = [&](int slot) {
        const uint16_t* key = a.keys(step.page(sequence, slot), kv_head) + (slot % tile_keys) * a.d;
        list.key[list.count] = key;
        list.value[list.count] = key + values_after;
        ++list.count;
    };
    const bool in_tree = node >= 0 && step.nodes(sequence) > 0;
    const int length = step.sequence_length[sequence];
    const int slots_end = in_tree ? length : position + 1;
    // Page by page: a page holds its keys one after another.
    for (int slot = first_visible > border ? first_visible : border; slot < slots_end;) {
        const uint16_t* key = a.keys(step.page(sequence, slot), kv_head);
        const int page_begin = slot / tile_keys * tile_keys;
        const int page_end = page_begin + tile_keys < slots_end ? page_begin + tile_keys : slots_end;
        key += (slot - page_begin) * a.d;
        for (; slot < page_end; ++slot, key += a.d) {
            list.key[list.count] = key;
            list.value[list.count] = key + values_after;
            ++list.count;
        }
    }
    if (in_tree) {
        // Ancestors in ascending node order are in order of depth: the i-th stands at position length + i.
        const uint64_t* mask = step.mask(sequence, node);
        int ancestor_position = length;
        for (int word = 0; word <= node / 64; ++word) {
            for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1, ++ancestor_position) {
                if (ancestor_position >= first_visible) {
                    add_slot(length + 64 * word + __builtin_ctzll(bits));
                }
            }
        }
    }
    const int streams = step.row_stream[row];
    const int first = row - step.max_main_rows - (streams - 1);  // scratch row of stream 1 of the anchor
    for (int stream = 0; stream < streams; ++stream) {
        list.key[list.count] = a.stream_k + (first + stream) * a.stream_k_row + kv_head * a.stream_k_head;
        list.value[list.count] = a.stream_v + (first + stream) * a.stream_v_row + kv_head * a.stream_v_head;
        ++list.count;
    }
}

template <class Elements>
TRIBUTARY_INLINE void widen_tile(const uint16_t* x, int d, float* tile) {
    if (d % 16 == 0) {
        for (int i = 0; i < tile_keys * d; i += 16) {
            store(tile + i, Elements::load16(x + i));
        }
        return;
    }
    const int width = d + 8;
    for (int k = 0; k < tile_keys; ++k) {
        for (int c = 0; c + 16 <= d; c += 16) {
            store(tile + k * width + c, Elements::load16(x + k * d + c));
        }
        store(tile + k * width + d - 8, load8<Elements>(x + k * d + d - 8));
    }
}

// `rows` rows of one sequence from buffer row `first_row` on × query heads first_head … first_head + heads − 1, which
// all read `kv_head`.
template <class Elements, int Chunks>
void attend(const attention_view& a, int first_row, int rows, int kv_head, int first_head, int heads) {
    alignas(64) float queries[max_state];
    alignas(64) float outputs[max_state];
    alignas(64) float tile[tile_keys * max_head_dim];
    alignas(64) float scores[max_queries * tile_keys];
    softmax_state states[max_queries];
    const int d = a.d;
    const int width = (d + 15) / 16 * 16;
    const int count = rows * heads;  // query i is row i / heads, head i % heads
    const step_view& step = a.step;

    int tiles_begin = tile_border(step.row_position[first_row]) / tile_keys;
    int tiles_end = 0;
    for (int i = 0; i < rows; ++i) {
        const int row = first_row + i;
        const int begin = step.row_first_visible[row] / tile_keys;
        const int end = tile_border(step.row_position[row]) / tile_keys;
        tiles_begin = begin < tiles_begin ? begin : tiles_begin;
        tiles_end = end > tiles_end ? end : tiles_end;
        for (int head = 0; head < heads; ++head) {
            const uint16_t* q = a.q + row * a.q_row + (first_head + head) * a.q_head;
            const int at = (i * heads + head) * width;
            for (int c = 0; c < width; c += 16) {
                store(queries + at + c, load_values(q, a.q_type, c, c + 16 <= d ? 16 : 8));
                store(outputs + at + c, zero());
            }
        }
    }

    const int sequence = step.row_sequence[first_row];
    for (int t = tiles_begin; t < tiles_end; ++t) {
        // Queries that see something of the tile, and the first key that they see. Those that see all of it stand first.
        int active[max_queries];
        int active_begin[max_queries];
        int whole = 0;
        int partial = count;
        for (int i = 0; i < rows; ++i) {
            const int first_visible = step.row_first_visible[first_row + i] - t * tile_keys;
            if (t * tile_keys >= tile_border(step.row_position[first_row + i]) || first_visible >= tile_keys) {
                continue;
            }
            for (int head = 0; head < heads; ++head) {
                const int at = first_visible <= 0 ? whole++ : --partial;
                active[at] = i * heads + head;
                active_begin[at] = first_visible <= 0 ? 0 : first_visible;
            }
        }
        for (int at = partial, end = count; at < end; ++at) {
            active[whole + at - partial] = active[at];
            active_begin[whole + at - partial] = active_begin[at];
        }
        const int active_count = whole + count - partial;
        if (active_count == 0) {
            continue;
        }
        const uint16_t* keys = a.keys(step.page(sequence, t * tile_keys), kv_head);
        const uint16_t* values = keys + a.values_after();
        const bool widened = active_count > 2;
        const int blocks_end = widened ? whole / block_queries * block_queries : 0;

        if (widened) {
            widen_tile<Elements>(keys, d, tile);
        }
        for (int at = 0; at < blocks_end; at += block_queries) {
            const float* q[block_queries];
            float* out[block_queries];
            for (int i = 0; i < block_queries; ++i) {
                q[i] = queries + active[at + i] * width;
                out[i] = scores + (at + i) * tile_keys;
            }
            score_block(q, tile, width, out);
        }
        float factors[max_queries];
        for (int at = 0; at < active_count; ++at) {
            float* own = scores + at * tile_keys;
            const float* q = queries + active[at] * width;
            if (at >= blocks_end) {
                if (widened) {
                    score<f32_elements, Chunks>(
                        q, width, tile_keys, [&](int k) { return tile + k * width; }, own);
                } else {
                    score<Elements, Chunks>(
                        q, d, tile_keys, [&](int k) { return keys + k * d; }, own);
                }
                for (int k = 0; k < active_begin[at]; ++k) {
                    own[k] = minus_infinity;
                }
            }
            factors[at] = enter_weights(states[active[at]], own, tile_keys, a.scale);
        }
        if (widened) {
            widen_tile<Elements>(values, d, tile);
        }
        for (int at = 0; at < active_count;) {
            const int block = at < blocks_end ? block_queries : 1;
            float* out[block_queries];
            const float* weights[block_queries];
            for (int i = 0; i < block; ++i) {
                out[i] = outputs + active[at + i] * width;
                weights[i] = scores + (at + i) * tile_keys;
            }
            const auto wide_value = [&](int k) { return tile + k * width; };
            if (block != 1) {
                accumulate<f32_elements, block_queries>(out, factors + at, weights, width, 0, tile_keys, wide_value);
            } else if (widened) {
                accumulate<f32_elements, 1>(out, factors + at, weights, width, active_begin[at], tile_keys, wide_value);
            } else {
                accumulate<Elements, 1>(out, factors + at, weights, d, active_begin[at], tile_keys,
                                        [&](int k) { return values + k * d; });
            }
            at += block;
        }
    }

    for (int i = 0; i < rows; ++i) {
        const int row = first_row + i;
        single_keys list;
        list_single_keys(a, row, kv_head, list);
        const int padded = (list.count + 15) / 16 * 16;
        for (int head = 0; head < heads; ++head) {
            const int query = i * heads + head;
            float* out = outputs + query * width;
            softmax_state& state = states[query];
            if (list.count > 0) {
                score<Elements, Chunks>(
                    queries + query * width, d, list.count, [&](int k) { return list.key[k]; }, scores);
                for (int k = list.count; k < padded; ++k) {
                    scores[k] = minus_infinity;
                }
                const float factor = enter_weights(state, scores, padded, a.scale);
                const float* weights = scores;
                accumulate<Elements, 1>(&out, &factor, &weights, d, 0, list.count,
                                        [&](int k) { return list.value[k]; });
            }
            // A row that sees no key at all has no weights: its output is 0.
            const f32x16 divisor = splat(state.sum_of_weights > 0.0F ? state.sum_of_weights : 1.0F);
            const int64_t y = row * a.y_row + (first_head + head) * a.y_head;
            for (int c = 0; c < d; c += 16) {
                store_values(a.y, a.y_type, y + c, load(out + c) / divisor, c + 16 <= d ? 16 : 8);
            }
        }
    }
}

using attend_function = void (*)(const attention_view&, int first_row, int rows, int kv_head, int first_head,
                                 int heads);

// The usual head sizes have their number of vectors compiled in; it changes speed only.
template <class Elements>
attend_function attend_for(int d) {
    switch (d) {
        case 32: return attend<Elements, 2>;
        case 64: return attend<Elements, 4>;
        case 128: return attend<Elements, 8>;
        default: return attend<Elements, 0>;
    }
}

int minimum(int a, int b) { return a < b ? a : b; }
int maximum(int a, int b) { return a > b ? a : b; }

}  // namespace

uint64_t multi_stream_attention_workspace(const context&, const trib_multi_stream_attention_params&) { return 0; }

trib_status multi_stream_attention(context& context, const trib_multi_stream_attention_params& params) {
    attention_view a{};
    if (const trib_status status = read_step("multi_stream_attention", *params.step, a.step); status != TRIB_OK) {
        return status;
    }
    const trib_kv_cache& cache = params.cache;
    a.kv_heads = static_cast<int>(cache.kv_heads);
    a.d = static_cast<int>(cache.head_dim);
    a.scale = params.scale;
    a.q = pointer<const uint16_t>(params.q.address);
    a.q_type = params.q.dtype;
    a.q_row = params.q.stride[0];
    a.q_head = params.q.stride[1];
    a.y = pointer<void>(params.y.address);
    a.y_type = params.y.dtype;
    a.y_row = params.y.stride[0];
    a.y_head = params.y.stride[1];
    a.pages = pointer<const uint16_t>(cache.address) +
              static_cast<int64_t>(params.layer) * cache.pages * 2 * a.values_after();
    a.stream_k = pointer<const uint16_t>(params.stream_k.address);
    a.stream_k_row = params.stream_k.stride[0];
    a.stream_k_head = params.stream_k.stride[1];
    a.stream_v = pointer<const uint16_t>(params.stream_v.address);
    a.stream_v_row = params.stream_v.stride[0];
    a.stream_v_head = params.stream_v.stride[1];

    const row_selection selected = select_rows(a.step, params.rows);
    if (selected.count == 0) {
        return TRIB_OK;
    }
    const int q_heads = static_cast<int>(params.q.shape[1]);
    const int group = q_heads / a.kv_heads;
    const attend_function attend_rows =
        cache.dtype == TRIB_DTYPE_BF16 ? attend_for<bf16_elements>(a.d) : attend_for<f16_elements>(a.d);

    // Blocks as large as there is room for, so that keys are read once for many queries, but some four tasks per thread,
    // so that threads end together, and never fewer than two blocks of queries.
    const int queries_of_task = a.d <= 128 ? max_queries : max_queries / 2;
    const int heads_of_task = minimum(group, queries_of_task);
    const int head_parts = (group + heads_of_task - 1) / heads_of_task;
    const int64_t products = [&] {
        int64_t keys = 0;
        for (int i = 0; i < selected.count; ++i) {
            keys += a.step.row_position[selected[i]] + 1;
        }
        return keys * q_heads * a.d;
    }();
    // Handing work to another thread costs about what 2¹⁵ products do.
    const bool spread = products > (1 << 15);
    const int share = spread ? selected.count * a.kv_heads * head_parts / (4 * context.pool.threads()) : selected.count;
    const int most_rows =
        maximum(1, minimum(maximum(share, 2 * block_queries / heads_of_task), queries_of_task / heads_of_task));
    const int blocks = (selected.count + most_rows - 1) / most_rows;
    const int rows_of_task = (selected.count + blocks - 1) / blocks;
    const int tasks_of_block = a.kv_heads * head_parts;

    const auto task = [&](int index) {
        const int block = index / tasks_of_block;
        const int kv_head = index % tasks_of_block / head_parts;
        const int first_head = index % head_parts * heads_of_task;
        const int heads = minimum(heads_of_task, group - first_head);
        const int end = minimum((block + 1) * rows_of_task, selected.count);
        // Runs of neighbouring rows of one sequence.
        for (int i = block * rows_of_task; i < end;) {
            const int first_row = selected[i];
            int rows = 1;
            while (i + rows < end && selected[i + rows] == first_row + rows &&
                   a.step.row_sequence[first_row + rows] == a.step.row_sequence[first_row]) {
                ++rows;
            }
            attend_rows(a, first_row, rows, kv_head, kv_head * group + first_head, heads);
            i += rows;
        }
    };
    const int tasks = blocks * tasks_of_block;
    if (spread) {
        context.pool.run(tasks, task);
    } else {
        for (int index = 0; index < tasks; ++index) {
            task(index);
        }
    }
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
