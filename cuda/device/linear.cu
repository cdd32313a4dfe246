// SPDX-License-Identifier: Apache-2.0
//
// y = epilogue(x Wᵀ + bias + scale · B (A x)) on the portable path, and what surrounds the product on every path: rows of
// x in the weight's type, A x of the adapters, workspace.
//
// The product. A block computes 64 weight rows × up to 256 rows of x; its warps hold D in registers. Work is cut into
// units of 64 weight rows × 64 columns, 8 KiB of weights, and each block (one a multiprocessor) takes one contiguous
// range of units: a tail of one row of units, whole rows, a head of another. So all multiprocessors read the same number
// of bytes whatever the shape, e.g. 31 or 32 units of the 4,096 that 4096 × 4096 has, where 64 blocks of whole rows
// would leave half of 132 multiprocessors idle. Pieces of one row of units meet through memory, see join_pieces.
//
// What bounds it: one unit is 8 KiB of weights from memory and 128·M bytes of x from the second-level cache, for
// 2·64·64·M FLOP. Up to some 64 rows the weights are everything: at 4.2 TB/s over 132 multiprocessors a unit takes
// 257 ns, and by Little's law 32 B/ns × 1 µs of latency = 32 KiB must be under way on each. The ring of 4 to 10 stages
// holds up to 80 KiB of weights, filled before the block waits for the kernel ahead of it: weights are constants.
// At 256 rows x is 32 KiB a unit and arithmetic binds.
//
// Tiles: M by the bound on rows, 8 … 256. From 64 rows warps stand 2 × 4, 32 weight rows each, so that a fragment of x
// serves two products and shared memory delivers 12 KiB a warp where 4 × 2 would take 18.
//
// The bits of a row: mma.m16n8k16 in ascending K from zero within a range; ranges are a function of N, K and the number
// of multiprocessors; pieces are added in ascending K. Tiles and rows change none of it.
#include "device/linear.cuh"

#include "device/operations.hpp"
#include "device/product.cuh"

namespace tributary::device {
namespace {

constexpr uint64_t alignment = 128;

uint64_t aligned(uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// ---------------------------------------------------------------- rows of x

struct convert_params {
    const void* x;
    uint32_t x_dtype;
    int64_t x_stride;  // elements
    int columns, padded_columns;
    row_map rows;
    int first_row;
    void* out;    // [dense row, padded_columns], zero beyond columns
    bool vector;  // rows of x begin at multiples of 16 bytes
};

constexpr int convert_threads = 128;

// Gathers rows of x in the weight's type: a thread, eight columns. Bound by launch and latency; M·K·6 bytes.
template <class T>
__global__ void __launch_bounds__(convert_threads) convert_kernel(const __grid_constant__ convert_params p) {
    allow_successor();
    wait_for_predecessor();
    const auto found = p.rows.read();
    const int row = p.first_row + static_cast<int>(blockIdx.y);
    const int column = (static_cast<int>(blockIdx.x) * convert_threads + static_cast<int>(threadIdx.x)) * 8;
    if (row >= found.count || column >= p.padded_columns) {
        return;
    }
    const int64_t from = static_cast<int64_t>(p.rows.source(found, row)) * p.x_stride;
    auto* to = static_cast<T*>(p.out) + static_cast<int64_t>(row) * p.padded_columns + column;
    const bool whole = p.vector && column + 8 <= p.columns;
    if (p.x_dtype != TRIB_DTYPE_F32 && whole) {
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(static_cast<const T*>(p.x) + from + column);
        return;
    }
    float values[8];
    if (whole) {
        const auto* x = reinterpret_cast<const float4*>(static_cast<const float*>(p.x) + from + column);
        const float4 low = x[0];
        const float4 high = x[1];
        values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
        values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            values[i] = column + i < p.columns ? load_element(p.x, p.x_dtype, from + column + i) : 0.0F;
        }
    }
    const uint4 packed = {pack2<T>(values[0], values[1]), pack2<T>(values[2], values[3]),
                          pack2<T>(values[4], values[5]), pack2<T>(values[6], values[7])};
    *reinterpret_cast<uint4*>(to) = packed;
}

// ---------------------------------------------------------------- A x

// Asks the second-level cache for this block's share of A of the first adapters: constants, wanted as soon as the kernel
// ahead has left.
__device__ __forceinline__ void fetch_down(const product_params& p, int part, int rank_tile) {
    constexpr int most_adapters = 4;
    constexpr int line = 128;
    for (int adapter = 0; adapter < min(p.lora.adapters, most_adapters); ++adapter) {
        const trib_lora& entry = p.lora.table[static_cast<int64_t>(adapter) * p.lora.parts + part];
        if (16 * rank_tile >= static_cast<int>(entry.rank)) {
            continue;
        }
        // 16 rows of a block of 64 columns are 16 lines on end.
        const packed_view a = {reinterpret_cast<const char*>(entry.a), 0, p.columns, 0, false};
        const auto lines = static_cast<int>(16 * a.column_blocks());
        const auto step = static_cast<int>(gridDim.x * blockDim.x);
        for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < lines; i += step) {
            const char* at = a.blocks + a.chunk_offset(16 * rank_tile, 8 * (i / 16)) + i % 16 * line;
            asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
        }
    }
}

// A barrier of the blocks of a cluster; of one block, when that is all.
template <int blocks>
__device__ __forceinline__ void synchronize_down() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (blocks > 1) {
        asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
        return;
    }
#endif
    __syncthreads();
}

