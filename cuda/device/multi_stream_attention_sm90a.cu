// SPDX-License-Identifier: Apache-2.0
//
// The tiles of multi-stream attention for sm_90a: for every (query row, chunk) of attention.cuh the state
//
//     s = scale q·k,  m = max s,  l = Σ 2^(s − m),  o = Σ 2^(s − m) v     over keys first_visible … border − 1 of the chunk
//
// S = Q Kᵀ and O += P V run on the tensor cores (wgmma), the online softmax between them in fp32 registers.
//
// Work. An item is (block of 64 or 128 query rows of one sequence and KV head) × (KV head) × (chunk). Blocks of threads are
// persistent, one a multiprocessor, and draw items from a counter, longest chunks first; the next item is drawn, and its
// queries and keys are on their way, while the present one is computed. One warp produces: it finds items, looks pages up and
// issues bulk copies into a ring of tiles (128 keys × d of K or of V) that barriers guard. One or two warpgroups consume, 64
// query rows each, all of d: with few query rows a block has one, else two, which share what a copy brings.
//
// Bounds. A tile costs 512 d bytes and, for 128 query rows, 65,536 d FLOP, so with d = 128 one multiprocessor needs
// 32 bytes a clock from L2 while its tensor cores are busy (2,048 clocks a tile). On an H200 (132 multiprocessors, roof
// 4.2 TB/s and 650 TFLOP/s; 32 query heads, d = 128; floor = max(bytes, FLOP); measured 2026-11-25, tiles alone, with
// queries and step cold in L2 as well):
//     64 rows, 8 KV heads:  1k: 128 items, one a block; floor 1.7 µs, measured 12.7: both ends outweigh the tile
//                           4k: floor 6.6 µs, 512 keys on the busiest block, measured 24
//                          16k: floor 26 µs, 2,048 keys on the busiest block (97% balance), measured 50;  64k: 106, 126
//     64 rows, 32 KV heads: 1k: 17 MB, 4 µs, measured 14.5;  16k: 268 MB, 64 µs, measured 84;  64k: 256, 273
//     1 row, 8 KV heads, 16k: 67 MB, 16 µs, measured 27;  32 KV heads, 16k: 64, 68
//
// Why these tiles. 128 keys: S (64 × 128) and O (64 × d) fill 128 registers a thread, P and Q 64 more, which is what 232
// hold; with 64 keys the products would be half as long and the reduction of maxima twice as frequent. Q stays in
// registers for the whole item, so a product reads only its B operand from shared memory, 64 of 128 bytes a clock. Within a
// warpgroup the softmax of a tile runs under O += P V of the tile before; two warpgroups fill each other's gaps.
//
// Numbers. A tile is 128 keys at absolute multiples of 128, and a warpgroup does the same instructions for its 64 rows
// whatever the shape of the launch, so a row's bits depend on its query, its keys, its border and first visible position
// only. A tile in which a row sees nothing leaves its state as it is: the maximum stays, the factor is 1, P is 0. Values
// of keys that no row of the block sees may be anything, NaN too, and 0 · NaN is NaN: they are zeroed in shared memory.
#include <cuda.h>

#include <type_traits>

#include "device/attention.cuh"
#include "device/hopper.cuh"

