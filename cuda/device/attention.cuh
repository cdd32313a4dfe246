// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of multi_stream_attention share: how keys are split into chunks, which block works on what, and where
// the partial states of chunks stand in the workspace.
//
// Keys. A row at position p has the border b = max(0, p − TRIB_MAX_DEPTH). Its keys at positions first_visible … b − 1
// are committed and dense: tile kernels reduce them, chunk by chunk. Its keys b … p, at most 17, and its own streams are
// reduced by the finishing kernel, which also merges what the tile kernels left and writes y.
//
// sm_90a has strands instead of chunks and one kernel for all (multi_stream_attention_sm90a.cu); what follows is the
// portable kernels'.
//
// Chunks lie at fixed absolute positions, so that no sum of a row depends on how long anything else is:
//     chunk i < 8       [128 i, 128 i + 128)
//     chunk 8 + 4o + q  [256·2ᵒ·(4 + q), + 256·2ᵒ),  o ≥ 0, 0 ≤ q < 4
// That is four chunks for every doubling of the context: 8 at 1k, 16 at 4k, 24 at 16k, 32 at 64k. Enough blocks to fill
// a GPU with one row, few enough that their states stay cheaper than the keys they stand for.
//
// State of (row, query head, chunk), with scores s in units of log₂ (scale · log₂e · q·k):
//     m = max s,  l = Σ 2^(s − m),  o[d] = Σ 2^(s − m) v      over the keys of the chunk that the row sees, all fp32
// A tile kernel writes the state of every chunk of which the row sees a key, and no other; the finishing kernel reads
// exactly those. Both ask sees_chunk(), so the workspace needs no initialising and holds no marks.
//
// Work. A tile block is (row block, KV head, chunk): gridDim = (attention_row_blocks(), KV heads, chunks), chunks
// descending with blockIdx.z, so that the longest start first and the tail of the schedule is short; row blocks of one
// KV head stand side by side, so that the second to read a page finds it in L2. A row block is `queries` consecutive
// query rows of one sequence. Query rows of a sequence: its main rows, then its stream rows, each with the `group` query
// heads of the KV head: query i is row i / group, head i mod group.
#pragma once

#include <type_traits>

#include "device/launch.cuh"
#include "device/numbers.cuh"
#include "device/step.cuh"

