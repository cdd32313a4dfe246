// SPDX-License-Identifier: Apache-2.0
//
// Moves the K/V of an accepted path to consecutive slots, all layers: path[i] from slot L + path[i] to slot L + i. Per
// layer, K or V, and head the whole path is read before anything is written. Bound by memory: at most
// 2 · 17 · 2 · layers · kv_heads · d · 2 bytes a sequence, mostly far fewer, since an entry in place is left alone.
#include "host/operations.hpp"
#include "host/step.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr int max_head_dim = 256;

}  // namespace

uint64_t commit_path_workspace(const context&, const trib_commit_path_params&) { return 0; }

trib_status commit_path(context& context, const trib_commit_path_params& params) {
    step_view step{};
    if (const trib_status status = read_step("commit_path", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const trib_kv_cache& cache = params.cache;
    const int d = static_cast<int>(cache.head_dim);
    const int kv_heads = static_cast<int>(cache.kv_heads);
    const int layers = static_cast<int>(cache.layers);
    const int64_t head_size = static_cast<int64_t>(TRIB_PAGE_TOKENS) * d;
    const int64_t page_size = 2 * kv_heads * head_size;
    const int64_t layer_size = cache.pages * page_size;
    const size_t token_bytes = static_cast<size_t>(d) * sizeof(uint16_t);
    const int32_t* accepted_count = pointer<const int32_t>(params.accepted_count);
    const int32_t* accepted_node = pointer<const int32_t>(params.accepted_node);

    const auto move_layer = [&](int sequence, int layer) {
        const int32_t* path = accepted_node + static_cast<int64_t>(sequence) * TRIB_MAX_PATH;
        const int count = accepted_count[sequence];
        int in_place = 0;
        while (in_place < count && path[in_place] == in_place) {
            ++in_place;
        }
        const int moved = count - in_place;
        if (moved <= 0) {
            return;
        }
        const int length = step.sequence_length[sequence];
        const auto offset = [&](int slot) {
            return step.page(sequence, slot) * page_size + slot % TRIB_PAGE_TOKENS * d;
        };
        int64_t from[TRIB_MAX_PATH];
        int64_t to[TRIB_MAX_PATH];
        for (int i = 0; i < moved; ++i) {
            from[i] = offset(length + path[in_place + i]);
            to[i] = offset(length + in_place + i);
        }
        uint16_t* const base = pointer<uint16_t>(cache.address) + layer * layer_size;
        uint16_t tokens[TRIB_MAX_PATH][max_head_dim];
        for (int head = 0; head < 2 * kv_heads; ++head) {  // of K, then of V
            uint16_t* const head_base = base + head * head_size;
            for (int i = 0; i < moved; ++i) {
                __builtin_memcpy(tokens[i], head_base + from[i], token_bytes);
            }
            for (int i = 0; i < moved; ++i) {
                __builtin_memcpy(head_base + to[i], tokens[i], token_bytes);
            }
        }
    };

    int64_t tokens = 0;
    for (int sequence = 0; sequence < step.sequences; ++sequence) {
        tokens += accepted_count[sequence];
    }
    // Below some 256 KiB the caller alone is done sooner than others wake up.
    if (tokens * layers * 2 * kv_heads * d < (1 << 17)) {
        for (int sequence = 0; sequence < step.sequences; ++sequence) {
            for (int layer = 0; layer < layers; ++layer) {
                move_layer(sequence, layer);
            }
        }
        return TRIB_OK;
    }
    context.pool.run(layers, [&](int layer) {
        for (int sequence = 0; sequence < step.sequences; ++sequence) {
            move_layer(sequence, layer);
        }
    });
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
