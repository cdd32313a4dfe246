// SPDX-License-Identifier: Apache-2.0
//
// Every operation of the ABI: complete the params, check them, hand them to the backend. check_<op> holds what must be
// true of an operation's arguments, once for all backends; workspace queries use the same checks without addresses.
#include <cinttypes>
#include <climits>

#include "frontdoor/check.hpp"
#include "frontdoor/context.hpp"

namespace tributary {
namespace {

int64_t row_capacity(const trib_step& step) { return int64_t{step.max_main_rows} + step.max_stream_rows; }

// A caller's params, completed, together with the step that they point to.
template <class Params>
struct call {
    check checks;
    Params params;
    trib_step step;

    call(const char* operation, bool with_addresses, const trib_context* context, const Params* given)
        : checks(operation, with_addresses) {
        if (context == nullptr) {
            checks.refuse(TRIB_INVALID_ARGUMENT, "context is null");
        }
        checks.complete("params", given, params);
        if constexpr (requires { params.step; }) {
            checks.complete("step", params.step, step);
            params.step = &step;
            if (checks.ok()) {
                checks.step(step);
            }
        }
    }
};

void check_pack_weight(check& c, const trib_pack_weight_params& p) {
    const bool gate = p.destination.layout == TRIB_LAYOUT_PACKED_GATE;
    c.zero("reserved", p.reserved);
    c.packed("destination", p.destination, any_size, any_size, "rows, columns of the packed weight",
             gate ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED);
    c.tensor("source", p.source, 1U << (p.destination.dtype & 31U), {any_size, p.destination.shape[2]},
             "rows to pack, destination's columns");
    if (c.ok()) {
        c.range("first_row", p.first_row, 0, p.destination.shape[1] - 1);
    }
    if (c.ok() && p.source.shape[1] > p.destination.shape[1] - p.first_row) {
        c.refuse(
            TRIB_INVALID_ARGUMENT, "source has %lld rows, expected at most %lld (destination's %lld from first_row)",
            static_cast<long long>(p.source.shape[1]), static_cast<long long>(p.destination.shape[1] - p.first_row),
            static_cast<long long>(p.destination.shape[1]));
    }
}

void check_embed(check& c, const trib_embed_params& p) {
    c.zero("reserved", p.reserved);
    c.array("tokens", p.tokens, 4);
    c.packed("table", p.table, any_size, any_size, "vocabulary, hidden");
    c.tensor("y", p.y, only_f32, {row_capacity(*p.step), p.table.shape[2]}, "rows of the step, table's columns");
}

void check_rms_norm(check& c, const trib_rms_norm_params& p) {
    c.zero("reserved", p.reserved);
    c.rows(p.rows);
    c.tensor("x", p.x, only_f32, {row_capacity(*p.step), any_size, any_size}, "rows of the step, groups, width");
    c.tensor("weight", p.weight, float_types, {p.x.shape[2]}, "x's last dimension");
    c.tensor("y", p.y, float_types, {p.x.shape[0], p.x.shape[1], p.x.shape[2]}, "as x");
    if (p.y.dtype != TRIB_DTYPE_F32) {
        c.no_overlap("x", p.x, "y", p.y);
    }
    c.real_range("epsilon", p.epsilon, 0, 1, false);
}

void check_gather_rows(check& c, const trib_gather_rows_params& p) {
    c.range("max_rows", p.max_rows, 1, INT_MAX);
    c.array("index", p.index, 4);
    c.array("count", p.count, 4);
    c.tensor("x", p.x, only_f32, {any_size, any_size}, "rows, columns");
    c.tensor("y", p.y, only_f32, {any_size, p.x.shape[2]}, "at least max_rows, x's last dimension");
    if (c.ok() && p.y.shape[1] < p.max_rows) {
        c.refuse(TRIB_INVALID_ARGUMENT, "y has %lld rows, expected at least max_rows, %u",
                 static_cast<long long>(p.y.shape[1]), p.max_rows);
    }
    c.no_overlap("x", p.x, "y", p.y);
}

void check_linear(check& c, const trib_linear_params& p) {
    c.zero("reserved", p.reserved);
    c.rows(p.rows);
    c.range("epilogue", p.epilogue, TRIB_EPILOGUE_NONE, TRIB_EPILOGUE_SILU_GATE);
    const bool gate = p.epilogue == TRIB_EPILOGUE_SILU_GATE;
    c.tensor("x", p.x, operand_types(p.weight), {row_capacity(*p.step), any_size}, "rows of the step, columns");
    c.packed("weight", p.weight, any_size, p.x.shape[2], "columns = x's last dimension",
             gate ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED);
    const int64_t columns = p.weight.shape[1];
    c.tensor("bias", p.bias, float_types, {columns}, "weight's rows", presence::optional);
    c.tensor("y", p.y, gate ? operand_types(p.weight) : only_f32, {row_capacity(*p.step), gate ? columns / 2 : columns},
             gate ? "rows of the step, half of weight's rows" : "rows of the step, weight's rows");
    c.no_overlap("x", p.x, "y", p.y);
    if (gate) {
        c.range("parts (with SILU_GATE)", p.parts, 2, 2);
    }
    c.range("parts", p.parts, 1, TRIB_MAX_PARTS);
    int64_t sum = 0;
    for (uint32_t part = 0; c.ok() && part < p.parts; ++part) {
        c.range("part_columns", p.part_columns[part], 1, columns);
        sum += p.part_columns[part];
    }
    if (c.ok() && sum != columns) {
        c.refuse(TRIB_INVALID_ARGUMENT, "part_columns sum to %lld, expected %lld (weight's rows)",
                 static_cast<long long>(sum), static_cast<long long>(columns));
    }
    if (c.ok() && gate && p.part_columns[0] != p.part_columns[1]) {
        c.refuse(TRIB_INVALID_ARGUMENT, "part_columns are %d and %d, expected equal halves with SILU_GATE",
                 p.part_columns[0], p.part_columns[1]);
    }
    if (p.adapters != 0) {
        c.range("adapters", p.adapters, 1, 1 << 20);
        c.range("max_rank", p.max_rank, 1, 1024);
        c.range("max_segments", p.max_segments, 1, 1 << 24);
        c.array("lora_table", p.lora_table, 8);
        c.array("segments", p.segments, 4);
        c.array("segment_count", p.segment_count, 4);
    }
}

// q and the scratch of stream K/V, which rope_append and attention share.
void check_stream_scratch(check& c, const trib_step& step, const trib_kv_cache& cache, const trib_tensor& stream_k,
                          const trib_tensor& stream_v) {
    if (step.max_stream_rows == 0) {
        c.array_unless("stream_k", stream_k.address, 64, true, "without stream rows");
        c.array_unless("stream_v", stream_v.address, 64, true, "without stream rows");
        return;
    }
    const int64_t rows = step.max_stream_rows;
    if (c.ok()) {
        c.tensor("stream_k", stream_k, 1U << cache.dtype, {rows, cache.kv_heads, cache.head_dim},
                 "stream rows, cache's heads and type");
        c.tensor("stream_v", stream_v, 1U << cache.dtype, {rows, cache.kv_heads, cache.head_dim},
                 "stream rows, cache's heads and type");
    }
}

void check_query_heads(check& c, const trib_tensor& q, const trib_kv_cache& cache) {
    if (c.ok() && q.shape[1] % cache.kv_heads != 0) {
        c.refuse(TRIB_INVALID_ARGUMENT, "q has %lld heads, expected a multiple of the cache's %u",
                 static_cast<long long>(q.shape[1]), cache.kv_heads);
    }
}

void check_rope_append(check& c, const trib_rope_append_params& p) {
    const int64_t rows = row_capacity(*p.step);
    c.rows(p.rows);
    c.cache(p.cache);
    c.range("layer", p.layer, 0, int64_t{p.cache.layers} - 1);
    c.tensor("q", p.q, only_f32, {rows, any_size, p.cache.head_dim}, "rows of the step, heads, cache's head_dim");
    check_query_heads(c, p.q, p.cache);
    c.tensor("k", p.k, only_f32, {rows, p.cache.kv_heads, p.cache.head_dim}, "rows of the step, cache's heads");
    c.tensor("v", p.v, only_f32, {rows, p.cache.kv_heads, p.cache.head_dim}, "rows of the step, cache's heads");
    c.range("rotary_dim", p.rotary_dim, 2, p.cache.head_dim);
    if (c.ok() && p.rotary_dim % 2 != 0) {
        c.refuse(TRIB_INVALID_ARGUMENT, "rotary_dim is %u, expected an even number", p.rotary_dim);
    }
    c.tensor("cos_sin", p.cos_sin, only_f32, {any_size, p.rotary_dim}, "positions, rotary_dim");
    if (c.ok()) {
        c.tensor("rotated_q", p.rotated_q, 1U << p.cache.dtype, {rows, p.q.shape[1], p.cache.head_dim},
                 "as q, of the cache's type");
        c.no_overlap("q", p.q, "rotated_q", p.rotated_q);
    }
    check_stream_scratch(c, *p.step, p.cache, p.stream_k, p.stream_v);
}

void check_multi_stream_attention(check& c, const trib_multi_stream_attention_params& p) {
    const int64_t rows = row_capacity(*p.step);
    c.rows(p.rows);
    c.cache(p.cache);
    c.range("layer", p.layer, 0, int64_t{p.cache.layers} - 1);
    if (c.ok()) {
        c.tensor("q", p.q, 1U << p.cache.dtype, {rows, any_size, p.cache.head_dim},
                 "rows of the step, heads, cache's head_dim and type");
    }
    check_query_heads(c, p.q, p.cache);
    c.tensor("y", p.y, float_types, {rows, p.q.shape[1], p.cache.head_dim}, "as q");
    c.no_overlap("q", p.q, "y", p.y);
    c.real_range("scale", p.scale, 0, 1e6, true);
    check_stream_scratch(c, *p.step, p.cache, p.stream_k, p.stream_v);
    if (c.ok() && (p.next_read == 0) != (p.next_read_bytes == 0)) {
        c.refuse(TRIB_INVALID_ARGUMENT, "%s is 0, expected next_read and next_read_bytes together",
                 p.next_read == 0 ? "next_read" : "next_read_bytes");
    }
}

void check_insert_streams(check& c, const trib_insert_streams_params& p) {
    c.zero("reserved", p.reserved);
    c.range("step.max_stream_rows", p.step->max_stream_rows, 1, INT_MAX);
    c.tensor("x", p.x, only_f32, {row_capacity(*p.step), any_size}, "rows of the step, hidden");
    c.tensor("source", p.source, only_f32, {any_size, p.x.shape[2]}, "rows, x's last dimension");
    c.array("row_source", p.row_source, 4);
    c.array("row_embedding", p.row_embedding, 4, presence::optional);
    if (p.row_embedding != 0) {
        c.tensor("embeddings", p.embeddings, float_types, {any_size, p.x.shape[2]}, "rows, x's last dimension");
    } else {
        c.tensor("embeddings", p.embeddings, float_types, {p.step->gamma, p.x.shape[2]},
                 "gamma of the step, x's last dimension");
    }
}

void check_edge_confidence(check& c, const trib_edge_confidence_params& p) {
    c.real_range("threshold", p.threshold, 0, 1, false);
    c.range("step.max_main_rows", p.step->max_main_rows, 1, INT_MAX);
    c.tensor("x", p.x, only_f32, {row_capacity(*p.step), any_size}, "rows of the step, hidden");
    c.packed("down", p.down, any_size, p.x.shape[2], "rank, x's last dimension");
    c.packed("up", p.up, p.x.shape[2], p.down.shape[1], "x's last dimension, rank");
    c.packed("lm_head", p.lm_head, any_size, p.x.shape[2], "vocabulary, x's last dimension");
    if (p.step->max_stream_rows != 0) {
        c.array("row_source", p.row_source, 4);
    } else {
        c.array_unless("row_source", p.row_source, 4, true, "without stream rows");
    }
    c.array("confidence", p.confidence, 4);
    c.array("kept", p.kept, 4);
}

void check_lm_head(check& c, const trib_lm_head_params& p) {
    c.zero("reserved", p.reserved);
    c.tensor("x", p.x, operand_types(p.weight), {row_capacity(*p.step), any_size}, "rows of the step, hidden");
    c.packed("weight", p.weight, any_size, p.x.shape[2], "vocabulary, x's last dimension");
    c.array("row_index", p.row_index, 4, presence::optional);
    c.array("row_count", p.row_count, 4, presence::optional);
    if (c.ok() && (p.row_index == 0) != (p.row_count == 0)) {
        c.refuse(TRIB_INVALID_ARGUMENT, "%s is 0, expected row_index and row_count together",
                 p.row_index == 0 ? "row_index" : "row_count");
    }
    c.range("max_rows", p.max_rows, 1, INT_MAX);
    if (p.row_index == 0) {
        c.rows(p.rows);
        if (c.ok() && p.max_rows != row_capacity(*p.step)) {
            c.refuse(TRIB_INVALID_ARGUMENT, "max_rows is %u, expected %lld (rows of the step) without row_index",
                     p.max_rows, static_cast<long long>(row_capacity(*p.step)));
        }
    }
    c.range("k", p.k, 0, TRIB_MAX_TOP_K);
    if (c.ok() && p.k > p.weight.shape[1]) {
        c.refuse(TRIB_INVALID_ARGUMENT, "k is %u, expected at most the vocabulary, %lld", p.k,
                 static_cast<long long>(p.weight.shape[1]));
    }
    c.range("vocabulary_offset", p.vocabulary_offset, 0, INT_MAX - p.weight.shape[1]);
    c.array("argmax", p.argmax, 4);
    c.array("max_logit", p.max_logit, 4, presence::optional);
    c.array("log_sum_exp", p.log_sum_exp, 4);
    c.array_unless("top_ids", p.top_ids, 4, p.k == 0, "with k = 0");
    c.array_unless("top_logits", p.top_logits, 4, p.k == 0, "with k = 0");
    c.tensor("logits", p.logits, only_f32, {p.max_rows, p.weight.shape[1]}, "max_rows, vocabulary", presence::optional);
}

void check_top_k(check& c, const trib_top_k_params& p) {
    c.tensor("logits", p.logits, only_f32, {any_size, any_size}, "rows, vocabulary");
    c.range("k", p.k, 1, TRIB_MAX_TOP_K);
    if (c.ok() && p.k > p.logits.shape[2]) {
        c.refuse(TRIB_INVALID_ARGUMENT, "k is %u, expected at most the vocabulary, %lld", p.k,
                 static_cast<long long>(p.logits.shape[2]));
    }
    c.array("row_count", p.row_count, 4);
    c.array("top_ids", p.top_ids, 4);
    c.array("top_logits", p.top_logits, 4);
}

void check_verify_tree(check& c, const trib_verify_tree_params& p) {
    c.range("max_adjusted_rows", p.max_adjusted_rows, 0, p.step->max_main_rows);
    c.array("sampling", p.sampling, 8);
    c.array("row_logits", p.row_logits, 4, presence::optional);
    c.array("argmax", p.argmax, 4);
    c.tensor("logits", p.logits, only_f32, {any_size, any_size}, "rows, vocabulary", presence::optional);
    if (c.ok() && p.max_adjusted_rows > 0 && p.logits.shape[2] == 0) {
        c.refuse(TRIB_INVALID_ARGUMENT, "max_adjusted_rows is %u without logits, expected 0 or logits",
                 p.max_adjusted_rows);
    }
    if (c.ok() && p.log_probability != 0 && p.logits.shape[2] == 0) {
        c.refuse(TRIB_INVALID_ARGUMENT, "log_probability is 0x%" PRIx64 " without logits, expected 0 or logits",
                 p.log_probability);
    }
    c.array("log_probability", p.log_probability, 4, presence::optional);
    c.array_unless("log_sum_exp", p.log_sum_exp, 4, p.log_probability == 0, "without log_probability");
    c.array("accepted_count", p.accepted_count, 4);
    c.array("accepted_node", p.accepted_node, 4);
    c.array("accepted_row", p.accepted_row, 4);
    c.array("bonus", p.bonus, 4);
}

void check_commit_path(check& c, const trib_commit_path_params& p) {
    c.zero("reserved", p.reserved);
    c.cache(p.cache);
    c.array("accepted_count", p.accepted_count, 4);
    c.array("accepted_node", p.accepted_node, 4);
}

// The bytes an operation needs, for trib_workspace_size.
template <class Params>
trib_status workspace_size(const char* operation, trib_context* context, const void* given, uint64_t* bytes,
                           void (*check_params)(check&, const Params&), workspace_query<Params> backend_table::*query) {
    call<Params> call(operation, false, context, static_cast<const Params*>(given));
    if (call.checks.ok()) {
        check_params(call.checks, call.params);
    }
    if (call.checks.ok() && bytes == nullptr) {
        call.checks.refuse(TRIB_INVALID_ARGUMENT, "bytes is null");
    }
    if (call.checks.ok()) {
        *bytes = (context->backend->*query)(context->state, &call.params);
    }
    return call.checks.status();
}

// Checks and runs an operation; `query` null = it needs no workspace.
template <class Params>
trib_status perform(const char* name, trib_context* context, const Params* given,
                    void (*check_params)(check&, const Params&), operation<Params> backend_table::*run) {
    call<Params> call(name, true, context, given);
    if (call.checks.ok()) {
        check_params(call.checks, call.params);
    }
    return call.checks.ok() ? (context->backend->*run)(context->state, &call.params) : call.checks.status();
}

template <class Params>
trib_status perform(const char* name, trib_context* context, const Params* given,
                    void (*check_params)(check&, const Params&), operation<Params> backend_table::*run,
                    workspace_query<Params> backend_table::*query) {
    call<Params> call(name, true, context, given);
    if (call.checks.ok()) {
        check_params(call.checks, call.params);
    }
    if (call.checks.ok()) {
        const uint64_t needed = (context->backend->*query)(context->state, &call.params);
        call.checks.workspace(call.params.workspace, call.params.workspace_bytes, needed);
    }
    return call.checks.ok() ? (context->backend->*run)(context->state, &call.params) : call.checks.status();
}

}  // namespace
}  // namespace tributary

