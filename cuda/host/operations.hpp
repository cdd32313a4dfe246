// SPDX-License-Identifier: Apache-2.0
//
// The operations of the host backend. This header and every file that implements one of them are compiled once per
// instruction set; TRIBUTARY_ISA names the level and with it the namespace tributary::host::<level>, so that two levels
// never share a symbol. Rules for those files:
//   - everything in namespace tributary::host::TRIBUTARY_ISA, private parts in an anonymous namespace inside it;
//   - no standard containers, strings, streams or algorithms (their inline code would be merged across levels and could
//     bring AVX-512 to a processor without it): arrays on the stack, workspace, std::atomic and plain loops;
//     <cmath> only as calls into libm (expf, log1pf, …); cmake/check_isa_objects.cmake reads the objects' symbols and
//     fails otherwise;
//   - no exceptions, no allocation.
// Arguments are valid: the front door has checked shapes, strides, alignment, types and capacities. Counts and indices
// in device memory are the caller's promise; read_step() of step.hpp refuses counts beyond the capacities.
#pragma once

#include "frontdoor/error.hpp"
#include "host/context.hpp"

namespace tributary::host {

// Same calls for every level.
struct operation_table {
    const char* isa;  // for the context's description
    uint64_t (*packed_size)(int64_t rows, int64_t columns, uint32_t layout);
    trib_status (*pack_weight)(context&, const trib_pack_weight_params&);
    trib_status (*embed)(context&, const trib_embed_params&);
    trib_status (*rms_norm)(context&, const trib_rms_norm_params&);
    trib_status (*gather_rows)(context&, const trib_gather_rows_params&);
    trib_status (*linear)(context&, const trib_linear_params&);
    trib_status (*rope_append)(context&, const trib_rope_append_params&);
    trib_status (*multi_stream_attention)(context&, const trib_multi_stream_attention_params&);
    trib_status (*insert_streams)(context&, const trib_insert_streams_params&);
    trib_status (*edge_confidence)(context&, const trib_edge_confidence_params&);
    trib_status (*lm_head)(context&, const trib_lm_head_params&);
    trib_status (*top_k)(context&, const trib_top_k_params&);
    trib_status (*verify_tree)(context&, const trib_verify_tree_params&);
    trib_status (*commit_path)(context&, const trib_commit_path_params&);
    uint64_t (*linear_workspace)(const context&, const trib_linear_params&);
    uint64_t (*multi_stream_attention_workspace)(const context&, const trib_multi_stream_attention_params&);
    uint64_t (*edge_confidence_workspace)(const context&, const trib_edge_confidence_params&);
    uint64_t (*lm_head_workspace)(const context&, const trib_lm_head_params&);
    uint64_t (*top_k_workspace)(const context&, const trib_top_k_params&);
    uint64_t (*verify_tree_workspace)(const context&, const trib_verify_tree_params&);
    uint64_t (*commit_path_workspace)(const context&, const trib_commit_path_params&);
};

#if defined(TRIBUTARY_ISA)
namespace TRIBUTARY_ISA {

// One file each: linear.cpp, lm_head.cpp, …. A *_workspace function stands in its operation's file and returns bytes for
// the params' capacities (0 is possible); the operation gets at least that many, 64-byte aligned.
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

extern const operation_table level_operations;

}  // namespace TRIBUTARY_ISA
#endif

}  // namespace tributary::host