namespace tributary::device {

// ---------------------------------------------------------------- chunks of keys

inline constexpr int greatest_context = 1 << 30;  // positions, by the front door's limits

// First position of chunk i. (At most 2³¹ − 1: the end of a chunk near greatest_context would be 2³¹.)
constexpr int chunk_begin(int i) {
    if (i < 8) {
        return 128 * i;
    }
    const int64_t begin = (int64_t{256} << ((i - 8) / 4)) * (4 + (i - 8) % 4);
    return begin < 0x7fffffff ? static_cast<int>(begin) : 0x7fffffff;
}

// End of chunk i, exclusive.
constexpr int chunk_end(int i) { return chunk_begin(i + 1); }

// The chunk that holds `position` ≥ 0.
constexpr int chunk_of(int position) {
    if (position < 1024) {
        return position / 128;
    }
    int octave = 0;  // ⌊log₂ position⌋ − 10
#if defined(__CUDA_ARCH__)
    if (!std::is_constant_evaluated()) {
        octave = 21 - __clz(position);
        return 8 + 4 * octave + (position >> (8 + octave)) - 4;
    }
#endif
    while (position >> (octave + 11) != 0) {
        ++octave;
    }
    return 8 + 4 * octave + (position >> (8 + octave)) - 4;
}

// Chunks that hold the positions below `context`.
constexpr int chunk_count(int context) { return context <= 0 ? 0 : chunk_of(context - 1) + 1; }

inline constexpr int greatest_chunk_count = chunk_count(greatest_context);

static_assert(chunk_begin(0) == 0 && chunk_begin(7) == 896 && chunk_end(7) == 1024);
static_assert(chunk_begin(8) == 1024 && chunk_end(8) == 1280 && chunk_end(11) == 2048);
static_assert(chunk_begin(12) == 2048 && chunk_end(12) == 2560 && chunk_end(15) == 4096);
static_assert(chunk_of(0) == 0 && chunk_of(127) == 0 && chunk_of(128) == 1 && chunk_of(1023) == 7);
static_assert(chunk_of(1024) == 8 && chunk_of(1279) == 8 && chunk_of(1280) == 9 && chunk_of(2047) == 11);
static_assert(chunk_of(2048) == 12 && chunk_of(4095) == 15 && chunk_of(4096) == 16);
static_assert(chunk_count(0) == 0 && chunk_count(1) == 1 && chunk_count(1024) == 8 && chunk_count(1025) == 9);
static_assert(chunk_count(16384) == 24 && chunk_count(65536) == 32 && greatest_chunk_count == 88);
static_assert([] {
    for (int i = 0; i < greatest_chunk_count; ++i) {
        const int begin = chunk_begin(i);
        const int end = chunk_end(i);
        if (begin % 128 != 0 || end <= begin || chunk_of(begin) != i || chunk_of(end - 1) != i) {
            return false;
        }
    }
    return true;
}());

// b(p): where the tiles of a row at position p end.
constexpr int border(int position) { return position > TRIB_MAX_DEPTH ? position - TRIB_MAX_DEPTH : 0; }

// Does a row with this border and first visible position see a key of the chunk [begin, end) in its tiles?
constexpr bool sees_chunk(int begin, int end, int row_border, int first_visible) {
    return (first_visible > begin ? first_visible : begin) < (row_border < end ? row_border : end);
}

// Chunks that any row with positions below `context` can need.
constexpr int tile_chunks(int context) { return chunk_count(border(context - 1)); }

// ---------------------------------------------------------------- launch constants

// One call of the operation, as its kernels see it.
struct attention_view {
    step_view step;
    int bound_main;    // selected main rows are at most this many; 0 when main rows are not selected
    int bound_stream;  // selected stream rows likewise
    int q_heads, kv_heads;
    int group;              // q_heads / kv_heads
    int head_dim;           // d, a multiple of 8
    int chunks;             // chunks of one row's states: tile_chunks(bound_context)
    float scale;            // scale · log₂e of scores, at least FLT_MIN: a masked score, −∞, stays one
    const uint16_t* q;      // [R + Q, q_heads, d] of the cache's type
    int64_t q_row, q_head;  // strides, elements
    bool q_pairs;           // every q row of a head begins at an even element
    const uint16_t* cache;  // this layer's pages, [pages][K | V][kv_head][64][d]
    int pages;              // of the cache, in a layer
    float2* state_ml;       // [bound_main + bound_stream, q_heads, chunks] of (m, l)
    float* state_o;         // [bound_main + bound_stream, q_heads, chunks, d]

#if defined(__CUDACC__)
    __device__ int main_rows() const { return min(step.main_rows(), bound_main); }
    __device__ int stream_rows() const { return min(step.stream_rows(), bound_stream); }
    // Index of the state of (row, query head, chunk); state rows are main rows, then stream rows from bound_main.
    __device__ int64_t state(int state_row, int head, int chunk) const {
        return (static_cast<int64_t>(state_row) * q_heads + head) * chunks + chunk;
    }
    // Elements from one page to the next, and from a page's K to its V.
    __device__ int64_t page_stride() const { return static_cast<int64_t>(2) * kv_heads * TRIB_PAGE_TOKENS * head_dim; }
    __device__ int64_t value_offset() const { return static_cast<int64_t>(kv_heads) * TRIB_PAGE_TOKENS * head_dim; }
    // K of page `page`, KV head `kv_head`: [64][d].
    __device__ const uint16_t* keys(int page, int kv_head) const {
        return cache + page * page_stride() + static_cast<int64_t>(kv_head) * TRIB_PAGE_TOKENS * head_dim;
    }
#endif
};

// Row blocks of `queries` query rows that any pass within the bounds can have: Σ ⌈nᵢ / queries⌉ over at most S sequences.
constexpr int64_t attention_row_blocks(int64_t bound_rows, int64_t max_sequences, int64_t group, int64_t queries) {
    const int64_t sequences = bound_rows < max_sequences ? bound_rows : max_sequences;
    return (bound_rows * group - sequences) / queries + sequences;
}
static_assert(attention_row_blocks(0, 4, 4, 64) == 0 && attention_row_blocks(1, 1, 4, 64) == 1);
static_assert(attention_row_blocks(64, 1, 4, 64) == 4 && attention_row_blocks(17, 1, 4, 64) == 2);
static_assert(attention_row_blocks(32, 32, 4, 64) >= 32);

// ---------------------------------------------------------------- work of a tile block

#if defined(__CUDACC__)

// The rows of one sequence, and the block's part of its query rows.
struct attention_item {
    int sequence;
    int main_begin, main_rows;      // main rows of the sequence: buffer rows main_begin, …
    int stream_begin, stream_rows;  // its stream rows: buffer rows R + stream_begin, …
    int first_query;                // the block's first query row
    int queries;                    // and how many it has; 0 = nothing to do
};

// Words of shared memory that find_item() needs.
constexpr int item_scratch_words(int max_sequences) { return max_sequences == 1 ? 0 : max_sequences + 1; }

// Notes in scratch[s], for s up to the count of sequences, the first stream row of sequence s or a later one. `thread` of
// `threads` that share the work; a barrier among them comes before any reads the scratch.
__device__ inline void note_stream_begins(const attention_view& a, int* scratch, int thread, int threads) {
    const step_view& step = a.step;
    const int sequences = step.sequences();
    const int groups = step.gamma > 0 ? a.stream_rows() / step.gamma : 0;
    const int32_t* group_sequence = step.row_sequence + step.max_main_rows;
    for (int i = thread; i <= groups; i += threads) {
        const int before = i == 0 ? -1 : group_sequence[(i - 1) * step.gamma];
        const int here = i == groups ? sequences : group_sequence[i * step.gamma];
        for (int s = max(before + 1, 0); s <= min(here, sequences); ++s) {
            scratch[s] = i * step.gamma;
        }
    }
}

// The work of row block `row_block`, for a whole warp at once. `scratch` as note_stream_begins() left it (unused with
// one sequence). Beyond the last row block the item has no queries, and then `row_blocks`, unless null, receives how many
// there are.
__device__ inline attention_item find_item_of_warp(const attention_view& a, int row_block, int queries,
                                                   const int* scratch, int* row_blocks = nullptr) {
    const step_view& step = a.step;
    const int main_rows = a.main_rows();
    const int stream_rows = a.stream_rows();
    const int sequences = step.sequences();
    attention_item item = {};
    if (step.max_sequences == 1) {
        item.main_rows = sequences > 0 ? main_rows : 0;
        item.stream_rows = sequences > 0 ? stream_rows : 0;
        const int total = (item.main_rows + item.stream_rows) * a.group;
        const int blocks = (total + queries - 1) / queries;
        if (row_block < blocks) {
            item.first_query = row_block * queries;
            item.queries = min(total - item.first_query, queries);
        } else if (row_blocks != nullptr) {
            *row_blocks = blocks;
        }
        return item;
    }
    const int lane = static_cast<int>(threadIdx.x) % 32;
    int blocks_before = 0;
    for (int first = 0; first < sequences; first += 32) {
        const int s = first + lane;
        int main_begin = 0;
        int main_end = 0;
        int stream_begin = 0;
        int stream_end = 0;
        if (s < sequences) {
            main_begin = min(max(step.sequence_rows[s], 0), main_rows);
            main_end = min(max(step.sequence_rows[s + 1], main_begin), main_rows);
            stream_begin = min(max(scratch[s], 0), stream_rows);
            stream_end = min(max(scratch[s + 1], stream_begin), stream_rows);
        }
        const int total = (main_end - main_begin + stream_end - stream_begin) * a.group;
        const int blocks = (total + queries - 1) / queries;
        int through = blocks;  // blocks of sequences first … s
        for (int step_width = 1; step_width < 32; step_width *= 2) {
            const int other = __shfl_up_sync(0xffffffff, through, step_width);
            through += lane >= step_width ? other : 0;
        }
        const unsigned beyond = __ballot_sync(0xffffffff, row_block < blocks_before + through);
        if (beyond != 0) {
            const int owner = __ffs(static_cast<int>(beyond)) - 1;
            item.sequence = first + owner;
            item.main_begin = __shfl_sync(0xffffffff, main_begin, owner);
            item.main_rows = __shfl_sync(0xffffffff, main_end, owner) - item.main_begin;
            item.stream_begin = __shfl_sync(0xffffffff, stream_begin, owner);
            item.stream_rows = __shfl_sync(0xffffffff, stream_end, owner) - item.stream_begin;
            const int begin = blocks_before + __shfl_sync(0xffffffff, through - blocks, owner);
            item.first_query = (row_block - begin) * queries;
            item.queries = min(__shfl_sync(0xffffffff, total, owner) - item.first_query, queries);
            return item;
        }
        blocks_before += __shfl_sync(0xffffffff, through, 31);
    }
    if (row_blocks != nullptr) {
        *row_blocks = blocks_before;
    }
    return item;
}

// The work of row block `row_block`. Called by all threads of a block, after wait_for_predecessor(); blockDim.x is a
// multiple of 32. `scratch`: shared, [item_scratch_words(S)], free again after the caller's next barrier.
//
// One sequence needs the counts only: one read. Several need the prefix sum of their row blocks: each thread looks at
// a few groups of stream rows and notes where sequences begin, then each warp adds up 32 sequences at a time. No thread
// follows a chain of dependent reads, which is what a binary search would be.
__device__ inline attention_item find_item(const attention_view& a, int row_block, int queries, int* scratch) {
    if (a.step.max_sequences > 1) {
        note_stream_begins(a, scratch, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
        __syncthreads();
    }
    return find_item_of_warp(a, row_block, queries, scratch);
}

// One query row of a block.
struct attention_query {
    int row;        // buffer row
    int state_row;  // row of the states
    int head;       // q head within the KV head's group
    int border;     // its tile keys are first_visible … border − 1
    int first_visible;
};

// Query row i of the block, 0 ≤ i < item.queries.
__device__ inline attention_query find_query(const attention_view& a, const attention_item& item, int i) {
    const int query = item.first_query + i;
    const int row = query / a.group;
    const bool main = row < item.main_rows;
    const int stream = item.stream_begin + row - item.main_rows;
    attention_query result;
    result.head = query - row * a.group;
    result.row = main ? item.main_begin + row : a.step.max_main_rows + stream;
    result.state_row = main ? result.row : a.bound_main + stream;
    result.border = border(a.step.row_position[result.row]);
    result.first_visible = a.step.row_first_visible[result.row];
    return result;
}

#endif

// ---------------------------------------------------------------- strands of keys (sm_90a)

// Tile t of 128 keys belongs to strand t mod 8.
inline constexpr int attention_strands = 8;
inline constexpr int strand_tile = 128;

// Tiles of strands that any row with positions below `context` can need.
constexpr int strand_tile_count(int context) { return (border(context - 1) + strand_tile - 1) / strand_tile; }
static_assert(strand_tile_count(1) == 0 && strand_tile_count(17) == 0 && strand_tile_count(18) == 1);

// ---------------------------------------------------------------- launching

// The head sizes for which multi_stream_attention_sm90a.cu has tiles (kept in step with that file).
constexpr bool has_hopper_tiles(int head_dim) {
    return head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128;
}

// Enqueue the kernel that writes the states of every chunk; `dtype` is the cache's. a.chunks > 0. What tile shape and
// how many row blocks a launch has is its own affair; a row's bits may not depend on it.
trib_status launch_attention_tiles(context& context, const attention_view& a, uint32_t dtype);

// What the kernel for Hopper takes besides.
struct hopper_attention {
    uint64_t workspace;  // attention_workspace_sm90a() bytes
    uint64_t next_read;
    uint64_t next_read_bytes;
};
struct finish_view;
// Enqueue the whole operation; a.chunks is strand_tile_count(). Absent (null) from a library that was built without Hopper's
// kernels.
[[gnu::weak]] trib_status launch_attention_sm90a(context& context, const attention_view& a, const finish_view& f,
                                                 uint32_t dtype, const hopper_attention& more);
// Bytes of workspace for so many rows.
[[gnu::weak]] uint64_t attention_workspace_sm90a(int64_t rows, int64_t max_sequences, int64_t group, int64_t kv_heads,
                                                 int head_dim);

}  // namespace tributary::device