namespace tributary::device {
namespace {

using namespace hopper;

constexpr int tile_keys = 128;
constexpr int tile_pages = tile_keys / TRIB_PAGE_TOKENS;
constexpr int box_columns = 64;                                  // 128 bytes: a swizzled row
constexpr int box_bytes = TRIB_PAGE_TOKENS * swizzle_row_bytes;  // one page, 64 columns
constexpr int column_bytes = tile_keys * swizzle_row_bytes;      // one tile, 64 columns
constexpr int group_rows = 64;                                   // query rows of a warpgroup
constexpr int greatest_slots = 16;
constexpr int least_slots = 4;
constexpr int page_batch = 32;  // page numbers that the producing warp holds, one a lane
constexpr int consumer_barrier = 1;
constexpr float minus_infinity = -__builtin_inff();

constexpr int column_boxes(int d) { return (d + box_columns - 1) / box_columns; }
constexpr int tile_bytes(int d) { return column_boxes(d) * column_bytes; }
// A staged query row. 16 bytes of padding let 8 rows × 16 bytes of a fragment fall into different banks.
constexpr int query_stride(int d) { return 2 * d + 16; }

// An item as the consumers see it.
struct tile_item {
    attention_item rows;
    int kv_head, chunk;
    int first_tile, tiles;              // tiles of 128 keys; tiles = 0: no more items
    int least_border, greatest_border;  // over the rows of the block
    int least_first, greatest_first;    // first visible positions
};

// Behind the ring and the staged queries.
struct control {
    uint64_t full[greatest_slots];   // a tile has arrived
    uint64_t empty[greatest_slots];  // and was read
    uint64_t item_full;              // the item and its queries are there
    uint64_t item_empty;             // and were read
    tile_item item;
    int scratch[1];  // [item_scratch_words(S)]
};

struct shared_layout {
    unsigned char* ring;     // [slots][tile_bytes(d)]; a tile: [⌈d/64⌉][128 keys][128 bytes], swizzled
    unsigned char* queries;  // [64 · groups][query_stride(d)]
    control* guard;
};

// Where a producer or a consumer stands in the ring.
struct ring_cursor {
    int slot = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance(int slots) {
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
    }
};

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---------------------------------------------------------------- producer

// Page numbers of 32 consecutive pages of a sequence, one a lane; pages outside [first, end) are not looked up.
__device__ __forceinline__ int load_pages(const attention_view& a, int sequence, int page, int first, int end) {
    return page >= first && page < end ? a.step.page_table[static_cast<int64_t>(sequence) * a.step.max_pages + page]
                                       : -1;
}

__device__ constexpr int chunk_length(int chunk) { return chunk_end(chunk) - chunk_begin(chunk); }

// Fills the bounds of a block's rows. All lanes return with the same.
__device__ inline void bound_rows_of(const attention_view& a, tile_item& item, int lane) {
    const attention_item& rows = item.rows;
    const int first = rows.first_query / a.group;
    const int last = (rows.first_query + rows.queries - 1) / a.group;
    int least_border = 0x7fffffff;
    int greatest_border = 0;
    int least_first = 0x7fffffff;
    int greatest_first = 0;
    for (int i = first + lane; i <= last; i += 32) {
        const int row =
            i < rows.main_rows ? rows.main_begin + i : a.step.max_main_rows + rows.stream_begin + i - rows.main_rows;
        const int row_border = border(a.step.row_position[row]);
        const int row_first = max(a.step.row_first_visible[row], 0);
        least_border = min(least_border, row_border);
        greatest_border = max(greatest_border, row_border);
        least_first = min(least_first, row_first);
        greatest_first = max(greatest_first, row_first);
    }
    item.least_border = __reduce_min_sync(0xffffffff, least_border);
    item.greatest_border = __reduce_max_sync(0xffffffff, greatest_border);
    item.least_first = __reduce_min_sync(0xffffffff, least_first);
    item.greatest_first = __reduce_max_sync(0xffffffff, greatest_first);
}

// The producing warp: all items of this block, then the item without tiles.
template <int d, int groups>
__device__ __forceinline__ void produce(const attention_view& a, const CUtensorMap* cache, const shared_layout& shared,
                                        int slots, bool staged, uint32_t* tickets) {
    constexpr int queries = group_rows * groups;
    control& guard = *shared.guard;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (a.step.max_sequences > 1) {
        note_stream_begins(a, guard.scratch, lane, 32);
        __syncwarp();
    }
    // What there is to do: row blocks × KV heads × chunks below the greatest border.
    int row_blocks = 0;
    find_item_of_warp(a, 0x7fffffff, queries, guard.scratch, &row_blocks);
    const int main_rows = a.main_rows();
    const int all_rows = main_rows + a.stream_rows();
    int greatest_position = 0;
    for (int i = lane; i < all_rows; i += 32) {
        greatest_position =
            max(greatest_position, a.step.row_position[i < main_rows ? i : a.step.max_main_rows + i - main_rows]);
    }
    greatest_position = __reduce_max_sync(0xffffffff, greatest_position);
    const int chunks = min(chunk_count(border(greatest_position)), a.chunks);
    const int items = row_blocks * a.kv_heads * chunks;

    // The first item of a block is its index, the others are drawn. Each block draws until it draws in vain, so there
    // are `items` draws in all, and who makes the last of them puts the counter back.
    const int blocks = static_cast<int>(gridDim.x);
    const bool draws = items > blocks;
    int id = static_cast<int>(blockIdx.x);
    ring_cursor cursor;
    uint32_t item_parity = 0;
    while (id < items) {
        tile_item item;
        item.kv_head = id / row_blocks % a.kv_heads;
        item.chunk = chunks - 1 - id / (row_blocks * a.kv_heads);
        item.rows = find_item_of_warp(a, id % row_blocks, queries, guard.scratch);
        bound_rows_of(a, item, lane);
        const int low = max(chunk_begin(item.chunk), item.least_first);
        const int high = min(chunk_end(item.chunk), item.greatest_border);
        if (low < high) {
            item.first_tile = low / tile_keys;
            item.tiles = (high - 1) / tile_keys + 1 - item.first_tile;
            const int first_page = low / TRIB_PAGE_TOKENS;
            const int end_page = min((high - 1) / TRIB_PAGE_TOKENS + 1, a.step.max_pages);
            int batch = item.first_tile * tile_pages + lane;
            int pages = load_pages(a, item.rows.sequence, batch, first_page, end_page);
            batch += page_batch;
            int later_pages = load_pages(a, item.rows.sequence, batch, first_page, end_page);

            barrier_wait(&guard.item_empty, item_parity ^ 1);
            if (lane == 0) {
                guard.item = item;
                barrier_arrive_expect(&guard.item_full, staged ? item.rows.queries * d * 2 : 0);
            }
            __syncwarp();
            if (staged) {
                for (int i = lane; i < item.rows.queries; i += 32) {
                    const int query = item.rows.first_query + i;
                    const int r = query / a.group;
                    const int row = r < item.rows.main_rows
                                        ? item.rows.main_begin + r
                                        : a.step.max_main_rows + item.rows.stream_begin + r - item.rows.main_rows;
                    const int head = item.kv_head * a.group + query - r * a.group;
                    bulk_copy(shared.queries + i * query_stride(d), a.q + row * a.q_row + head * a.q_head, d * 2,
                              &guard.item_full);
                }
            }
            item_parity ^= 1;

            // Copies that may be under way. Where few rows make bytes the bound, a block's share of the memory goes by
            // what it has under way; half for all but the longest chunks lets those, which end last, run ahead. Tiles
            // are read in the order of copies, so who waits for the copy `window` before has its slot free, too.
            const bool longest = 2 * chunk_length(item.chunk) > chunk_length(chunks - 1);
            const int window = groups == 1 && !longest ? slots / 2 : slots;

            // K of tile 0; then K of the next tile before V of each. `key_pages`: of the tile whose K was copied last.
            int value_pages[tile_pages] = {-1, -1};
            int key_pages[tile_pages] = {-1, -1};
            const auto copy = [&](const int(&tile)[tile_pages], int value) {
                const int back = cursor.slot - window;
                barrier_wait(&guard.empty[back < 0 ? back + slots : back],
                             back < 0 ? cursor.parity ^ 1 : cursor.parity);
                if (lane == 0) {
                    unsigned char* slot = shared.ring + cursor.slot * tile_bytes(d);
                    const int present = (tile[0] >= 0 ? 1 : 0) + (tile[1] >= 0 ? 1 : 0);
                    barrier_arrive_expect(&guard.full[cursor.slot], present * column_boxes(d) * box_bytes);
                    for (int half = 0; half < tile_pages; ++half) {
                        if (tile[half] >= 0) {
                            const int row = ((tile[half] * 2 + value) * a.kv_heads + item.kv_head) * TRIB_PAGE_TOKENS;
                            for (int c = 0; c < column_boxes(d); ++c) {
                                tensor_copy(slot + c * column_bytes + half * box_bytes, cache, c * box_columns, row,
                                            &guard.full[cursor.slot]);
                            }
                        }
                    }
                }
                __syncwarp();
                cursor.advance(slots);
            };
            for (int tile = 0; tile <= item.tiles; ++tile) {
                value_pages[0] = key_pages[0];
                value_pages[1] = key_pages[1];
                if (tile < item.tiles) {
                    const int at = tile * tile_pages % page_batch;
                    if (at == 0 && tile > 0) {
                        pages = later_pages;
                        batch += page_batch;
                        later_pages = load_pages(a, item.rows.sequence, batch, first_page, end_page);
                    }
                    key_pages[0] = __shfl_sync(0xffffffff, pages, at);
                    key_pages[1] = __shfl_sync(0xffffffff, pages, at + 1);
                    copy(key_pages, 0);
                }
                if (tile > 0) {
                    copy(value_pages, 1);
                }
            }
        }
        // Drawn as late as possible, when the copies of this item are under way: who holds a long item must not keep a
        // further one from those that are idle.
        int next = items;
        if (draws) {
            if (lane == 0) {
                next = blocks + static_cast<int>(atomicAdd(tickets, 1u));
            }
            next = __shfl_sync(0xffffffff, next, 0);
        }
        id = next;
    }
    if (draws && lane == 0 && id == blocks + items - 1) {
        atomicExch(tickets, 0u);
    }
    barrier_wait(&guard.item_empty, item_parity ^ 1);
    if (lane == 0) {
        guard.item.tiles = 0;
        barrier_arrive(&guard.item_full);
    }
}

// ---------------------------------------------------------------- consumers

// A thread of a consuming warpgroup holds of S and O the rows i = 16 (warp mod 4) + lane / 4 (half 0) and i + 8 (half 1).
struct query_half {
    attention_query query;
    bool valid;
};

// S = Q Kᵀ, issued.
template <class T, int d>
__device__ __forceinline__ void multiply_keys(float (&s)[tile_keys / 2], const uint32_t (&q)[d / 16][4],
                                              const unsigned char* keys) {
    const uint64_t descriptor = descriptor_k_major(shared_address(keys));
#pragma unroll
    for (int k = 0; k < d / 16; ++k) {
        product_registers<T, tile_keys>(s, q[k], advance_descriptor(descriptor, k / 4 * column_bytes + k % 4 * 32),
                                        k > 0);
    }
}

// O += P V, issued.
template <class T, int d>
__device__ __forceinline__ void multiply_values(float (&o)[d / 2], const uint32_t (&p)[tile_keys / 16][4],
                                                const unsigned char* values) {
    const uint64_t descriptor = descriptor_n_major(shared_address(values), column_bytes);
#pragma unroll
    for (int k = 0; k < tile_keys / 16; ++k) {
        product_registers<T, d, true>(o, p[k], advance_descriptor(descriptor, k * 16 * swizzle_row_bytes), 1);
    }
}

// Keys [0, low) and [high, 128) of a tile of V become zero, by all consuming threads.
template <int d, int groups>
__device__ __forceinline__ void zero_values(unsigned char* values, int low, int high) {
    constexpr int threads = groups * warpgroup_threads;
    constexpr int pieces = tile_keys * swizzle_row_bytes / 16;  // of one box of columns
    for (int i = static_cast<int>(threadIdx.x); i < pieces; i += threads) {
        const int key = i / (swizzle_row_bytes / 16);
        if (key < low || key >= high) {
            for (int c = 0; c < column_boxes(d); ++c) {
                *reinterpret_cast<uint4*>(values + c * column_bytes + i * 16) = uint4{};
            }
        }
    }
    async_proxy_fence();
    named_barrier_sync(consumer_barrier, threads);
}

// Scores of keys that a row does not see become −∞. `key`: position of this thread's first key in the tile.
__device__ __forceinline__ void mask_scores(float (&s)[tile_keys / 2], const query_half (&rows)[2], int key) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int low = rows[half].query.first_visible - key;
        const int high = rows[half].query.border - key;
#pragma unroll
        for (int j = 0; j < tile_keys / 8; ++j) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float& score = s[4 * j + 2 * half + e];
                score = 8 * j + e >= low && 8 * j + e < high ? score : minus_infinity;
            }
        }
    }
}

