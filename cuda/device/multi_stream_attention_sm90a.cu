// SPDX-License-Identifier: Apache-2.0
//
// Multi-stream attention for sm_90a in one kernel, y[row, head] = softmax(scale · q Kᵀ) V over the keys that the row sees:
//
//     of strand c (tiles c, c + 8, … of 128 keys below the row's border):  m_c = max s,  l_c = Σ 2^(s − m_c),
//                                                                       o_c = Σ 2^(s − m_c) v,  s = scale · log₂e · q·k
//     of the single keys (single_keys.cuh) likewise, in fp32, in order of position, streams last
//     y = Σ 2^(m − M) o / Σ 2^(m − M) l,  pairs of strands (c, c + 4) first, pairs ascending, single keys last
//
// S = Q Kᵀ and O += P V run on the tensor cores (wgmma), the online softmax between them in fp32 registers.
//
// Work. A row block is 64 or 128 query rows of one sequence and KV head; its strands are shared out over `blocks` blocks of
// threads. In each, one or two warpgroups consume tiles that a warp of a further warpgroup copies into rings (bulk copies on
// barriers); the warps of that warpgroup meanwhile compute the single keys of the block's part of the rows, and those that
// consume help when their tiles are done. Then states are exchanged, in a cluster through its shared memory, else through
// global memory with a counter for each row block and KV head, and the consuming warps merge and write the block's part of
// the rows. plan_of() says which shape a launch has.
//
// Waiting. Blocks that exchange through global memory wait for one another. They are neighbours in the order in which blocks
// are placed, so those that run wait only for such as are placed before any later row block's.
//
// Bounds. Strands are equally long to within a tile whatever the context is, and a row's states are eight, so neither
// balance nor merge grows with it. A tile is 512 d bytes and 65,536 d FLOP for 128 rows: with d = 128, 32 bytes a clock of
// a multiprocessor while its tensor cores are busy, near what L2 delivers to all of them at once (5.3 TB/s, 21 bytes a clock
// each). Shared memory of a cluster delivers 12 bytes a clock to a block, 64 KiB of states in 5,300 clocks, so clusters are
// for few rows only. Measured on an H200 behind rope_append (2026-11-25; 32 query heads, d = 128, bf16; the floor is the
// greater of bytes at 4.66 TB/s and FLOP at 650 TFLOP/s):
//     64 rows, 8 KV heads:   1k: 12.3 µs, floor 1.7;  4k: 18.8, 6.6;  16k: 41.1, 26.4;  64k: 120, 106
//     64 rows, 32 KV heads:  1k: 16.6, 3.9;           4k: 32.0, 15;   16k: 77, 59;      64k: 269, 236
//     160 rows, 8 KV heads:  4k: 43.7, 16.5;  16k: 104, 66
//     1 row, 8 KV heads:     1k: 7.8, 0.9;    4k: 11.0, 3.7;  16k: 25.9, 14.8;  64k: 80, 59
//     1 row, 32 KV heads:    1k: 11.9, 3.7;   4k: 26.5, 14.8; 16k: 74, 59;      64k: 266, 236
// At 64 rows and 1k a block takes 20,000 clocks behind its predecessor: 2,000 until its rows are known, 3,000 until the first
// K is there, 5,500 for the tile, 2,500 until the state is published, 3,000 for the slowest of four blocks, 4,000 to merge.
// One row of a long context waits for the products of a strand, one behind the other; two blocks for each let more of the
// memory be asked at a time.
//
// Numbers. A warpgroup does the same operations for its 64 rows whatever the shape of the launch (half the columns of V make
// O += P V narrower, which changes no element of O), the order of the merge is fixed, and an empty state is an exact identity,
// so a row's bits depend on its query, its keys, its border and first visible position only. A tile in which a row sees
// nothing leaves its state as it is: the maximum stays, the factor is 1, P is 0. Values of keys that no row of the block sees
// may be anything, NaN too, and 0 · NaN is NaN: they are zeroed in shared memory.
#include <cuda.h>

#include <type_traits>

#include "device/hopper.cuh"
#include "device/product.cuh"
#include "device/single_keys.cuh"

namespace tributary::device {
namespace {

using namespace hopper;

constexpr int strands = attention_strands;
constexpr int tile_keys = strand_tile;
constexpr int tile_pages = tile_keys / TRIB_PAGE_TOKENS;
constexpr int box_columns = 64;                                  // 128 bytes: a swizzled row
constexpr int box_bytes = TRIB_PAGE_TOKENS * swizzle_row_bytes;  // one page, 64 columns
constexpr int column_bytes = tile_keys * swizzle_row_bytes;      // one tile, 64 columns
constexpr int group_rows = 64;                                   // query rows of a warpgroup
constexpr int greatest_slots = 8;
constexpr int least_slots = 2;
constexpr int slots_of_parts = 4;  // where blocks share a strand: at 64k three take 10 % longer, and so do six
constexpr int page_batch = 16;     // tiles whose page numbers the producing warp holds, one page a lane
constexpr int single_warps = warpgroup_threads / 32;
constexpr int few_rows = 32;        // query rows of a KV head that are few
constexpr int batch_rows = 4;       // whose single keys a warp looks up together, at most
constexpr int many_rows = 16;       // of a block, from which on it does so
constexpr int product_queries = 4;  // of one product of single keys, which has room for eight
constexpr int values_at_once = 8;  // of single keys; loads beyond the last find some key of the row, with a weight of 0
constexpr int early_context = 4096;  // tokens up to which keys are asked for before the predecessor is done
constexpr int early_tiles = 2;       // and of how many tiles
constexpr int cluster_tiles = 16;    // up to how many clusters of eight win: few clusters crowd some of the GPU's parts
constexpr int short_tiles = 64;      // up to which many rows go the way of short contexts
constexpr int cluster_pairs = 12;    // row blocks × KV heads up to which clusters of eight find room
constexpr int prefetch_piece = 16384;  // bytes
constexpr uint32_t warp_done = 256;    // of a counter (strand_view)
constexpr int all_consumers_barrier = 1;
constexpr int way_barrier = 2;  // and 3
constexpr int whole_block_barrier = 4;
constexpr float minus_infinity = -__builtin_inff();

constexpr int column_boxes(int d) { return (d + box_columns - 1) / box_columns; }
constexpr int tile_bytes(int d) { return column_boxes(d) * column_bytes; }
// Parts of whole boxes into which few rows' columns of V can be cut.
constexpr int column_parts(int d) { return d == 2 * box_columns ? 2 : 1; }

// The state of a row's single keys: o[d], m, l, in fp32.
constexpr int state_bytes(int d) { return 4 * d + 16; }

// The states of 64 rows as a warpgroup's fragments of O hold them: o as [half][d / 16][thread][4], then (m, l) of each row.
// Four elements of a thread are columns 16 j + 2 t + {0, 1, 8, 9} of row 16 w + g + 8 half, with t = thread mod 4,
// g = thread mod 32 / 4 and w = thread / 32.
constexpr int group_state_bytes(int d) { return group_rows * (4 * d + 8); }
constexpr int piece_offset(int d, int half, int j, int thread) {
    return ((half * (d / 16) + j) * warpgroup_threads + thread) * 16;
}
constexpr int ml_offset(int d, int row) { return group_rows * 4 * d + row * 8; }

// How the threads of a block share the work: `rows` × `ways` consuming warpgroups, of which those of one way have 64 query
// rows each and the same keys, and those of different ways the same rows and different strands.
template <int d, int rows_, int ways_, bool clusters>
struct block_shape {
    static constexpr int rows = rows_;
    static constexpr int ways = ways_;
    static constexpr int consumers = rows * ways;  // warpgroups
    static constexpr int threads = (consumers + 1) * warpgroup_threads;
    static constexpr int queries = group_rows * rows;
    static constexpr int query_box_bytes = queries * swizzle_row_bytes;
    static constexpr int query_bytes = column_boxes(d) * query_box_bytes;
    // Blocks that share a strand: each has all of K and its part of the columns of V.
    static constexpr int parts = consumers == 1 && !clusters ? column_parts(d) : 1;
    static constexpr int columns = d / parts;
};

// What the kernel needs beyond the views.
struct strand_view {
    int slots;               // tiles of a way's ring
    int blocks;              // of one row block and KV head
    unsigned char* states;   // [row block][KV head][state][queries / 64][group_state_bytes(d)]
    unsigned char* singles;  // [row block][KV head][queries][state_bytes(d)]
    uint32_t* counters;  // [row block][KV head]: blocks that have left their states, and above them warps that are done
    bool q_eights;       // rows of q begin at multiples of 16 bytes
    const unsigned char* next_read;
    uint64_t next_read_bytes;
};

// The tiles of a strand that any row of the block sees.
struct strand_tiles {
    int first;  // tile of 128 keys
    int count;  // first, first + 8, …
};

// What all threads of a block know alike.
struct block_work {
    attention_item item;
    int kv_head, rank;
    int index;                          // of the row block and KV head
    int least_border, greatest_border;  // over the rows of the block
    int least_first, greatest_first;    // first visible positions