// Where block `rank` of the cluster has what stands at `shared` in this block.
template <int blocks>
__device__ __forceinline__ const float* of_block(const float* shared, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (blocks > 1) {
        const float* there;
        asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(shared), "r"(rank));
        return there;
    }
#endif
    return shared;
}

// Blocks among which the chains of 8 rows are divided: a cluster on the Hopper path, else one.
constexpr int down_cluster = 4;

// inner = A x, rounded, for rows with an adapter, and row_adapter. 8 rows × one part × 16 of the rank are the work of
// `blocks` blocks, a warp a chain. Bytes: 32·K of A and 16·K of x, from the second-level cache, of which one multiprocessor
// gets some 64 bytes a clock: K = 11008 would keep it busy for 5 µs, and 160 rows are 20 such blocks for 132
// multiprocessors. So four share them. The product waits for this kernel, so what counts is the row of loads that depend
// on one another: counts and segments, then x beside A, eight slabs of 32 columns a warp together, then the sum of the
// chains, in their order whoever has them.
template <class T, int blocks>
__global__ void __launch_bounds__(down_chains / blocks * 32, 1)
    lora_down_kernel(const __grid_constant__ product_params p) {
    constexpr int own_chains = down_chains / blocks;
    __shared__ float sums[own_chains][4][32];
    const lora_view& lora = p.lora;
    const int rank_of_block = static_cast<int>(blockIdx.x) % blocks;
    const int part = static_cast<int>(blockIdx.y);
    const int rank_tile = static_cast<int>(blockIdx.z);
    fetch_down(p, part, rank_tile);
    allow_successor();
    wait_for_predecessor();
    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    const int lane = thread % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    // Four lanes look for the adapter of row g. The first segments are asked for together with the counts.
    const bool any = t < lora.max_segments;
    const int32_t* at = lora.segments + 3 * t;
    int begin = any ? at[0] : 0;
    int end = any ? at[1] : 0;
    int adapter = any ? at[2] : -1;
    const int segments = min(max(*lora.segment_count, 0), lora.max_segments);
    const auto found = p.rows.read();
    const int first = static_cast<int>(blockIdx.x) / blocks * 8;
    if (first >= found.count) {
        return;
    }
    const int row = first + g < found.count ? p.rows.place(found, first + g) : -1;
    int own = -1;
    for (int s = t; s < segments; s += 4) {
        if (s != t) {
            at = lora.segments + 3 * s;
            begin = at[0], end = at[1], adapter = at[2];
        }
        if (row >= begin && row < end) {
            own = adapter < lora.adapters ? adapter : -1;
        }
    }
    own = max(own, __shfl_xor_sync(0xffffffffU, own, 1));
    own = max(own, __shfl_xor_sync(0xffffffffU, own, 2));
    if (part == 0 && rank_tile == 0 && rank_of_block == 0 && warp == 0 && t == 0 && row >= 0) {
        lora.row_adapter[first + g] = own;
    }
    const char* x = own >= 0 ? p.x + p.rows.source(found, first + g) * p.x_stride : nullptr;
    // Every warp finds the same adapters in the same order.
    uint32_t pending = __ballot_sync(0xffffffffU, own >= 0);
    while (pending != 0) {
        const int turn = __shfl_sync(0xffffffffU, own, __ffs(static_cast<int>(pending)) - 1);
        pending &= ~__ballot_sync(0xffffffffU, own == turn);
        const trib_lora& entry = lora.table[static_cast<int64_t>(turn) * lora.parts + part];
        if (16 * rank_tile >= static_cast<int>(entry.rank)) {
            continue;
        }
        float d[4];
        multiply_down<T, 8>(d, entry, own == turn ? x : nullptr, p.columns, rank_tile,
                            rank_of_block * own_chains + warp);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            sums[warp][i][lane] = d[i];
        }
        synchronize_down<blocks>();
        // Element `warp` of the fragments: rank g or g + 8, rows 2 t and 2 t + 1.
        const int column = 2 * t + warp % 2;
        const int column_adapter = __shfl_sync(0xffffffffU, own, 4 * column);
        if (rank_of_block == 0 && warp < 4 && column_adapter == turn) {
            float of_chain[down_chains];
#pragma unroll
            for (int chain = 0; chain < down_chains; ++chain) {
                of_chain[chain] = *of_block<blocks>(&sums[chain % own_chains][warp][lane], chain / own_chains);
            }
            float sum = of_chain[0];
#pragma unroll
            for (int chain = 1; chain < down_chains; ++chain) {
                sum = __fadd_rn(sum, of_chain[chain]);
            }
            const int64_t to = (static_cast<int64_t>(first + column) * lora.parts + part) * lora.inner_stride +
                               16 * rank_tile + g + warp / 2 * 8;
            static_cast<T*>(lora.inner)[to] = from_float<T>(sum);
        }
        synchronize_down<blocks>();
    }
}