// s becomes 2^(scale s − m) with the new maximum m of each row; l and m are updated, and `factor` = 2^(old m − new m).
__device__ __forceinline__ void soften(float (&s)[tile_keys / 2], float (&m)[2], float (&l)[2], float (&factor)[2],
                                       float scale) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float top = fmaxf(s[2 * half], s[2 * half + 1]);
#pragma unroll
        for (int j = 1; j < tile_keys / 8; ++j) {
            top = fmaxf(top, fmaxf(s[4 * j + 2 * half], s[4 * j + 2 * half + 1]));
        }
        top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
        // Rounded as a product, never fused: an unchanged maximum must give exactly the factor 1.
        const float highest = fmaxf(m[half], __fmul_rn(top, scale));
        const float base = highest == minus_infinity ? 0.0f : highest;
        factor[half] = power_of_two(m[half] - base);
        m[half] = highest;
        float sums[2] = {0.0f, 0.0f};
#pragma unroll
        for (int j = 0; j < tile_keys / 8; ++j) {
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float& score = s[4 * j + 2 * half + e];
                score = power_of_two(__fmaf_rn(score, scale, -base));
                sums[e] += score;
            }
        }
        l[half] = __fmaf_rn(l[half], factor[half], sums[0] + sums[1]);
    }
}