    __device__ __forceinline__ strand_tiles tiles(int strand) const {
        if (least_first >= greatest_border || strand >= strands) {
            return {0, 0};
        }
        const int low = least_first / tile_keys;
        const int high = (greatest_border + tile_keys - 1) / tile_keys;
        const int first = low + ((strand - low) & (strands - 1));
        return {first, first < high ? (high - 1 - first) / strands + 1 : 0};
    }
};

// Of this block: its part of the columns, and its first way's strand.
template <class shape>
__device__ __forceinline__ int part_of(const block_work& work) {
    return shape::parts == 1 ? 0 : work.rank / strands;
}
template <class shape>
__device__ __forceinline__ int first_strand_of(const block_work& work) {
    return shape::parts == 1 ? work.rank : work.rank % strands;
}

// Single keys of a row as they are fetched: what lies beyond them, or is not visible, is the row's own key instead, with a
// weight of 0. So no load hangs on a condition, and all are under way together.
struct found_keys {
    const uint16_t* k[32];  // where their K begins, [d]
    const uint16_t* v[32];
    unsigned present;  // a bit for each that is one
    int count;         // positions and streams
};

// What a warp needs for single keys.
struct singles_scratch {
    found_keys keys[batch_rows];                      // of the rows that it has drawn
    alignas(16) float weights[32 * product_queries];  // [key][query]
    int ancestors[32];
};

// Behind the rings and the queries.
struct control {
    uint64_t full[2][greatest_slots];   // of each way: a tile has arrived
    uint64_t empty[2][greatest_slots];  // and was read
    uint64_t queries_there;
    block_work work;
    int extents[4][4];  // of each warp's rows: least and greatest border, least and greatest first visible position
    int row[2 * group_rows];       // buffer row of each query row
    int position[2 * group_rows];  // and its position
    int first[2 * group_rows];     // and the first that it sees
    int node[2 * group_rows];
    uint8_t stream[2 * group_rows];         // and its count of streams
    uint8_t head[2 * group_rows];           // query head within the KV head's group
    int length, nodes, mask_begin;          // of the sequence
    int next_row;                           // of the block's part, whose single keys nobody has begun with
    singles_scratch singles[single_warps];  // of the warps that do not consume; those that do have theirs in the rings
};

// Where a producer or a consumer stands in a ring.
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

// The thread's index, read anew: no register keeps it from where it was needed before.
__device__ __forceinline__ int read_thread() {
    int thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
}

// 2^(m − base) of a state's maximum, 0 of an empty one; `base` is finite.
__device__ __forceinline__ float finite_base(float m) { return m == minus_infinity ? 0.0f : m; }

// ---------------------------------------------------------------- producer

// The page number of this lane, of a strand's tiles `from`, `from` + 8, …, two lanes a tile; pages outside [first, end) are
// not looked up.
__device__ __forceinline__ int load_pages(const attention_view& a, int sequence, int from, int first, int end) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int page = (from + lane / tile_pages * strands) * tile_pages + lane % tile_pages;
    return page >= first && page < end ? a.step.page_table[static_cast<int64_t>(sequence) * a.step.max_pages + page]
                                       : -1;
}

// Asks for the next operation's weights, this block's part, by the lanes of one warp.
__device__ __forceinline__ void prefetch_next(const strand_view& s) {
    const auto pieces = static_cast<unsigned>((s.next_read_bytes + prefetch_piece - 1) / prefetch_piece);
    const unsigned blocks = gridDim.x * gridDim.y;
#pragma unroll 1
    for (unsigned i = threadIdx.x % 32 * blocks + blockIdx.y * gridDim.x + blockIdx.x; i < pieces; i += 32 * blocks) {
        const uint64_t at = uint64_t{i} * prefetch_piece;
        const uint64_t left = min(s.next_read_bytes - at, uint64_t{prefetch_piece});
        prefetch_bulk(s.next_read + at, static_cast<uint32_t>(left) & ~15U);
    }
}

// Before the predecessor is done, one sequence, short contexts: asks for the first tiles of this block's strands. The page
// table and the length are constants of a pass; what the pages hold may still be written, but not what L2 knows of it.
template <int ways>
__device__ __forceinline__ void prefetch_keys(const attention_view& a, int kv_head, int rank, int blocks) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int length = a.step.sequence_length[0];
    if (length > early_context) {
        return;
    }
    constexpr int pieces = 2 * early_tiles * tile_pages;  // of a strand: K and V of each page
    const int way = lane / pieces;
    if (way >= ways) {
        return;
    }
    const int of_way = lane % pieces;
    const int page = (rank + blocks * way + of_way / (2 * tile_pages) * strands) * tile_pages + of_way / 2 % tile_pages;
    if (page >= min((length + TRIB_PAGE_TOKENS - 1) / TRIB_PAGE_TOKENS, a.step.max_pages)) {
        return;
    }
    const int number = a.step.page_table[page];
    if (number >= 0 && number < a.pages) {
        prefetch_bulk(a.keys(number, kv_head) + of_way % 2 * a.value_offset(),
                      static_cast<uint32_t>(TRIB_PAGE_TOKENS * a.head_dim * 2));
    }
}

// The producing warp: all tiles of this block. K of tile 0 of each way; then K of the next tile before V of each.
template <int d, class shape>
__device__ __forceinline__ void produce(const attention_view& a, const strand_view& s, const CUtensorMap* cache,
                                        const block_work& work, unsigned char* memory, control& guard) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int first_page = work.least_first / TRIB_PAGE_TOKENS;
    const int end_page = min((work.greatest_border + TRIB_PAGE_TOKENS - 1) / TRIB_PAGE_TOKENS, a.step.max_pages);
    ring_cursor cursor[shape::ways];
#pragma unroll 1
    for (int strand = first_strand_of<shape>(work); strand < strands; strand += s.blocks / shape::parts * shape::ways) {
        strand_tiles tiles[shape::ways];
        int pages[shape::ways];
        int value_pages[shape::ways][tile_pages];
        int key_pages[shape::ways][tile_pages];
        int most = 0;
#pragma unroll
        for (int way = 0; way < shape::ways; ++way) {
            tiles[way] = work.tiles(strand + s.blocks * way);
            most = max(most, tiles[way].count);
            pages[way] = load_pages(a, work.item.sequence, tiles[way].first, first_page, end_page);
            key_pages[way][0] = key_pages[way][1] = -1;
        }
        for (int tile = 0; tile <= most; ++tile) {
#pragma unroll
            for (int way = 0; way < shape::ways; ++way) {
                const auto copy = [&](const int(&page)[tile_pages], int value) {
                    ring_cursor& at = cursor[way];
                    barrier_wait(&guard.empty[way][at.slot], at.parity ^ 1);
                    if (lane == 0) {
                        uint64_t* const full = &guard.full[way][at.slot];
                        unsigned char* slot = memory + (way * s.slots + at.slot) * tile_bytes(d);
                        const int present = (page[0] >= 0 ? 1 : 0) + (page[1] >= 0 ? 1 : 0);
                        const int first_box = value * part_of<shape>(work);
                        const int boxes = value == 0 ? column_boxes(d) : column_boxes(shape::columns);
                        barrier_arrive_expect(full, present * boxes * box_bytes);
                        for (int half = 0; half < tile_pages; ++half) {
                            if (page[half] >= 0) {
                                const int row =
                                    ((page[half] * 2 + value) * a.kv_heads + work.kv_head) * TRIB_PAGE_TOKENS;
                                for (int c = 0; c < boxes; ++c) {
                                    tensor_copy(slot + c * column_bytes + half * box_bytes, cache,
                                                (first_box + c) * box_columns, row, full);
                                }
                            }
                        }
                    }
                    __syncwarp();
                    at.advance(s.slots);
                };
                value_pages[way][0] = key_pages[way][0];
                value_pages[way][1] = key_pages[way][1];
                if (tile < tiles[way].count) {
                    const int at = tile % page_batch;
                    if (at == 0 && tile > 0) {
                        pages[way] =
                            load_pages(a, work.item.sequence, tiles[way].first + tile * strands, first_page, end_page);
                    }
                    key_pages[way][0] = __shfl_sync(whole_warp, pages[way], at * tile_pages);
                    key_pages[way][1] = __shfl_sync(whole_warp, pages[way], at * tile_pages + 1);
                    copy(key_pages[way], 0);
                }
                if (tile > 0 && tile <= tiles[way].count) {
                    copy(value_pages[way], 1);
                }
            }
        }
    }
}