using namespace tributary;

trib_status trib_workspace_size(trib_context* context, uint32_t operation, const void* params, uint64_t* bytes) {
    using table = backend_table;
    switch (operation) {
        case TRIB_OP_LINEAR:
            return workspace_size("workspace_size of linear", context, params, bytes, check_linear,
                                  &table::linear_workspace);
        case TRIB_OP_ATTENTION:
            return workspace_size("workspace_size of multi_stream_attention", context, params, bytes,
                                  check_multi_stream_attention, &table::multi_stream_attention_workspace);
        case TRIB_OP_LM_HEAD:
            return workspace_size("workspace_size of lm_head", context, params, bytes, check_lm_head,
                                  &table::lm_head_workspace);
        case TRIB_OP_VERIFY_TREE:
            return workspace_size("workspace_size of verify_tree", context, params, bytes, check_verify_tree,
                                  &table::verify_tree_workspace);
        case TRIB_OP_EDGE_CONFIDENCE:
            return workspace_size("workspace_size of edge_confidence", context, params, bytes, check_edge_confidence,
                                  &table::edge_confidence_workspace);
        case TRIB_OP_COMMIT_PATH:
            return workspace_size("workspace_size of commit_path", context, params, bytes, check_commit_path,
                                  &table::commit_path_workspace);
        case TRIB_OP_TOP_K:
            return workspace_size("workspace_size of top_k", context, params, bytes, check_top_k,
                                  &table::top_k_workspace);
        default:
            return fail(TRIB_INVALID_ARGUMENT, "workspace_size: operation is %u, expected a TRIB_OP_* (1 to 7)",
                        operation);
    }
}