// P in the operand's type: of the 16 keys of a product, accumulators 8 k … 8 k + 7 are its words in order.
template <class T>
__device__ __forceinline__ void pack_weights(uint32_t (&p)[tile_keys / 16][4], const float (&s)[tile_keys / 2]) {
#pragma unroll
    for (int k = 0; k < tile_keys / 16; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            p[k][i] = pack2<T>(s[8 * k + 2 * i], s[8 * k + 2 * i + 1]);
        }
    }
}

// Keeps the words of P, which products under way read, from being replaced before a wait.
__device__ __forceinline__ void keep_weights(uint32_t (&p)[tile_keys / 16][4]) {
#pragma unroll
    for (int k = 0; k < tile_keys / 16; ++k) {
        keep_registers(p[k]);
    }
}

template <class T, int d, int groups>
__device__ __forceinline__ void consume(const attention_view& a, const shared_layout& shared, int slots, bool staged) {
    control& guard = *shared.guard;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = 2 * (lane % 4);
    const int first_row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
    ring_cursor cursor;
    uint32_t item_parity = 0;
    const auto slot_of = [&](const ring_cursor& at) { return shared.ring + at.slot * tile_bytes(d); };
    const auto arrived = [&](const ring_cursor& at) { barrier_wait(&guard.full[at.slot], at.parity); };
    const auto release = [&](const ring_cursor& at) {
        if (lane == 0) {
            barrier_arrive(&guard.empty[at.slot]);
        }
    };
    for (;;) {
        barrier_wait(&guard.item_full, item_parity);
        item_parity ^= 1;
        const tile_item item = guard.item;
        if (item.tiles == 0) {
            break;
        }
        query_half rows[2];
        uint32_t q[d / 16][4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int i = first_row + 8 * half;
            query_half& row = rows[half];
            row.valid = i < item.rows.queries;
            row.query = {.row = 0, .state_row = 0, .head = 0, .border = 0x7fffffff, .first_visible = 0};
            if (row.valid) {
                row.query = find_query(a, item.rows, i);
            }
            const uint16_t* from =
                staged ? reinterpret_cast<const uint16_t*>(shared.queries + i * query_stride(d))
                       : a.q + row.query.row * a.q_row + (item.kv_head * a.group + row.query.head) * a.q_head;
#pragma unroll
            for (int k = 0; k < d / 16; ++k) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const uint16_t* pair = from + 16 * k + 8 * e + column;
                    uint32_t x = 0;
                    if (row.valid) {
                        x = staged ? *reinterpret_cast<const uint32_t*>(pair)
                                   : pair[0] | static_cast<uint32_t>(pair[1]) << 16;
                    }
                    q[k][2 * e + half] = x;
                }
            }
        }
        __syncwarp();
        if (lane == 0) {
            barrier_arrive(&guard.item_empty);
        }

        float s[tile_keys / 2];
        float o[d / 2];
        uint32_t p[tile_keys / 16][4];
        float m[2] = {minus_infinity, minus_infinity};
        float l[2] = {0.0f, 0.0f};
        float factor[2];