// ---------------------------------------------------------------- consumers

// S = Q Kᵀ, issued. `queries`: this warpgroup's rows.
template <class T, int d, class shape>
__device__ __forceinline__ void multiply_keys(float (&s)[tile_keys / 2], const unsigned char* queries,
                                              const unsigned char* keys) {
    const uint64_t of_queries = descriptor_k_major(shared_address(queries));
    const uint64_t of_keys = descriptor_k_major(shared_address(keys));
#pragma unroll
    for (int k = 0; k < d / 16; ++k) {
        product_shared<T, tile_keys>(s, advance_descriptor(of_queries, k / 4 * shape::query_box_bytes + k % 4 * 32),
                                     advance_descriptor(of_keys, k / 4 * column_bytes + k % 4 * 32), k > 0);
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

// Keys [0, low) and [high, 128) of a tile of V become zero, by the `threads` threads that read it.
template <int d, int threads>
__device__ __forceinline__ void zero_values(unsigned char* values, int low, int high, int thread, int barrier) {
    constexpr int pieces = tile_keys * swizzle_row_bytes / 16;  // of one box of columns
    for (int i = thread; i < pieces; i += threads) {
        const int key = i / (swizzle_row_bytes / 16);
        if (key < low || key >= high) {
            for (int c = 0; c < column_boxes(d); ++c) {
                *reinterpret_cast<uint4*>(values + c * column_bytes + i * 16) = uint4{};
            }
        }
    }
    async_proxy_fence();
    named_barrier_sync(barrier, threads);
}

// What a row of this thread sees of its tiles.
struct visible_keys {
    int first, border;
};

// Scores of keys that a row does not see become −∞. `key`: position of this thread's first key in the tile.
__device__ __forceinline__ void mask_scores(float (&s)[tile_keys / 2], const visible_keys (&rows)[2], int key) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int low = rows[half].first - key;
        const int high = rows[half].border - key;
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

// s becomes 2^(scale s − m) with the new maximum m of each row; l and m are updated, and `factor` = 2^(old m − new m). Where
// the warp has no rows of a half, all of that stays as it is, and s is whatever it was.
__device__ __forceinline__ void soften(float (&s)[tile_keys / 2], float (&m)[2], float (&l)[2], float (&factor)[2],
                                       float scale, const bool (&has_rows)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        if (!has_rows[half]) {
            continue;
        }
        float top = fmaxf(s[2 * half], s[2 * half + 1]);
#pragma unroll
        for (int j = 1; j < tile_keys / 8; ++j) {
            top = fmaxf(top, fmaxf(s[4 * j + 2 * half], s[4 * j + 2 * half + 1]));
        }
        top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
        // Rounded as a product, never fused: an unchanged maximum must give exactly the factor 1.
        const float highest = fmaxf(m[half], __fmul_rn(top, scale));
        const float base = finite_base(highest);
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

// Brings the block's query rows to shared memory, by all consuming threads: rows of 128 bytes, swizzled, 64 columns a box.
template <int d, class shape>
__device__ __forceinline__ void stage_queries(const attention_view& a, const strand_view& s, const block_work& work,
                                              unsigned char* queries, control& guard) {
    constexpr int chunks = d / 8;  // 16-byte pieces of a row
    constexpr int threads = shape::consumers * warpgroup_threads;
    for (int i = static_cast<int>(threadIdx.x); i < shape::queries * chunks; i += threads) {
        const int query = i / chunks;
        const int chunk = i % chunks;
        const bool valid = query < work.item.queries;
        const uint16_t* from = valid ? a.q + guard.row[query] * a.q_row +
                                           (work.kv_head * a.group + guard.head[query]) * a.q_head + 8 * chunk
                                     : a.q;
        unsigned char* to = queries + chunk / 8 * shape::query_box_bytes + swizzled_offset(query, chunk % 8);
        if (s.q_eights) {
            copy_async(to, from, valid);
        } else {
            const element_words<8> words = valid ? load_elements<8>(from, false) : element_words<8>{};
            *reinterpret_cast<element_words<8>*>(to) = words;
        }
    }
    await_copies();
    async_proxy_fence();
    named_barrier_sync(all_consumers_barrier, threads);
    if (threadIdx.x == 0) {
        barrier_arrive(&guard.queries_there);
    }
}

// Strands are merged in pairs (c, c + 4) by the block that has both, where two ways do not exchange through a cluster: they
// are launched as four blocks.
template <class shape, bool clusters>
inline constexpr bool merges_pairs = shape::ways == 2 && !clusters;

// Where a way of this block leaves its state when a cluster exchanges it: its ring has been read by then.
template <int d>
__device__ __forceinline__ int stage_offset(const strand_view& s, int way) {
    return way * s.slots * tile_bytes(d);
}

template <class T, int d, class shape, bool clusters>
__device__ __forceinline__ void consume(const attention_view& a, const strand_view& s, const block_work& work,
                                        unsigned char* memory, unsigned char* queries, control& guard) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warpgroup =
        shape::consumers == 1 ? 0 : __shfl_sync(whole_warp, static_cast<int>(threadIdx.x) / warpgroup_threads, 0);
    const int way = warpgroup / shape::rows;
    const int row_group = warpgroup % shape::rows;
    const int of_way = static_cast<int>(threadIdx.x) % (shape::rows * warpgroup_threads);
    const int column = 2 * (lane % 4);
    const int first_row =
        group_rows * row_group + static_cast<int>(threadIdx.x) % warpgroup_threads / 32 * 16 + lane / 4;
    constexpr int columns = shape::columns;
    ring_cursor cursor;
    unsigned char* const ring = memory + way * s.slots * tile_bytes(d);
    const auto slot_of = [&](const ring_cursor& at) { return ring + at.slot * tile_bytes(d); };
    const auto arrived = [&](const ring_cursor& at) { barrier_wait(&guard.full[way][at.slot], at.parity); };
    const auto release = [&](const ring_cursor& at) {
        if (lane == 0) {
            barrier_arrive(&guard.empty[way][at.slot]);
        }
    };
    stage_queries<d, shape>(a, s, work, queries, guard);
    const unsigned char* const own_queries = queries + row_group * group_rows * swizzle_row_bytes;

    visible_keys rows[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int i = first_row + 8 * half;
        rows[half] = i < work.item.queries ? visible_keys{guard.first[i], border(guard.position[i])}
                                           : visible_keys{0, 0x7fffffff};
    }
    // Softmax between two products is all that one warpgroup's tensor cores wait for, and with few rows most of it is of none.
    constexpr bool leaves_out = shape::consumers == 1;
    const int rows_of_warp = work.item.queries - (first_row - lane / 4);
    const bool has_rows[2] = {!leaves_out || rows_of_warp > 0, !leaves_out || rows_of_warp > 8};
    constexpr int threads = shape::consumers * warpgroup_threads;
#pragma unroll 1
    for (int strand = first_strand_of<shape>(work) + s.blocks * way; strand < strands;
         strand += s.blocks / shape::parts * shape::ways) {
        const strand_tiles tiles = work.tiles(strand);
        if (!merges_pairs<shape, clusters> && tiles.count == 0) {
            continue;
        }
        float o[columns / 2];
        float m[2] = {minus_infinity, minus_infinity};
        float l[2] = {0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < columns / 2; ++i) {
            o[i] = 0.0f;
        }
        if (tiles.count > 0) {
            float score[tile_keys / 2];
            uint32_t p[tile_keys / 16][4];
            float factor[2] = {1.0f, 1.0f};
            const auto weigh = [&](int tile) {
                const int begin = (tiles.first + tile * strands) * tile_keys;
                if (begin < work.greatest_first || begin + tile_keys > work.least_border) {
                    mask_scores(score, rows, begin + column);
                }
                soften(score, m, l, factor, a.scale, has_rows);
            };
            const auto clear = [&](int tile, const ring_cursor& at) {
                const int begin = (tiles.first + tile * strands) * tile_keys;
                if (begin < work.least_first || begin + tile_keys > work.greatest_border) {
                    zero_values<columns, shape::rows * warpgroup_threads>(
                        slot_of(at), work.least_first - begin, work.greatest_border - begin, of_way, way_barrier + way);
                }
            };

            arrived(cursor);
            product_fence();
            multiply_keys<T, d, shape>(score, own_queries, slot_of(cursor));
            product_commit();
            product_wait<0>();
            keep_registers(score);
            release(cursor);
            cursor.advance(s.slots);
            weigh(0);
            pack_weights<T>(p, score);

            for (int tile = 1; tile < tiles.count; ++tile) {
                arrived(cursor);
                product_fence();
                multiply_keys<T, d, shape>(score, own_queries, slot_of(cursor));
                product_commit();
                const ring_cursor keys = cursor;
                cursor.advance(s.slots);
                arrived(cursor);
                clear(tile - 1, cursor);
                product_fence();
                multiply_values<T, columns>(o, p, slot_of(cursor));
                product_commit();
                product_wait<1>();
                keep_registers(score);
                release(keys);
                weigh(tile);
                product_wait<0>();
                keep_registers(o);
                keep_weights(p);
                release(cursor);
                cursor.advance(s.slots);
                // A factor of 1 changes nothing, so whether a warp skips it is no matter of bits.
                if (__any_sync(whole_warp, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
                    for (int i = 0; i < columns / 2; ++i) {
                        o[i] *= factor[i / 2 % 2];
                    }
                }
                pack_weights<T>(p, score);
            }

            arrived(cursor);
            clear(tiles.count - 1, cursor);
            product_fence();
            multiply_values<T, columns>(o, p, slot_of(cursor));
            product_commit();
            product_wait<0>();
            keep_registers(o);
            release(cursor);
            cursor.advance(s.slots);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                l[half] += __shfl_xor_sync(whole_warp, l[half], 1);
                l[half] += __shfl_xor_sync(whole_warp, l[half], 2);
            }
        }

        if constexpr (merges_pairs<shape, clusters> || clusters) {
            // Other warps' products may still be reading the ring, which takes the state next.
            named_barrier_sync(way_barrier + way, shape::rows * warpgroup_threads);
        }
        if constexpr (merges_pairs<shape, clusters>) {
            // Warpgroup 0 merges the upper rows of its fragments, warpgroup 1 the lower ones: each gives the other half away.
            const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
            auto* const given = reinterpret_cast<float4*>(ring);
            auto* const given_ml = reinterpret_cast<float2*>(ring + d * warpgroup_threads);
#pragma unroll
            for (int kept = 0; kept < 2; ++kept) {
                if (way == kept) {
#pragma unroll
                    for (int j = 0; j < d / 16; ++j) {
                        const int at = 8 * j + 2 * (1 - kept);
                        given[j * warpgroup_threads + thread] = {o[at], o[at + 1], o[at + 4], o[at + 5]};
                    }
                    given_ml[thread] = {m[1 - kept], l[1 - kept]};
                }
            }
            named_barrier_sync(all_consumers_barrier, threads);
            const unsigned char* const other_ring = memory + (1 - way) * s.slots * tile_bytes(d);
            const auto* const taken = reinterpret_cast<const float4*>(other_ring);
            const float2 taken_ml = reinterpret_cast<const float2*>(other_ring + d * warpgroup_threads)[thread];
#pragma unroll
            for (int kept = 0; kept < 2; ++kept) {
                if (way == kept) {
                    // Strand r first, then r + 4.
                    const float highest = fmaxf(m[kept], taken_ml.x);
                    const float base = finite_base(highest);
                    const float own_factor = power_of_two(m[kept] - base);
                    const float taken_factor = power_of_two(taken_ml.x - base);
                    const auto merge = [&](float own, float other) {
                        return kept == 0 ? __fmaf_rn(taken_factor, other, __fmul_rn(own_factor, own))
                                         : __fmaf_rn(own_factor, own, __fmul_rn(taken_factor, other));
                    };
                    l[kept] = merge(l[kept], taken_ml.y);
                    m[kept] = highest;
#pragma unroll
                    for (int j = 0; j < d / 16; ++j) {
                        const int at = 8 * j + 2 * kept;
                        const float4 other = taken[j * warpgroup_threads + thread];
                        o[at] = merge(o[at], other.x);
                        o[at + 1] = merge(o[at + 1], other.y);
                        o[at + 4] = merge(o[at + 4], other.z);
                        o[at + 5] = merge(o[at + 5], other.w);
                    }
                }
            }
        }

        unsigned char* state;
        if constexpr (clusters) {
            state = memory + stage_offset<d>(s, way);
        } else {
            const int64_t of_block = work.index;
            constexpr int64_t states = merges_pairs<shape, clusters> ? strands / 2 : strands;
            state = s.states + ((of_block * states + strand % states) * shape::rows + row_group) * group_state_bytes(d);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (!merges_pairs<shape, clusters> || half == way) {
#pragma unroll
                for (int j = 0; j < columns / 16; ++j) {
                    const int at = 8 * j + 2 * half;
                    const int thread = static_cast<int>(threadIdx.x) % warpgroup_threads;
                    const int piece = part_of<shape>(work) * (columns / 16) + j;
                    *reinterpret_cast<float4*>(state + piece_offset(d, half, piece, thread)) = {o[at], o[at + 1],
                                                                                                o[at + 4], o[at + 5]};
                }
                if (lane % 4 == 0 && part_of<shape>(work) == 0) {
                    const int row = first_row % group_rows + 8 * half;
                    *reinterpret_cast<float2*>(state + ml_offset(d, row)) = {m[half], l[half]};
                }
            }
        }
    }
    if constexpr (!clusters) {
        named_barrier_sync(all_consumers_barrier, threads);
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(s.counters + work.index, 1U);
        }
    }
}

// ---------------------------------------------------------------- single keys

// Where K of a key stands, and V.
__device__ __forceinline__ const uint16_t* key_row(const attention_view& a, const finish_view& f, int kv_head,
                                                   int key) {
    return key >= 0 ? a.cache + static_cast<int64_t>(key) * a.head_dim
                    : static_cast<const uint16_t*>(f.stream_k) + stream_of_key(key) * f.stream_k_row +
                          kv_head * f.stream_k_head;
}
__device__ __forceinline__ const uint16_t* value_row(const attention_view& a, const finish_view& f, int kv_head,
                                                     int key) {
    return key >= 0 ? a.cache + static_cast<int64_t>(key) * a.head_dim + a.value_offset()
                    : static_cast<const uint16_t*>(f.stream_v) + stream_of_key(key) * f.stream_v_row +
                          kv_head * f.stream_v_head;
}

// A row of d elements as lane 4 g + t of a product holds it: of each 32 the eight from 8 t on. The sum's order is permuted
// alike for both operands.
template <int d>
struct row_pieces {
    static constexpr int slabs = d / 32;
    static_assert(d % 32 == 0 || d % 32 == 16);
    uint32_t word[d / 8];

    __device__ __forceinline__ void load(const uint16_t* row, int t) {
#pragma unroll
        for (int slab = 0; slab < slabs; ++slab) {
            const auto piece = *reinterpret_cast<const element_words<8>*>(row + 32 * slab + 8 * t);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                word[4 * slab + i] = piece.word[i];
            }
        }
        if constexpr (d % 32 != 0) {
            const auto piece = *reinterpret_cast<const element_words<4>*>(row + 32 * slabs + 4 * t);
            word[4 * slabs] = piece.word[0];
            word[4 * slabs + 1] = piece.word[1];
        }
    }
};