// ---------------------------------------------------------------- the product

template <int m>
struct tiling {
    static constexpr int warp_rows = m >= 64 ? 2 : 4;  // warps along the weight's rows
    static constexpr int warp_columns = m >= 64 ? 4 : (m >= 16 ? 2 : 1);
    static constexpr int threads = 32 * warp_rows * warp_columns;
    static constexpr int mi = 4 / warp_rows;
    static constexpr int ni = m / (8 * warp_columns);
    static constexpr int stage_bytes = block_bytes + m * 128;
    // Up to 128 rows within the 99 KiB that every chip offers.
    static constexpr int stages = m == 8 ? 10 : m == 16 ? 9 : m == 32 ? 8 : m == 64 ? 6 : 4;
    static constexpr int shared_bytes = stages * stage_bytes;
};

__device__ __forceinline__ void copy_16(uint32_t shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}

__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Address of 16-byte chunk `chunk` of row `row` of a swizzled tile of 128-byte rows.
__device__ __forceinline__ uint32_t swizzled(uint32_t tile, int row, int chunk) {
    return tile + static_cast<uint32_t>(row * 128 + ((chunk ^ (row & 7)) << 4));
}

template <class T, int m>
__global__ void __launch_bounds__(tiling<m>::threads, 1) product_kernel(const __grid_constant__ product_params p) {
    using tile = tiling<m>;
    constexpr int stages = tile::stages;
    constexpr int mi = tile::mi;
    constexpr int ni = tile::ni;
    extern __shared__ __align__(128) char ring[];
    __shared__ int32_t source[m];
    __shared__ int32_t target[m];
    __shared__ int32_t adapter[m];
    __shared__ int flag;

    const int thread = static_cast<int>(threadIdx.x);
    const int warp = thread / 32;
    const int lane = thread % 32;
    const int warp_row = warp % tile::warp_rows * (16 * mi);
    const int warp_column = warp / tile::warp_rows * (8 * ni);
    const auto ring_address = static_cast<uint32_t>(__cvta_generic_to_shared(ring));
    const auto range = static_cast<int>(blockIdx.x);
    const int64_t begin = p.cut.begin(range);
    const auto units = static_cast<int>(p.cut.begin(range + 1) - begin);

    const auto load_weights = [&](int unit, int stage) {
        const char* from = p.blocks + (begin + unit) * block_bytes;
        const uint32_t to = ring_address + static_cast<uint32_t>(stage * tile::stage_bytes);
#pragma unroll
        for (int i = thread; i < block_bytes / 16; i += tile::threads) {
            copy_16(to + static_cast<uint32_t>(16 * i), from + 16 * i, 16);
        }
    };
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
        if (i < units) {
            load_weights(i, i);
        }
    }

    allow_successor();
    wait_for_predecessor();
    const auto found = p.rows.read();
    const int columns = min(found.count - p.first_row, m);
    if (columns <= 0) {
        asm volatile("cp.async.wait_all;" ::: "memory");
        return;
    }
    for (int i = thread; i < m; i += tile::threads) {
        const bool valid = i < columns;
        source[i] = valid ? p.rows.source(found, p.first_row + i) : 0;
        target[i] = valid ? p.rows.target(found, p.first_row + i) : 0;
        adapter[i] = valid && p.lora.table != nullptr ? p.lora.row_adapter[p.first_row + i] : -1;
    }
    if (p.lora.table != nullptr) {
        warm_inner(p, columns, thread, tile::threads);
    }
    __syncthreads();

    const auto column_of = [&](int unit) { return static_cast<int>((begin + unit) % p.column_blocks); };
    // Rows of x beyond `columns` are never loaded: they are columns of D that nobody reads.
    const auto load_x = [&](int unit, int stage) {
        const int k = column_of(unit);
        const uint32_t to = ring_address + static_cast<uint32_t>(stage * tile::stage_bytes + block_bytes);
#pragma unroll
        for (int i = thread; i < 8 * m; i += tile::threads) {
            const int row = i / 8;
            const int chunk = i % 8;
            if (row < columns) {
                const bool inside = k * block_columns + chunk * 8 < p.columns;
                const char* from = p.x + source[row] * p.x_stride + (inside ? k * 128 + chunk * 16 : 0);
                copy_16(swizzled(to, row, chunk), from, inside ? 16 : 0);
            }
        }
    };
    const auto commit = [] { asm volatile("cp.async.commit_group;" ::: "memory"); };
    // The first group also holds the weights of all these stages.
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
        if (i < units) {
            load_x(i, i);
        }
        commit();
    }

    float d[mi * ni * 4];