#pragma unroll
        for (int i = 0; i < d / 2; ++i) {
            o[i] = 0.0f;
        }
        const auto weigh = [&](int tile) {
            const int begin = (item.first_tile + tile) * tile_keys;
            if (begin < item.greatest_first || begin + tile_keys > item.least_border) {
                mask_scores(s, rows, begin + column);
            }
            soften(s, m, l, factor, a.scale);
        };
        const auto clear = [&](int tile, const ring_cursor& at) {
            const int begin = (item.first_tile + tile) * tile_keys;
            if (begin < item.least_first || begin + tile_keys > item.greatest_border) {
                zero_values<d, groups>(slot_of(at), item.least_first - begin, item.greatest_border - begin);
            }
        };

        arrived(cursor);
        product_fence();
        multiply_keys<T, d>(s, q, slot_of(cursor));
        product_commit();
        product_wait<0>();
        keep_registers(s);
        release(cursor);
        cursor.advance(slots);
        weigh(0);
        pack_weights<T>(p, s);

        for (int tile = 1; tile < item.tiles; ++tile) {
            arrived(cursor);
            product_fence();
            multiply_keys<T, d>(s, q, slot_of(cursor));
            product_commit();
            const ring_cursor keys = cursor;
            cursor.advance(slots);
            arrived(cursor);
            clear(tile - 1, cursor);
            product_fence();
            multiply_values<T, d>(o, p, slot_of(cursor));
            product_commit();
            product_wait<1>();
            keep_registers(s);
            release(keys);
            weigh(tile);
            product_wait<0>();
            keep_registers(o);
            keep_weights(p);
            release(cursor);
            cursor.advance(slots);
            // A factor of 1 changes nothing, so whether a warp skips it is no matter of bits.
            if (__any_sync(0xffffffff, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
                for (int i = 0; i < d / 2; ++i) {
                    o[i] *= factor[i / 2 % 2];
                }
            }
            pack_weights<T>(p, s);
        }

        arrived(cursor);
        clear(item.tiles - 1, cursor);
        product_fence();
        multiply_values<T, d>(o, p, slot_of(cursor));
        product_commit();
        product_wait<0>();
        keep_registers(o);
        release(cursor);
        cursor.advance(slots);

#pragma unroll
        for (int half = 0; half < 2; ++half) {
            l[half] += __shfl_xor_sync(0xffffffff, l[half], 1);
            l[half] += __shfl_xor_sync(0xffffffff, l[half], 2);
            const attention_query& query = rows[half].query;
            if (rows[half].valid &&
                sees_chunk(chunk_begin(item.chunk), chunk_end(item.chunk), query.border, query.first_visible)) {
                const int64_t state = a.state(query.state_row, item.kv_head * a.group + query.head, item.chunk);
                if (lane % 4 == 0) {
                    a.state_ml[state] = {m[half], l[half]};
                }
                float* out = a.state_o + state * d + column;
#pragma unroll
                for (int j = 0; j < d / 8; ++j) {
                    *reinterpret_cast<float2*>(out + 8 * j) = {o[4 * j + 2 * half], o[4 * j + 2 * half + 1]};
                }
            }
        }
    }
}