// Scores of sixteen keys and eight queries: of lane 4 g + t, of keys g (0, 1) and g + 8 (2, 3) with queries 2 t and 2 t + 1.
// Row g of the queries is row `query` of those that are staged.
template <class T, int d, class shape>
__device__ __forceinline__ void multiply_pieces(float (&s)[4], const row_pieces<d>& low, const row_pieces<d>& high,
                                                const unsigned char* queries, int query, int t) {
    const auto multiply = [&](int step, uint32_t q0, uint32_t q1) {
        multiply_16x8<T>(s, low.word[2 * step], high.word[2 * step], low.word[2 * step + 1], high.word[2 * step + 1],
                         q0, q1);
    };
#pragma unroll
    for (int slab = 0; slab < d / 32; ++slab) {
        const unsigned char* box = queries + slab / 2 * shape::query_box_bytes;
        const uint4 q = *reinterpret_cast<const uint4*>(box + swizzled_offset(query, slab % 2 * 4 + t));
        multiply(2 * slab, q.x, q.y);
        multiply(2 * slab + 1, q.z, q.w);
    }
    if constexpr (d % 32 != 0) {
        constexpr int slab = d / 32;
        const unsigned char* box = queries + slab / 2 * shape::query_box_bytes;
        const uint2 q = *reinterpret_cast<const uint2*>(box + swizzled_offset(query, slab % 2 * 4 + t / 2) + t % 2 * 8);
        multiply(2 * slab, q.x, q.y);
    }
}

// N keys' V, this lane's columns, added to the sums of four queries, or of the first alone, by their weights, in order.
template <class T, int N, int columns>
struct value_columns {
    element_words<columns> row[N];