trib_status trib_packed_size(trib_context* context, uint32_t dtype, uint32_t layout, int64_t rows, int64_t columns,
                             uint64_t* bytes) {
    check c("packed_size", false);
    if (context == nullptr || bytes == nullptr) {
        c.refuse(TRIB_INVALID_ARGUMENT, "%s is null", context == nullptr ? "context" : "bytes");
    }
    trib_tensor weight = {};
    weight.shape[0] = 1;
    weight.shape[1] = rows;
    weight.shape[2] = columns;
    weight.dtype = dtype;
    weight.layout = layout;
    c.packed("weight", weight, any_size, any_size, "rows, columns",
             layout == TRIB_LAYOUT_PACKED_GATE ? TRIB_LAYOUT_PACKED_GATE : TRIB_LAYOUT_PACKED);
    if (c.ok()) {
        *bytes = context->backend->packed_size(context->state, dtype, layout, rows, columns);
    }
    return c.status();
}

trib_status trib_pack_weight(trib_context* context, const trib_pack_weight_params* params) {
    return perform("pack_weight", context, params, check_pack_weight, &backend_table::pack_weight);
}

trib_status trib_embed(trib_context* context, const trib_embed_params* params) {
    return perform("embed", context, params, check_embed, &backend_table::embed);
}