#pragma unroll
    for (int i = 0; i < mi * ni * 4; ++i) {
        d[i] = 0.0F;
    }
    int stage = 0;
    for (int unit = 0; unit < units; ++unit) {
        asm volatile("cp.async.wait_group %0;" ::"n"(stages - 2) : "memory");
        // Everybody's copies of this stage are there, and everybody is done with the stage before it, which comes next.
        __syncthreads();
        {
            const int next = unit + stages - 1;
            const int to = stage == 0 ? stages - 1 : stage - 1;
            if (next < units) {
                load_weights(next, to);
                load_x(next, to);
            }
            commit();
        }
        const uint32_t weights = ring_address + static_cast<uint32_t>(stage * tile::stage_bytes);
        const uint32_t x = weights + block_bytes;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            uint32_t a[mi][4];
#pragma unroll
            for (int i = 0; i < mi; ++i) {
                load_matrices(a[i], swizzled(weights, warp_row + 16 * i + lane % 16, 2 * k + lane / 16));
            }
            if constexpr (ni == 1) {
                // The chunks of this k and of the next; only this k's are used.
                uint32_t b[4];
                load_matrices(b, swizzled(x, warp_column + lane % 8, (2 * k + lane / 8) % 8));
#pragma unroll
                for (int i = 0; i < mi; ++i) {
                    multiply_16x8<T>(reinterpret_cast<float(&)[4]>(d[i * 4]), a[i][0], a[i][1], a[i][2], a[i][3], b[0],
                                     b[1]);
                }
            } else {
#pragma unroll
                for (int n = 0; n < ni; n += 2) {
                    if (warp_column + 8 * n < columns) {
                        uint32_t b[4];
                        load_matrices(
                            b, swizzled(x, warp_column + 8 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
                        for (int i = 0; i < mi; ++i) {
                            multiply_16x8<T>(reinterpret_cast<float(&)[4]>(d[(i * ni + n) * 4]), a[i][0], a[i][1],
                                             a[i][2], a[i][3], b[0], b[1]);
                            multiply_16x8<T>(reinterpret_cast<float(&)[4]>(d[(i * ni + n + 1) * 4]), a[i][0], a[i][1],
                                             a[i][2], a[i][3], b[2], b[3]);
                        }
                    }
                }
            }
        }
        stage = stage == stages - 1 ? 0 : stage + 1;
        if (unit + 1 < units && column_of(unit) + 1 < p.column_blocks) {
            continue;
        }
        const auto row_block = static_cast<int>((begin + unit) / p.column_blocks);
        const int first = p.cut.first_range(row_block);
        const int last = p.cut.last_range(row_block);
        // A range leaves at most two pieces: of the row of units that it ends, and of the one that it begins.
        const auto piece = [&](int of) {
            return p.partials + (static_cast<int64_t>(of) * 2 + (of == first ? 1 : 0)) * (64 * m);
        };
        const bool complete = join_pieces<mi * ni * 4, ni, tile::threads>(d, columns - warp_column, first, last, range,
                                                                          p.counters + row_block, &flag, thread, piece,
                                                                          [] { __syncthreads(); });
        if (complete) {
            const warp_tile<mi, ni> at = {
                row_block * block_rows + warp_row, warp_column, columns, target, adapter, inner_of<T>(p), 0};
            write_outputs<T, mi, ni>(p, at, d);
        }
#pragma unroll
        for (int i = 0; i < mi * ni * 4; ++i) {
            d[i] = 0.0F;
        }
    }
}