    // Keys first … first + N − 1.
    __device__ __forceinline__ void load(const found_keys& keys, int first, int column) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            row[i] = *reinterpret_cast<const element_words<columns>*>(keys.v[first + i] + column);
        }
    }
    __device__ __forceinline__ void add_to(float (&o)[4][columns], const float* weights, int count) const {
        if (count == 1) {
            add<1>(o, weights);
        } else {
            add<4>(o, weights);
        }
    }

private:
    template <int count>
    __device__ __forceinline__ void add(float (&o)[4][columns], const float* weights) const {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            float w[4];
            *reinterpret_cast<float4*>(w) = *reinterpret_cast<const float4*>(weights + product_queries * i);
#pragma unroll
            for (int j = 0; j < columns / 2; ++j) {
                const float2 x = unpack2<T>(row[i].word[j]);
#pragma unroll
                for (int h = 0; h < count; ++h) {
                    o[h][2 * j] = __fmaf_rn(w[h], x.x, o[h][2 * j]);
                    o[h][2 * j + 1] = __fmaf_rn(w[h], x.y, o[h][2 * j + 1]);
                }
            }
        }
    }
};

// Asks for K of keys `first`, `first` + 1, … and V of all keys, each sector of 32 bytes by a lane, so that what is loaded
// later has come by then.
template <int d>
__device__ __forceinline__ void touch_keys(const found_keys& keys, int first, int lane) {
    constexpr int sectors = d / 16;
    const int of_k = max(keys.count - first, 0) * sectors;
#pragma unroll 1
    for (int i = lane; i < of_k + keys.count * sectors; i += 32) {
        const int of_v = i - of_k;
        const uint16_t* const row = of_v < 0 ? keys.k[first + i / sectors] : keys.v[of_v / sectors];
        uint32_t unused;
        asm volatile("ld.global.b32 %0, [%1];" : "=r"(unused) : "l"(row + i % sectors * 16));
    }
}

// A warp's states of the single keys of up to four query heads of one row, from query row `query` of the block on, which are
// `count`. Their states stand state_bytes(d) apart. `weights`: of this warp.
template <class T, int d, class shape>
__device__ __forceinline__ void attend_single_keys(const attention_view& a, const found_keys& keys,
                                                   const unsigned char* queries, int query, int count,
                                                   unsigned char* results, float* weights) {
    constexpr int columns = (d <= 64 ? 64 : 128) / 32;
    static_assert(single_positions <= 24 && single_keys <= 32);
    const int lane = read_thread() % 32;  // not kept from one row to the next, nor what follows from it
    const int g = lane / 4;
    const int t = lane % 4;
    const auto load_keys = [&](row_pieces<d>& k, int first) { k.load(keys.k[first + g], t); };
    // Two thirds of K and a touch of the rest and of V, then the rest: all at once are more than these warps' registers hold.
    float s[2][4] = {};
    const int own_query = query + min(g, count - 1);
    row_pieces<d> low;
    row_pieces<d> high;
    load_keys(low, 0);
    load_keys(high, 8);
    touch_keys<d>(keys, 16, lane);
    multiply_pieces<T, d, shape>(s[0], low, high, queries, own_query, t);
    asm volatile("" ::: "memory");
    load_keys(low, 16);
    high = {};
    if (keys.count > 24) {
        load_keys(high, 24);
    }
    multiply_pieces<T, d, shape>(s[1], low, high, queries, own_query, t);
    const int column = columns * lane < d ? columns * lane : 0;

    // Over the keys of a query, 2 t + e: those of the lane in order, then of lanes g.
    float m[2] = {minus_infinity, minus_infinity};
    float l[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const bool present = (keys.present >> (8 * i + g) & 1) != 0;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            float& score = s[i / 2][i % 2 * 2 + e];
            score = present ? __fmul_rn(score, a.scale) : minus_infinity;
            m[e] = fmaxf(m[e], score);
        }
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) {
#pragma unroll
        for (int mask = 4; mask < 32; mask *= 2) {
            m[e] = fmaxf(m[e], __shfl_xor_sync(whole_warp, m[e], mask));
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float2 p;
        p.x = power_of_two(__fsub_rn(s[i / 2][i % 2 * 2], finite_base(m[0])));
        p.y = power_of_two(__fsub_rn(s[i / 2][i % 2 * 2 + 1], finite_base(m[1])));
        l[0] = __fadd_rn(l[0], p.x);
        l[1] = __fadd_rn(l[1], p.y);
        if (2 * t < product_queries) {
            *reinterpret_cast<float2*>(weights + product_queries * (8 * i + g) + 2 * t) = p;
        }
    }
#pragma unroll
    for (int e = 0; e < 2; ++e) {
#pragma unroll
        for (int mask = 4; mask < 32; mask *= 2) {
            l[e] = __fadd_rn(l[e], __shfl_xor_sync(whole_warp, l[e], mask));
        }
        if (g == 0 && 2 * t + e < count) {
            *reinterpret_cast<float2*>(results + (2 * t + e) * state_bytes(d) + 4 * d) = {m[e], l[e]};
        }
    }
    __syncwarp();
    float o[product_queries][columns] = {};
#pragma unroll 1
    for (int first = 0; first < keys.count; first += values_at_once) {
        value_columns<T, values_at_once, columns> values;
        values.load(keys, first, column);
        values.add_to(o, weights + product_queries * first, count);
    }
#pragma unroll
    for (int h = 0; h < product_queries; ++h) {
        if (h < count && columns * lane < d) {
            float* const to = reinterpret_cast<float*>(results + h * state_bytes(d)) + columns * lane;
            if constexpr (columns == 2) {
                *reinterpret_cast<float2*>(to) = {o[h][0], o[h][1]};
            } else {
                *reinterpret_cast<float4*>(to) = {o[h][0], o[h][1], o[h][2], o[h][3]};
            }
        }
    }
    __syncwarp();
}

// The query rows that a block finishes.
struct finished_rows {
    int begin, end;
};
__device__ __forceinline__ finished_rows rows_to_finish(const strand_view& s, const block_work& work) {
    const int of_block = (work.item.queries + s.blocks - 1) / s.blocks;
    const int begin = work.rank * of_block;
    return {begin, min(begin + of_block, work.item.queries)};
}

// Where the states of the single keys of this row block's and KV head's rows stand.
template <int d, class shape>
__device__ __forceinline__ unsigned char* single_states(const attention_view& a, const strand_view& s,
                                                        const block_work& work) {
    const int64_t of_all = work.index;
    return s.singles + of_all * shape::queries * state_bytes(d);
}