trib_status trib_rms_norm(trib_context* context, const trib_rms_norm_params* params) {
    return perform("rms_norm", context, params, check_rms_norm, &backend_table::rms_norm);
}

trib_status trib_gather_rows(trib_context* context, const trib_gather_rows_params* params) {
    return perform("gather_rows", context, params, check_gather_rows, &backend_table::gather_rows);
}

trib_status trib_linear(trib_context* context, const trib_linear_params* params) {
    return perform("linear", context, params, check_linear, &backend_table::linear, &backend_table::linear_workspace);
}

trib_status trib_rope_append(trib_context* context, const trib_rope_append_params* params) {
    return perform("rope_append", context, params, check_rope_append, &backend_table::rope_append);
}

trib_status trib_multi_stream_attention(trib_context* context, const trib_multi_stream_attention_params* params) {
    return perform("multi_stream_attention", context, params, check_multi_stream_attention,
                   &backend_table::multi_stream_attention, &backend_table::multi_stream_attention_workspace);
}

trib_status trib_insert_streams(trib_context* context, const trib_insert_streams_params* params) {
    return perform("insert_streams", context, params, check_insert_streams, &backend_table::insert_streams);
}

trib_status trib_edge_confidence(trib_context* context, const trib_edge_confidence_params* params) {
    return perform("edge_confidence", context, params, check_edge_confidence, &backend_table::edge_confidence,
                   &backend_table::edge_confidence_workspace);
}

trib_status trib_lm_head(trib_context* context, const trib_lm_head_params* params) {
    return perform("lm_head", context, params, check_lm_head, &backend_table::lm_head,
                   &backend_table::lm_head_workspace);
}

trib_status trib_top_k(trib_context* context, const trib_top_k_params* params) {
    return perform("top_k", context, params, check_top_k, &backend_table::top_k, &backend_table::top_k_workspace);
}

trib_status trib_verify_tree(trib_context* context, const trib_verify_tree_params* params) {
    return perform("verify_tree", context, params, check_verify_tree, &backend_table::verify_tree,
                   &backend_table::verify_tree_workspace);
}

trib_status trib_commit_path(trib_context* context, const trib_commit_path_params* params) {
    return perform("commit_path", context, params, check_commit_path, &backend_table::commit_path,
                   &backend_table::commit_path_workspace);
}