// ---------------------------------------------------------------- kernel

template <class T, int d, int groups>
__global__ void __launch_bounds__((groups + 1) * warpgroup_threads, 1)
    attention_tiles(const __grid_constant__ attention_view a, const __grid_constant__ CUtensorMap cache, int slots,
                    bool staged, uint32_t* tickets) {
    extern __shared__ __align__(swizzle_atom_bytes) unsigned char memory[];
    shared_layout shared;
    shared.ring = memory;
    shared.queries = memory + slots * tile_bytes(d);
    shared.guard = reinterpret_cast<control*>(shared.queries + groups * group_rows * query_stride(d));
    control& guard = *shared.guard;
    constexpr int consumer_warps = groups * warpgroup_threads / 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (warp == consumer_warps && elect_one()) {
        prefetch_tensor_map(&cache);
        for (int i = 0; i < slots; ++i) {
            barrier_init(&guard.full[i], 1);
            barrier_init(&guard.empty[i], consumer_warps);
        }
        barrier_init(&guard.item_full, 1);
        barrier_init(&guard.item_empty, consumer_warps);
        barrier_init_fence();
    }
    __syncthreads();
    wait_for_predecessor();
    allow_successor();
    if (warp >= consumer_warps) {
        if constexpr (groups == 2) {
            release_registers<40>();
        }
        if (warp == consumer_warps) {
            produce<d, groups>(a, &cache, shared, slots, staged, tickets);
        }
    } else {
        if constexpr (groups == 2) {
            claim_registers<232>();
        }
        consume<T, d, groups>(a, shared, slots, staged);
    }
}

// ---------------------------------------------------------------- launch

// cuTensorMapEncodeTiled, found at run time: the library does not link to the driver.
decltype(&cuTensorMapEncodeTiled) find_encoder() {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr unsigned since = 12000;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, since, cudaEnableDefault, &result);
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess
               ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)
               : nullptr;
}