// The single keys of the block's part of the query rows, by the warps that do not consume while the others do, then by all.
// Rows are drawn; a warp takes all of its query heads of a row at once: they share its keys.
template <class T, int d, class shape>
__device__ __forceinline__ void attend_singles(const attention_view& a, const finish_view& f, const strand_view& s,
                                               const block_work& work, const unsigned char* queries, control& guard,
                                               singles_scratch& scratch) {
    const step_view& step = a.step;
    const int lane = read_thread() % 32;
    const finished_rows part = rows_to_finish(s, work);
    if (part.begin >= part.end) {
        return;
    }
    const int first_query = work.item.first_query;
    const int first_row = (first_query + part.begin) / a.group;
    const int rows = (first_query + part.end - 1) / a.group - first_row + 1;
    // First query of row i of the block's part, and one past its last.
    const auto query_of = [&](int i) { return max((first_row + i) * a.group - first_query, part.begin); };
    const auto query_end = [&](int i) { return min((first_row + i + 1) * a.group - first_query, part.end); };
    // Several at once where there are many: their masks and page numbers are waited for together.
    const int drawn = min((rows + many_rows - 1) / many_rows, batch_rows);
#pragma unroll 1
    for (;;) {
        int batch = 0;
        if (lane == 0) {
            batch = atomicAdd(&guard.next_row, drawn);
        }
        batch = __shfl_sync(whole_warp, batch, 0);
        if (batch >= rows) {
            return;
        }
        // Where the keys stand, of several rows at once: masks and page numbers are asked for together.
        const int length = guard.length;
        const int words = guard.nodes > 0 ? (guard.nodes + 63) / 64 * 2 : 0;  // of a node's mask, of 32 bits
        const auto* const masks = reinterpret_cast<const uint32_t*>(step.masks + guard.mask_begin);
        const int near = work.least_border / TRIB_PAGE_TOKENS;
        const int near_page = step.page(work.item.sequence, min(near + lane, step.max_pages - 1) * TRIB_PAGE_TOKENS);
        const int count = min(rows - batch, drawn);
        uint32_t mask[batch_rows];  // a word a lane
#pragma unroll
        for (int r = 0; r < batch_rows; ++r) {
            mask[r] = 0;
            if (r < count) {
                const int node = guard.node[query_of(batch + r)];
                if (node >= 0 && lane < words) {
                    mask[r] = masks[static_cast<int64_t>(node) * words + lane];
                }
            }
        }
        int slot[batch_rows];
        int page[batch_rows];
#pragma unroll
        for (int r = 0; r < batch_rows; ++r) {
            slot[r] = -1;
            page[r] = 0;
            if (r < count) {
                const int query = query_of(batch + r);
                const int position = guard.position[query];
                const int begin = border(position);
                const int at = begin + lane;
                const bool in_tree = guard.node[query] >= 0 && words > 0;
                const bool visible = at <= position && lane < single_positions && at >= guard.first[query];
                slot[r] = visible && (!in_tree || at < length) ? at : -1;
                if (in_tree && position >= length) {
                    // A tree's node at depth i is the i-th ancestor: the masks' bits are in order of depth.
                    int* const ancestors = scratch.ancestors;
                    ancestors[lane] = -1;
                    __syncwarp();
                    int before = length - begin;
                    for (int w = 0; w < words; ++w) {
                        const uint32_t word = __shfl_sync(whole_warp, mask[r], w);
                        const int i = before + __popc(word & ((1U << lane) - 1));
                        if ((word >> lane & 1) != 0 && i >= 0 && i < 32) {
                            ancestors[i] = length + 32 * w + lane;
                        }
                        before += __popc(word);
                    }
                    __syncwarp();
                    slot[r] = visible && at >= length ? ancestors[lane] : slot[r];
                    __syncwarp();
                }
                slot[r] = min(slot[r], step.max_pages * TRIB_PAGE_TOKENS - 1);
                const unsigned from_near = static_cast<unsigned>(slot[r] / TRIB_PAGE_TOKENS - near);
                page[r] = __shfl_sync(whole_warp, near_page, static_cast<int>(from_near % 32));
                if (slot[r] >= 0 && from_near >= 32) {
                    page[r] = step.page(work.item.sequence, slot[r]);
                }
            }
        }
        __syncwarp();
#pragma unroll
        for (int r = 0; r < batch_rows; ++r) {
            if (r < count) {
                const int query = query_of(batch + r);
                const int position = guard.position[query];
                const int positions = position - border(position) + 1;
                const int streams = guard.stream[query];
                int key = no_key;
                if (slot[r] >= 0) {
                    key = (page[r] * 2 * a.kv_heads + work.kv_head) * TRIB_PAGE_TOKENS + slot[r] % TRIB_PAGE_TOKENS;
                } else if (lane >= positions && lane < positions + streams) {
                    key = stream_key(max(guard.row[query] - step.max_main_rows - (streams - 1), 0) + lane - positions);
                }
                const unsigned present = __ballot_sync(whole_warp, key != no_key);
                const int own = max(__shfl_sync(whole_warp, key, positions - 1), 0);
                key = key != no_key ? key : own;
                scratch.keys[r].k[lane] = key_row(a, f, work.kv_head, key);
                scratch.keys[r].v[lane] = value_row(a, f, work.kv_head, key);
                if (lane == 0) {
                    scratch.keys[r].present = present;
                    scratch.keys[r].count = positions + streams;
                }
            }
        }
        __syncwarp();
        barrier_wait(&guard.queries_there, 0);
#pragma unroll 1
        for (int r = 0; r < count; ++r) {
            const int query = query_of(batch + r);
            const int end = query_end(batch + r);
#pragma unroll 1
            for (int first = query; first < end; first += product_queries) {
                attend_single_keys<T, d, shape>(a, scratch.keys[r], queries, first, min(end - first, product_queries),
                                                single_states<d, shape>(a, s, work) + first * state_bytes(d),
                                                scratch.weights);
            }
        }
    }
}

// ---------------------------------------------------------------- merge

// A state's (m, l) of a row, and four columns of its o: those that a thread of a fragment holds (piece_offset()).
struct row_state {
    float2 ml;
    float4 o;
};

// Of strands c and c + 4, c first.
__device__ __forceinline__ row_state merge_pair(const row_state& x, const row_state& z) {
    const float m = fmaxf(x.ml.x, z.ml.x);
    const float base = finite_base(m);
    const float x_factor = power_of_two(x.ml.x - base);
    const float z_factor = power_of_two(z.ml.x - base);
    const auto merge = [&](float of_x, float of_z) { return __fmaf_rn(z_factor, of_z, __fmul_rn(x_factor, of_x)); };
    return {{m, merge(x.ml.y, z.ml.y)},
            {merge(x.o.x, z.o.x), merge(x.o.y, z.o.y), merge(x.o.z, z.o.z), merge(x.o.w, z.o.w)}};
}

// By the consuming warps, two rows each at a time: waits for the states of all strands, then for this block's single keys, and
// writes y of the block's part of the rows.
template <class T, int d, class shape, bool clusters>
__device__ __forceinline__ void merge(const attention_view& a, const finish_view& f, const strand_view& s,
                                      const block_work& work, unsigned char* memory, const control& guard) {
    constexpr int pairs = strands / 2;
    constexpr int warps = shape::consumers * warpgroup_threads / 32;
    constexpr int rows_at_once = 2;
    // Two ways of a cluster have the first four strands only.
    constexpr int states = shape::ways == 2 ? pairs : strands;
    const int of_block = static_cast<int>(threadIdx.x);
    const int lane = of_block % 32;
    const finished_rows part = rows_to_finish(s, work);
    const int64_t of_all = work.index;
    uint32_t* const counter = s.counters + of_all;
    int query = part.begin + of_block / 32;
    if constexpr (clusters) {
        cluster_wait();
    } else if (query < part.end) {
        if (lane == 0) {
            uint32_t arrived;
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(arrived) : "l"(counter) : "memory");
            } while (arrived % warp_done < static_cast<uint32_t>(s.blocks));
        }
        __syncwarp();
    }
    // Strands of which a state exists, a bit each; the others' loads go to one that does, and are dropped.
    unsigned exist = 0;
#pragma unroll
    for (int c = 0; c < strands; ++c) {
        exist |= work.tiles(c).count > 0 ? 1U << c : 0;
    }
    if constexpr (states == pairs) {
        exist = (exist | exist >> pairs) & ((1U << pairs) - 1);
    }
    const int some = exist != 0 ? __ffs(static_cast<int>(exist)) - 1 : 0;
    const int piece = min(lane / 4, d / 16 - 1);
    const unsigned char* const singles = single_states<d, shape>(a, s, work);
    const auto load = [&](int query, int c) {
        const int of_group = query % group_rows;
        const int thread = of_group / 16 * 32 + of_group % 8 * 4 + lane % 4;
        const int o_at = piece_offset(d, of_group / 8 % 2, piece, thread);
        const int ml_at = ml_offset(d, of_group);
        row_state result;
        if constexpr (clusters) {
            const uint32_t state =
                address_in_block(shared_address(memory + stage_offset<d>(s, c / s.blocks)), c % s.blocks);
            result.ml = load_pair_of_cluster(state + static_cast<uint32_t>(ml_at));
            result.o = load_four_of_cluster(state + static_cast<uint32_t>(o_at));
        } else {
            const unsigned char* const state =
                s.states + ((of_all * states + c) * shape::rows + query / group_rows) * group_state_bytes(d);
            result.ml = __ldcg(reinterpret_cast<const float2*>(state + ml_at));
            result.o = __ldcg(reinterpret_cast<const float4*>(state + o_at));
        }
        return result;
    };
    bool singles_there = false;