// ---------------------------------------------------------------- launches

// One product with everything around it.
struct whole_product {
    packed_view weight;
    const void* x;
    uint32_t x_dtype;
    int64_t x_stride;  // elements
    bool x_direct;     // x goes to the product as it is
    row_map rows;
    int bound;         // greatest rows
    product_params p;  // epilogue and LoRA filled in
};

int portable_ranges(const context& context, int64_t units) {
    // At least two units each, so that short sums are not cut for nothing.
    const int64_t wanted = ceil_div<int64_t>(units, 2);
    return static_cast<int>(wanted < context.multiprocessors ? wanted : context.multiprocessors);
}

constexpr int tile_rows[] = {8, 16, 32, 64, 128, 256};

int tile_for(const context& context, int rows) {
    int chosen = 8;
    for (const int m : tile_rows) {
        if (m == 256 && context.shared_memory < tiling<256>::shared_bytes + 8 * 1024) {
            break;
        }
        chosen = m;
        if (m >= rows) {
            break;
        }
    }
    return chosen;
}

template <class T>
trib_status launch_tile(context& context, const char* operation, int m, const product_params& p) {
    const dim3 grid(static_cast<unsigned>(p.cut.ranges));
    const auto run = [&]<int rows>() {
        using tile = tiling<rows>;
        return launch(context, operation, product_kernel<T, rows>,
                      {.grid = grid, .block = dim3(tile::threads), .shared_memory = tile::shared_bytes}, p);
    };
    switch (m) {
        case 8: return run.template operator()<8>();
        case 16: return run.template operator()<16>();
        case 32: return run.template operator()<32>();
        case 64: return run.template operator()<64>();
        case 128: return run.template operator()<128>();
        default: return run.template operator()<256>();
    }
}

trib_status portable_product(context& context, const char* operation, product_params p, uint32_t dtype, int bound) {
    p.cut = {p.row_blocks * p.column_blocks, 0, p.column_blocks};
    p.cut.ranges = portable_ranges(context, p.cut.units);
    for (int first = 0; first < bound;) {
        const int m = tile_for(context, bound - first);
        p.first_row = first;
        const trib_status status = dtype == TRIB_DTYPE_BF16 ? launch_tile<bf16>(context, operation, m, p)
                                                            : launch_tile<f16>(context, operation, m, p);
        if (status != TRIB_OK) {
            return status;
        }
        first += m;
    }
    return TRIB_OK;
}

bool uses_hopper(const context& context) { return context.path == code_path::hopper && hopper_product != nullptr; }