// This layer's pages as rows of d elements; a box is one page of one head, 64 columns of it. Columns from d on are zero.
template <class T>
trib_status encode_cache(const attention_view& a, CUtensorMap& map) {
    static const decltype(&cuTensorMapEncodeTiled) encode = find_encoder();
    if (encode == nullptr) {
        return fail(TRIB_UNSUPPORTED,
                    "multi_stream_attention: the driver lacks cuTensorMapEncodeTiled, expected CUDA 12 "
                    "or later");
    }
    const auto d = static_cast<cuuint64_t>(a.head_dim);
    const cuuint64_t sizes[2] = {
        d, static_cast<cuuint64_t>(a.pages) * 2 * static_cast<cuuint64_t>(a.kv_heads) * TRIB_PAGE_TOKENS};
    const cuuint64_t strides[1] = {d * sizeof(T)};  // bytes
    const cuuint32_t box[2] = {box_columns, TRIB_PAGE_TOKENS};
    const cuuint32_t steps[2] = {1, 1};
    const CUresult result =
        encode(&map, std::is_same_v<T, bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2,
               const_cast<uint16_t*>(a.cache), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result != CUDA_SUCCESS) {
        return fail(TRIB_DEVICE_ERROR, "multi_stream_attention: cuTensorMapEncodeTiled: %d", static_cast<int>(result));
    }
    return TRIB_OK;
}

template <class T, int d, int groups>
trib_status launch_shape_of(context& context, const attention_view& a) {
    CUtensorMap map;
    if (const trib_status status = encode_cache<T>(a, map); status != TRIB_OK) {
        return status;
    }
    const int fixed = groups * group_rows * query_stride(d) + static_cast<int>(sizeof(control)) +
                      4 * item_scratch_words(a.step.max_sequences);
    const int slots = min((context.shared_memory - fixed) / tile_bytes(d), greatest_slots);
    if (slots < least_slots) {
        return fail(TRIB_UNSUPPORTED, "multi_stream_attention: %d sequences leave no shared memory for tiles",
                    a.step.max_sequences);
    }
    // Bulk copies of query rows need addresses that are multiples of 16 bytes.
    const bool staged = reinterpret_cast<uintptr_t>(a.q) % 16 == 0 && a.q_row % 8 == 0 && a.q_head % 8 == 0;
    const int64_t items =
        attention_row_blocks(a.bound_main + a.bound_stream, a.step.max_sequences, a.group, groups * group_rows) *
        a.kv_heads * a.chunks;
    const launch_shape shape = {
        .grid = dim3(static_cast<unsigned>(min(items, static_cast<int64_t>(context.multiprocessors)))),
        .block = dim3((groups + 1) * warpgroup_threads),
        .shared_memory = static_cast<size_t>(slots) * tile_bytes(d) + static_cast<size_t>(fixed),
    };
    return launch(context, "multi_stream_attention", attention_tiles<T, d, groups>, shape, a, map, slots, staged,
                  context.counters);
}

// One warpgroup where a sequence has 64 query rows of a KV head or fewer, by the bounds; else two.
template <class T, int d>
trib_status launch_head_size(context& context, const attention_view& a) {
    const int64_t rows = a.bound_main + a.bound_stream;
    const int64_t sequences = min(rows, static_cast<int64_t>(a.step.max_sequences));
    return rows * a.group <= sequences * group_rows ? launch_shape_of<T, d, 1>(context, a)
                                                    : launch_shape_of<T, d, 2>(context, a);
}

template <class T>
trib_status launch_type(context& context, const attention_view& a) {
    switch (a.head_dim) {
        case 64: return launch_head_size<T, 64>(context, a);
        case 80: return launch_head_size<T, 80>(context, a);
        case 96: return launch_head_size<T, 96>(context, a);
        case 128: return launch_head_size<T, 128>(context, a);
        default:
            return fail(TRIB_INTERNAL_ERROR, "multi_stream_attention: no tiles of sm_90a for head size %d", a.head_dim);
    }
}

}  // namespace

trib_status launch_attention_tiles_sm90a(context& context, const attention_view& a, uint32_t dtype) {
    return dtype == TRIB_DTYPE_BF16 ? launch_type<bf16>(context, a) : launch_type<f16>(context, a);
}

}  // namespace tributary::device
