// SPDX-License-Identifier: Apache-2.0
//
// What a backend offers to the front door. Params arrive complete (a caller's older, shorter struct is extended with
// zeros) and valid as far as host memory can tell; what lies behind device addresses is the caller's promise.
#pragma once

#include <stdint.h>

#include "tributary/tributary.h"

namespace tributary {

// State of a backend's context, known to that backend only.
struct backend_context;

template <class Params>
using operation = trib_status (*)(backend_context*, const Params*);
template <class Params>
using workspace_query = uint64_t (*)(backend_context*, const Params*);

struct backend_table {
    uint32_t abi_version;  // TRIB_ABI_VERSION the backend was compiled against; the first member for ever
    uint32_t backend;      // TRIB_BACKEND_*
    const char* name;      // as error texts give it

    trib_status (*create)(const trib_context_params*, backend_context**);
    trib_status (*destroy)(backend_context*);
    const char* (*description)(const backend_context*);
    uint64_t (*packed_size)(const backend_context*, uint32_t dtype, uint32_t layout, int64_t rows, int64_t columns);

    operation<trib_pack_weight_params> pack_weight;
    operation<trib_embed_params> embed;
    operation<trib_rms_norm_params> rms_norm;
    operation<trib_gather_rows_params> gather_rows;
    operation<trib_linear_params> linear;
    operation<trib_rope_append_params> rope_append;
    operation<trib_multi_stream_attention_params> multi_stream_attention;
    operation<trib_insert_streams_params> insert_streams;
    operation<trib_edge_confidence_params> edge_confidence;
    operation<trib_lm_head_params> lm_head;
    operation<trib_top_k_params> top_k;
    operation<trib_verify_tree_params> verify_tree;
    operation<trib_commit_path_params> commit_path;

    workspace_query<trib_linear_params> linear_workspace;
    workspace_query<trib_multi_stream_attention_params> multi_stream_attention_workspace;
    workspace_query<trib_edge_confidence_params> edge_confidence_workspace;
    workspace_query<trib_lm_head_params> lm_head_workspace;
    workspace_query<trib_top_k_params> top_k_workspace;
    workspace_query<trib_verify_tree_params> verify_tree_workspace;
    workspace_query<trib_commit_path_params> commit_path_workspace;
};

// The one symbol that a backend's own library exports, under the name below. `set_error` stores the calling thread's
// error text in the front door.
using backend_entry = const backend_table* (*)(void (*set_error)(const char* line));
inline constexpr const char* backend_entry_name = "tributary_backend_entry";

// The host backend is part of this library.
const backend_table& host_backend();

}  // namespace tributary