// Bytes of pieces for up to `rows` rows.
uint64_t partial_bytes(const context& context, const packed_view& weight, int64_t rows) {
    if (uses_hopper(context)) {
        const uint64_t few = hopper_partial_bytes(context, weight, rows < 64 ? rows : 64);
        const uint64_t many =
            hopper_is_wide(static_cast<int>(rows)) ? hopper_large_partial_bytes(context, weight, rows) : 0;
        return few > many ? few : many;
    }
    constexpr int64_t most = 256;
    const int m = tile_for(context, static_cast<int>(rows < most ? rows : most));
    const int ranges = portable_ranges(context, weight.row_blocks() * weight.column_blocks());
    return static_cast<uint64_t>(ranges) * 2 * 64 * static_cast<uint64_t>(m) * sizeof(float);
}

int64_t padded_columns(const packed_view& weight) { return weight.column_blocks() * block_columns; }

// Whether rows of x can be copied 16 bytes at a time as they are.
bool is_direct(const packed_view& weight, uint32_t x_dtype, int64_t x_rows, int64_t x_stride) {
    return x_dtype == weight.dtype && weight.columns % 8 == 0 && (x_rows == 1 || x_stride % 8 == 0);
}

// Whether x goes to the product as it is: rows that can be copied 16 bytes at a time, and by runs where many are wanted.
bool goes_direct(const context& context, bool direct, bool by_index, int64_t rows) {
    constexpr int64_t most = 256;
    return direct && !(by_index && uses_hopper(context) && hopper_is_wide(static_cast<int>(rows < most ? rows : most)));
}

// Offsets into a product's workspace, by the capacity of rows.
struct workspace_plan {
    uint64_t row_adapter = 0, inner = 0, partials = 0, bytes = 0;
    int inner_stride = 0;

    // Rows of x stand first unless they go as they are.
    workspace_plan(const context& context, const packed_view& weight, int64_t rows, bool direct, uint32_t adapters,
                   uint32_t parts, uint32_t max_rank) {
        const auto count = static_cast<uint64_t>(rows);
        row_adapter = direct ? 0 : aligned(count * static_cast<uint64_t>(padded_columns(weight)) * 2);
        inner = partials = row_adapter;
        if (adapters != 0) {
            inner_stride = static_cast<int>(ceil_div(max_rank, 16U) * 16);
            inner = aligned(row_adapter + count * sizeof(int32_t));
            partials = aligned(inner + count * parts * static_cast<uint64_t>(inner_stride) * 2);
        }
        bytes = aligned(partials + partial_bytes(context, weight, rows));
    }
};

trib_status convert(context& context, const char* operation, uint32_t dtype, convert_params c, int rows) {
    const int width = ceil_div(c.padded_columns, convert_threads * 8);
    constexpr int most_rows = 65535;  // of a grid's second dimension
    const int end = c.first_row + rows;
    for (; c.first_row < end; c.first_row += most_rows) {
        const int count = end - c.first_row < most_rows ? end - c.first_row : most_rows;
        const launch_shape shape = {.grid = dim3(static_cast<unsigned>(width), static_cast<unsigned>(count)),
                                    .block = dim3(convert_threads)};
        const trib_status status = dtype == TRIB_DTYPE_BF16 ? launch(context, operation, convert_kernel<bf16>, shape, c)
                                                            : launch(context, operation, convert_kernel<f16>, shape, c);
        if (status != TRIB_OK) {
            return status;
        }
    }
    return TRIB_OK;
}

trib_status run_lora_down(context& context, const trib_linear_params& params, const product_params& p, int bound) {
    const auto launch_with = [&]<int blocks>() {
        const launch_shape shape = {
            .grid =
                dim3(static_cast<unsigned>(ceil_div(bound, 8) * blocks), params.parts, ceil_div(params.max_rank, 16U)),
            .block = dim3(down_chains / blocks * 32),
            .cluster = blocks,
        };
        return params.weight.dtype == TRIB_DTYPE_BF16
                   ? launch(context, "linear", lora_down_kernel<bf16, blocks>, shape, p)
                   : launch(context, "linear", lora_down_kernel<f16, blocks>, shape, p);
    };
    return uses_hopper(context) ? launch_with.template operator()<down_cluster>()
                                : launch_with.template operator()<1>();
}