#pragma unroll 1
    do {
        row_state state[rows_at_once][states];
        row_state single[rows_at_once];
        if (exist != 0 && query < part.end) {
#pragma unroll
            for (int r = 0; r < rows_at_once; ++r) {
#pragma unroll
                for (int c = 0; c < states; ++c) {
                    state[r][c] = load(min(query + warps * r, part.end - 1), (exist >> c & 1) != 0 ? c : some);
                }
            }
        }
        if (!singles_there) {
            named_barrier_sync(whole_block_barrier, shape::threads);
            singles_there = true;
        }
        if (query >= part.end) {
            break;
        }
#pragma unroll
        for (int r = 0; r < rows_at_once; ++r) {
            const int of_row = min(query + warps * r, part.end - 1);
            const auto* from = reinterpret_cast<const float*>(singles + of_row * state_bytes(d));
            single[r].ml = __ldcg(reinterpret_cast<const float2*>(from + d));
            const float2 low = __ldcg(reinterpret_cast<const float2*>(from + 16 * piece + lane % 4 * 2));
            const float2 high = __ldcg(reinterpret_cast<const float2*>(from + 16 * piece + lane % 4 * 2 + 8));
            single[r].o = {low.x, low.y, high.x, high.y};
        }
#pragma unroll
        for (int r = 0; r < rows_at_once; ++r) {
            const int of_row = query + warps * r;
            if (of_row >= part.end) {
                break;
            }
#pragma unroll
            for (int c = 0; c < states; ++c) {
                if ((exist >> c & 1) == 0) {
                    state[r][c] = {{minus_infinity, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
                }
            }
            float greatest = single[r].ml.x;
#pragma unroll
            for (int c = 0; c < pairs; ++c) {
                if constexpr (states == strands) {
                    state[r][c] = merge_pair(state[r][c], state[r][c + pairs]);
                }
                greatest = fmaxf(greatest, state[r][c].ml.x);
            }
            const float base = finite_base(greatest);
            float total = 0;
            float4 y = {0.0f, 0.0f, 0.0f, 0.0f};
            const auto add = [&](const row_state& x) {
                const float w = power_of_two(x.ml.x - base);
                total = __fmaf_rn(w, x.ml.y, total);
                y.x = __fmaf_rn(w, x.o.x, y.x);
                y.y = __fmaf_rn(w, x.o.y, y.y);
                y.z = __fmaf_rn(w, x.o.z, y.z);
                y.w = __fmaf_rn(w, x.o.w, y.w);
            };
#pragma unroll
            for (int c = 0; c < pairs; ++c) {
                add(state[r][c]);
            }
            add(single[r]);
            const float scale = __frcp_rn(total);
            const int64_t to = guard.row[of_row] * f.y_row + (work.kv_head * a.group + guard.head[of_row]) * f.y_head +
                               16 * piece + lane % 4 * 2;
            if (lane / 4 < d / 16) {
                store_two(f, to, __fmul_rn(y.x, scale), __fmul_rn(y.y, scale));
                store_two(f, to + 8, __fmul_rn(y.z, scale), __fmul_rn(y.w, scale));
            }
        }
        query += warps * rows_at_once;
    } while (query < part.end);
    if constexpr (clusters) {
        // Others read this block's shared memory until then.
        cluster_arrive();
        cluster_wait();
    } else if (lane == 0) {
        // Who is done last puts the counter back. Warps without rows have not waited: blocks may arrive after them.
        const uint32_t before = atomicAdd(counter, warp_done);
        if (before / warp_done == static_cast<uint32_t>(s.blocks * warps - 1)) {
            atomicExch(counter, 0U);
        }
    }
}

// ---------------------------------------------------------------- kernel

template <class T, int d, int rows, int ways, bool clusters>
__global__ void __launch_bounds__((block_shape<d, rows, ways, clusters>::threads), 1)
    attend_strands(const __grid_constant__ attention_view a, const __grid_constant__ finish_view f,
                   const __grid_constant__ strand_view s, const __grid_constant__ CUtensorMap cache) {
    using shape = block_shape<d, rows, ways, clusters>;
    constexpr int consumer_warps = shape::consumers * warpgroup_threads / 32;
    extern __shared__ __align__(swizzle_atom_bytes) unsigned char memory[];
    unsigned char* const queries = memory + ways * s.slots * tile_bytes(d);
    control& guard = *reinterpret_cast<control*>(queries + shape::query_bytes);
    const step_view& step = a.step;
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    block_work work;
    work.rank = static_cast<int>(blockIdx.x) % s.blocks;
    work.kv_head = static_cast<int>(blockIdx.y);
    const int row_block = static_cast<int>(blockIdx.x) / s.blocks;
    work.index = row_block * a.kv_heads + work.kv_head;
    allow_successor();
    if (warp == consumer_warps) {
        if (elect_one()) {
            prefetch_tensor_map(&cache);
            for (int way = 0; way < ways; ++way) {
                for (int i = 0; i < s.slots; ++i) {
                    barrier_init(&guard.full[way][i], 1);
                    barrier_init(&guard.empty[way][i], rows * warpgroup_threads / 32);
                }
            }
            barrier_init(&guard.queries_there, 1);
            guard.next_row = 0;
            barrier_init_fence();
        }
        __syncwarp();
        if (step.max_sequences == 1) {
            if (part_of<shape>(work) == 0) {
                prefetch_keys<ways>(a, work.kv_head, work.rank, s.blocks / shape::parts);
            }
        }
    }
    wait_for_predecessor();

    // The block's rows. With one sequence a main row's words are fetched beside the counts.
    const int query = row_block * shape::queries + thread;
    int early_row = -1;
    int position = 0;
    int first_visible = 0;
    int node = 0;
    int stream = 0;
    if (step.max_sequences == 1) {
        if (thread < shape::queries && query / a.group < step.max_main_rows) {
            early_row = query / a.group;
            position = step.row_position[early_row];
            first_visible = step.row_first_visible[early_row];
            node = step.row_node[early_row];
        }
    } else {
        note_stream_begins(a, reinterpret_cast<int*>(memory), thread, shape::threads);
        __syncthreads();
    }
    work.item = find_item_of_warp(a, row_block, shape::queries, reinterpret_cast<const int*>(memory));
    if (work.item.queries == 0) {
        return;
    }
    if (thread == consumer_warps * 32) {
        guard.length = step.sequence_length[work.item.sequence];
        guard.nodes = step.nodes(work.item.sequence);
        guard.mask_begin = step.mask_begin[work.item.sequence];
    }
    if (thread < shape::queries) {
        int least_border = 0x7fffffff;
        int greatest_border = 0;
        int least_first = 0x7fffffff;
        int greatest_first = 0;
        if (thread < work.item.queries) {
            const int of_sequence = (work.item.first_query + thread) / a.group;
            guard.head[thread] = static_cast<uint8_t>(work.item.first_query + thread - of_sequence * a.group);
            const int row = of_sequence < work.item.main_rows
                                ? work.item.main_begin + of_sequence
                                : step.max_main_rows + work.item.stream_begin + of_sequence - work.item.main_rows;
            if (row != early_row) {
                position = step.row_position[row];
                first_visible = step.row_first_visible[row];
                node = step.row_node[row];
                stream = row < step.max_main_rows ? 0 : step.row_stream[row];
            }
            guard.row[thread] = row;
            guard.position[thread] = position;
            guard.first[thread] = first_visible;
            guard.node[thread] = node;
            guard.stream[thread] = static_cast<uint8_t>(min(max(stream, 0), TRIB_MAX_GAMMA));
            least_border = greatest_border = border(position);
            least_first = greatest_first = max(first_visible, 0);
        }
        least_border = __reduce_min_sync(whole_warp, least_border);
        greatest_border = __reduce_max_sync(whole_warp, greatest_border);
        least_first = __reduce_min_sync(whole_warp, least_first);
        greatest_first = __reduce_max_sync(whole_warp, greatest_first);
        if (thread % 32 == 0) {
            guard.extents[warp][0] = least_border;
            guard.extents[warp][1] = greatest_border;
            guard.extents[warp][2] = least_first;
            guard.extents[warp][3] = greatest_first;
        }
    }
    __syncthreads();
    work.least_border = guard.extents[0][0];
    work.greatest_border = guard.extents[0][1];
    work.least_first = guard.extents[0][2];
    work.greatest_first = guard.extents[0][3];
#pragma unroll
    for (int i = 1; i < shape::queries / 32; ++i) {
        work.least_border = min(work.least_border, guard.extents[i][0]);
        work.greatest_border = max(work.greatest_border, guard.extents[i][1]);
        work.least_first = min(work.least_first, guard.extents[i][2]);
        work.greatest_first = max(work.greatest_first, guard.extents[i][3]);
    }

    // Kept where both kinds of warps find it: neither has registers left for it.
    if (thread == 0) {
        guard.work = work;
    }
    __syncthreads();

    if (warp >= consumer_warps) {
        if constexpr (shape::consumers == 2) {
            release_registers<120>();
        }
        if constexpr (clusters) {
            cluster_arrive();
        }
        if (warp == consumer_warps) {
            produce<d, shape>(a, s, &cache, guard.work, memory, guard);
            prefetch_next(s);
        }
        attend_singles<T, d, shape>(a, f, s, guard.work, queries, guard, guard.singles[warp - consumer_warps]);
        named_barrier_arrive(whole_block_barrier, shape::threads);
        if constexpr (clusters) {
            cluster_wait();
            cluster_arrive();
            cluster_wait();
        }
    } else {
        if constexpr (shape::consumers == 2) {
            claim_registers<192>();
        }
        consume<T, d, shape, clusters>(a, s, guard.work, memory, queries, guard);
        if constexpr (clusters) {
            cluster_arrive();
        }
        // The end of the way's ring: nobody reads tiles any more, and states that a cluster exchanges stand at its beginning.
        constexpr int warps_of_way = shape::rows * warpgroup_threads / 32;
        static_assert((clusters ? group_state_bytes(d) : 0) +
                          warps_of_way * static_cast<int>(sizeof(singles_scratch)) <=
                      least_slots * tile_bytes(d));
        unsigned char* const end = memory + (warp / warps_of_way + 1) * s.slots * tile_bytes(d);
        singles_scratch& scratch = reinterpret_cast<singles_scratch*>(end)[-1 - warp % warps_of_way];
        attend_singles<T, d, shape>(a, f, s, guard.work, queries, guard, scratch);
        merge<T, d, shape, clusters>(a, f, s, guard.work, memory, guard);
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

// Which kernel and how many blocks a row block and KV head have.
struct strand_plan {
    int rows, ways, blocks;
    bool clusters;
};

// What blocks of 128 query rows take, in thousands of clocks: before the first tile and behind the last, for a tile, for the
// state of a strand.
constexpr int block_cost = 16;
constexpr int tile_cost = 3;
constexpr int strand_cost = 4;

// Blocks of at most 64 query rows are bound by bytes: their keys are read once, by as many multiprocessors as needed to keep
// the memory busy; where there are enough, two blocks share a strand, both with all of K, each with half the columns of V.
// Clusters exchange states without global memory, but a GPU has room for few large ones (one with 132 multiprocessors for 66
// of two and for 15 of eight, when a block fills a multiprocessor). With more rows, those of a short context are latency and
// bytes of states, which 64 rows and two strands a block halve; those of a long one are arithmetic, and two warpgroups share
// what a copy brings. Where eight blocks for each 128 rows are more than a GPU runs at once, fewer blocks with more strands
// each may take fewer rounds: 160 rows of 8 KV heads run as 120 blocks of three strands.
strand_plan plan_of(const attention_view& a, int multiprocessors) {
    const int64_t rows = a.bound_main + a.bound_stream;
    const int64_t sequences = min(rows, static_cast<int64_t>(a.step.max_sequences));
    const int tiles = a.chunks;
    if (rows * a.group > sequences * group_rows) {
        const int64_t pairs = attention_row_blocks(rows, a.step.max_sequences, a.group, 2 * group_rows) * a.kv_heads;
        strand_plan plan = {2, 1, strands, false};
        if (pairs * strands > multiprocessors) {
            // Row blocks that have rows, when each sequence ends in a half full one.
            const int64_t expected =
                ceil_div<int64_t>(rows * a.group + (sequences > 1 ? sequences * group_rows : 0), 2 * group_rows) *
                a.kv_heads;
            int64_t least = INT64_MAX;
            for (const int blocks : {8, 4, 3, 2, 1}) {
                const int64_t rounds = ceil_div<int64_t>(expected * blocks, multiprocessors);
                const int of_strand = ceil_div(tiles, strands) * tile_cost + strand_cost;
                const int64_t cost = rounds * (block_cost + ceil_div(strands, blocks) * of_strand);
                if (cost < least) {
                    least = cost;
                    plan.blocks = blocks;
                }
            }
            return plan;
        }
        if (tiles > short_tiles) {
            return plan;
        }
    }
    const int64_t pairs = attention_row_blocks(rows, a.step.max_sequences, a.group, group_rows) * a.kv_heads;
    if (pairs <= cluster_pairs) {
        const int parts = column_parts(a.head_dim);
        return tiles > cluster_tiles && pairs * strands * parts <= multiprocessors
                   ? strand_plan{1, 1, strands * parts, false}
                   : strand_plan{1, 1, tiles <= 4 ? 4 : 8, true};
    }
    const bool few = rows * a.group <= few_rows;
    if (tiles <= 4 && few && pairs <= 64) {
        return {1, 2, 2, true};
    }
    return {1, 2, 4, false};
}

template <class T, int d, int rows, int ways, bool clusters>
trib_status launch_strands(context& context, const attention_view& a, const finish_view& f, strand_view s, int blocks) {
    using shape = block_shape<d, rows, ways, clusters>;
    CUtensorMap map;
    if (const trib_status status = encode_cache<T>(a, map); status != TRIB_OK) {
        return status;
    }
    constexpr int fixed = shape::query_bytes + static_cast<int>(sizeof(control));
    s.slots = min((context.shared_memory - fixed) / (ways * tile_bytes(d)),
                  shape::parts == 1 ? greatest_slots : slots_of_parts);
    s.blocks = blocks;
    const int64_t row_blocks =
        attention_row_blocks(a.bound_main + a.bound_stream, a.step.max_sequences, a.group, shape::queries);
    s.singles = s.states + row_blocks * a.kv_heads * (merges_pairs<shape, clusters> ? strands / 2 : strands) * rows *
                               group_state_bytes(d);
    const size_t ring = static_cast<size_t>(s.slots) * ways * tile_bytes(d);
    if (s.slots < least_slots || static_cast<size_t>(item_scratch_words(a.step.max_sequences)) * 4 > ring) {
        return fail(TRIB_UNSUPPORTED, "multi_stream_attention: step.max_sequences is %d, expected at most %zu on a GPU",
                    a.step.max_sequences, ring / 4 - 1);
    }
    if (row_blocks * a.kv_heads > counter_words) {
        return fail(TRIB_UNSUPPORTED, "multi_stream_attention: %lld rows of %d KV heads are too many for one call",
                    static_cast<long long>(a.bound_main) + a.bound_stream, a.kv_heads);
    }
    const launch_shape launched = {
        .grid = dim3(static_cast<unsigned>(row_blocks * blocks), static_cast<unsigned>(a.kv_heads)),
        .block = dim3(shape::threads),
        .shared_memory = ring + static_cast<size_t>(fixed),
        .cluster = clusters ? static_cast<unsigned>(blocks) : 1,
    };
    return launch(context, "multi_stream_attention", attend_strands<T, d, rows, ways, clusters>, launched, a, f, s,
                  map);
}

template <class T, int d>
trib_status launch_head_size(context& context, const attention_view& a, const finish_view& f, const strand_view& s) {
    const strand_plan plan = plan_of(a, context.multiprocessors);
    if (plan.rows == 2) {
        return launch_strands<T, d, 2, 1, false>(context, a, f, s, plan.blocks);
    }
    if (plan.ways == 1) {
        return plan.clusters ? launch_strands<T, d, 1, 1, true>(context, a, f, s, plan.blocks)
                             : launch_strands<T, d, 1, 1, false>(context, a, f, s, plan.blocks);
    }
    return plan.clusters ? launch_strands<T, d, 1, 2, true>(context, a, f, s, plan.blocks)
                         : launch_strands<T, d, 1, 2, false>(context, a, f, s, plan.blocks);
}

template <class T>
trib_status launch_type(context& context, const attention_view& a, const finish_view& f, const strand_view& s) {
    switch (a.head_dim) {
        case 64: return launch_head_size<T, 64>(context, a, f, s);
        case 80: return launch_head_size<T, 80>(context, a, f, s);
        case 96: return launch_head_size<T, 96>(context, a, f, s);
        case 128: return launch_head_size<T, 128>(context, a, f, s);
        default:
            return fail(TRIB_INTERNAL_ERROR, "multi_stream_attention: no tiles of sm_90a for head size %d", a.head_dim);
    }
}

}  // namespace

uint64_t attention_workspace_sm90a(int64_t rows, int64_t max_sequences, int64_t group, int64_t kv_heads, int head_dim) {
    // Of row blocks of 128 with a state for each strand; those of 64 are at most twice as many.
    const int64_t pairs = attention_row_blocks(rows, max_sequences, group, 2 * group_rows) * kv_heads;
    return static_cast<uint64_t>(2 * pairs *
                                 (strands * group_state_bytes(head_dim) + group_rows * state_bytes(head_dim)));
}

trib_status launch_attention_sm90a(context& context, const attention_view& a, const finish_view& f, uint32_t dtype,
                                   const hopper_attention& more) {
    const strand_view s = {
        .slots = 0,
        .blocks = 0,
        .states = pointer<unsigned char>(more.workspace),
        .singles = nullptr,
        .counters = context.counters,
        .q_eights = reinterpret_cast<uintptr_t>(a.q) % 16 == 0 && a.q_row % 8 == 0 && a.q_head % 8 == 0,
        .next_read = pointer<const unsigned char>(more.next_read),
        .next_read_bytes = more.next_read_bytes,
    };
    return dtype == TRIB_DTYPE_BF16 ? launch_type<bf16>(context, a, f, s) : launch_type<f16>(context, a, f, s);
}

}  // namespace tributary::device
