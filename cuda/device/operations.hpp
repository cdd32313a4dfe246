// SPDX-License-Identifier: Apache-2.0
//
// The operations of the CUDA backend, one .cu file each; a *_workspace function stands in its operation's file and
// returns bytes for the params' capacities. Arguments are valid: the front door has checked them. What lies in device
// memory is the caller's promise; kernels clamp counts to the capacities so that a broken promise cannot write beyond a
// buffer.
#pragma once

#include "device/context.hpp"

namespace tributary::device {

uint64_t packed_size(int64_t rows, int64_t columns, uint32_t layout);

trib_status pack_weight(context&, const trib_pack_weight_params&);
trib_status embed(context&, const trib_embed_params&);
trib_status rms_norm(context&, const trib_rms_norm_params&);
trib_status gather_rows(context&, const trib_gather_rows_params&);
trib_status linear(context&, const trib_linear_params&);
trib_status rope_append(context&, const trib_rope_append_params&);
trib_status multi_stream_attention(context&, const trib_multi_stream_attention_params&);
trib_status insert_streams(context&, const trib_insert_streams_params&);
trib_status edge_confidence(context&, const trib_edge_confidence_params&);
trib_status lm_head(context&, const trib_lm_head_params&);
trib_status top_k(context&, const trib_top_k_params&);
trib_status verify_tree(context&, const trib_verify_tree_params&);
trib_status commit_path(context&, const trib_commit_path_params&);

uint64_t linear_workspace(const context&, const trib_linear_params&);
uint64_t multi_stream_attention_workspace(const context&, const trib_multi_stream_attention_params&);
uint64_t edge_confidence_workspace(const context&, const trib_edge_confidence_params&);
uint64_t lm_head_workspace(const context&, const trib_lm_head_params&);
uint64_t top_k_workspace(const context&, const trib_top_k_params&);
uint64_t verify_tree_workspace(const context&, const trib_verify_tree_params&);
uint64_t commit_path_workspace(const context&, const trib_commit_path_params&);

}  // namespace tributary::device