// The operands of a product, gathered first where they must be.
trib_status prepare_operands(context& context, const char* operation, whole_product& w, const workspace_plan& plan,
                             char* workspace) {
    product_params& p = w.p;
    const uint32_t dtype = w.weight.dtype;
    p.rows = w.rows;
    p.blocks = w.weight.blocks;
    p.row_blocks = w.weight.row_blocks();
    p.column_blocks = static_cast<int>(w.weight.column_blocks());
    p.counters = context.counters;
    p.partials = reinterpret_cast<float*>(workspace + plan.partials);
    if (p.row_blocks > counter_words) {
        return fail(TRIB_UNSUPPORTED, "%s: weight has %lld rows, expected at most %d", operation,
                    static_cast<long long>(w.weight.rows), counter_words * block_rows);
    }
    const int64_t stride = w.rows.x_rows == 1 ? 0 : w.x_stride;
    p.x = static_cast<const char*>(w.x);
    p.x_stride = stride * 2;
    p.x_rows = w.rows.x_rows;
    p.columns = static_cast<int>(w.weight.columns);
    if (w.x_direct) {
        return TRIB_OK;
    }
    const convert_params c = {
        .x = w.x,
        .x_dtype = w.x_dtype,
        .x_stride = stride,
        .columns = p.columns,
        .padded_columns = static_cast<int>(padded_columns(w.weight)),
        .rows = w.rows,
        .out = workspace,
        .vector = stride % (w.x_dtype == TRIB_DTYPE_F32 ? 4 : 8) == 0,
    };
    p.x = workspace;
    p.x_stride = int64_t{c.padded_columns} * 2;
    p.x_rows = w.bound;
    p.columns = c.padded_columns;
    p.rows.dense_x = true;
    return convert(context, operation, dtype, c, w.bound);
}

trib_status multiply(context& context, const char* operation, const whole_product& w) {
    if (!uses_hopper(context)) {
        return portable_product(context, operation, w.p, w.weight.dtype, w.bound);
    }
    return hopper_is_wide(w.bound) ? hopper_large_product(context, operation, w.p, w.weight.dtype, w.bound)
                                   : hopper_product(context, operation, w.p, w.weight.dtype, w.bound);
}

row_map selected_rows(const trib_step& step, uint32_t rows, int bound, int64_t x_rows) {
    return {
        .counts = pointer<const int32_t>(step.counts),
        .max_main_rows = static_cast<int>(step.max_main_rows),
        .max_stream_rows = static_cast<int>(step.max_stream_rows),
        .rows = rows,
        .max_rows = bound,
        .x_rows = static_cast<int>(x_rows),
    };
}

bool is_direct(const packed_view& weight, const trib_tensor& x) {
    return is_direct(weight, x.dtype, x.shape[1], x.stride[1]);
}

}  // namespace

uint64_t product_rows_workspace(const context& context, const packed_view& weight, int64_t capacity_rows) {
    return workspace_plan(context, weight, capacity_rows, false, 0, 1, 0).bytes;
}

trib_status product_rows(context& context, const char* operation, const row_product& product) {
    if (product.max_rows == 0) {
        return TRIB_OK;
    }
    const packed_view& weight = product.weight;
    whole_product w = {
        .weight = weight,
        .x = product.x,
        .x_dtype = product.x_dtype,
        .x_stride = product.x_stride,
        .x_direct = goes_direct(context, is_direct(weight, product.x_dtype, product.x_rows, product.x_stride),
                                product.index != nullptr, product.max_rows),
        .rows = {.index = product.index,
                 .row_count = product.count,
                 .max_rows = product.max_rows,
                 .x_rows = static_cast<int>(product.x_rows),
                 .dense_x = product.index == nullptr,
                 .dense_y = true},
        .bound = product.max_rows,
    };
    const workspace_plan plan(context, weight, product.max_rows, w.x_direct, 0, 1, 0);
    auto* workspace = static_cast<char*>(product.workspace);
    w.p.outputs = static_cast<int>(weight.rows);
    w.p.y = product.y;
    w.p.y_f32 = product.y_dtype == TRIB_DTYPE_F32;
    w.p.y_stride = product.y_stride;
    if (const trib_status status = prepare_operands(context, operation, w, plan, workspace); status != TRIB_OK) {
        return status;
    }
    return multiply(context, operation, w);
}

uint64_t head_product_workspace(const context& context, const packed_view& weight, const trib_tensor& x,
                                int64_t capacity_rows) {
    // Whether an index comes with a pass is not known yet.
    const bool direct = goes_direct(context, is_direct(weight, x), true, capacity_rows);
    return workspace_plan(context, weight, capacity_rows, direct, 0, 1, 0).bytes;
}

trib_status multiply_head(context& context, const char* operation, const head_product& head) {
    const packed_view& weight = head.weight;
    whole_product w = {
        .weight = weight,
        .x = pointer<const void>(head.x.address),
        .x_dtype = head.x.dtype,
        .x_stride = head.x.stride[1],
        .x_direct = goes_direct(context, is_direct(weight, head.x), head.index != nullptr, head.max_rows),
        .bound = head.max_rows,
    };
    if (head.index == nullptr) {
        w.rows = selected_rows(*head.step, head.rows, head.max_rows, head.x.shape[1]);
        w.rows.dense_y = !head.y_at_place;
    } else {
        w.rows = {.index = head.index,
                  .row_count = head.count,
                  .max_rows = head.max_rows,
                  .x_rows = static_cast<int>(head.x.shape[1]),
                  .dense_y = true};
    }
    const workspace_plan plan(context, weight, head.max_rows, w.x_direct, 0, 1, 0);
    auto* workspace = static_cast<char*>(head.workspace);
    w.p.outputs = static_cast<int>(weight.rows);
    w.p.y = head.y;
    w.p.y_f32 = true;
    w.p.y_stride = head.y_stride;
    if (const trib_status status = prepare_operands(context, operation, w, plan, workspace); status != TRIB_OK) {
        return status;
    }
    return multiply(context, operation, w);
}

uint64_t linear_workspace(const context& context, const trib_linear_params& params) {
    const packed_view weight = view_packed(params.weight);
    return workspace_plan(context, weight, params.x.shape[1], is_direct(weight, params.x), params.adapters,
                          params.parts, params.max_rank)
        .bytes;
}

trib_status linear(context& context, const trib_linear_params& params) {
    const packed_view weight = view_packed(params.weight);
    const int bound = bound_rows(*params.step, params.rows);
    if (bound == 0) {
        return TRIB_OK;
    }
    whole_product w = {
        .weight = weight,
        .x = pointer<const void>(params.x.address),
        .x_dtype = params.x.dtype,
        .x_stride = params.x.stride[1],
        .x_direct = is_direct(weight, params.x),
        .rows = selected_rows(*params.step, params.rows, bound, params.x.shape[1]),
        .bound = bound,
    };
    const workspace_plan plan(context, weight, params.x.shape[1], w.x_direct, params.adapters, params.parts,
                              params.max_rank);
    auto* workspace = pointer<char>(params.workspace);
    product_params& p = w.p;
    p.gate = weight.gate;
    p.outputs = static_cast<int>(params.y.shape[2]);
    p.bias = pointer<const void>(params.bias.address);
    p.bias_dtype = params.bias.dtype;
    p.y = pointer<void>(params.y.address);
    p.y_f32 = params.y.dtype == TRIB_DTYPE_F32;
    p.y_stride = params.y.stride[1];
    p.residual = params.epilogue == TRIB_EPILOGUE_RESIDUAL;
    trib_status status = prepare_operands(context, "linear", w, plan, workspace);
    if (status == TRIB_OK && params.adapters != 0) {
        p.lora = {
            .table = pointer<const trib_lora>(params.lora_table),
            .row_adapter = reinterpret_cast<int32_t*>(workspace + plan.row_adapter),
            .inner = workspace + plan.inner,
            .inner_stride = plan.inner_stride,
            .parts = static_cast<int>(params.parts),
            .adapters = static_cast<int>(params.adapters),
            .segments = pointer<const int32_t>(params.segments),
            .segment_count = pointer<const int32_t>(params.segment_count),
            .max_segments = static_cast<int>(params.max_segments),
        };
        for (uint32_t part = 0; part < TRIB_MAX_PARTS; ++part) {
            p.lora.part_begin[part + 1] =
                p.lora.part_begin[part] + (part < params.parts ? params.part_columns[part] : 0);
        }
        status = run_lora_down(context, params, p, bound);
    }
    return status == TRIB_OK ? multiply(context, "linear", w) : status;
}

}  // namespace tributary::device
