// SPDX-License-Identifier: Apache-2.0
#include "host/operations.hpp"

namespace tributary::host::TRIBUTARY_ISA {

#define TRIBUTARY_STRING_OF(x) #x
#define TRIBUTARY_STRING(x) TRIBUTARY_STRING_OF(x)

extern const operation_table level_operations = {
    .isa = TRIBUTARY_STRING(TRIBUTARY_ISA),
    .packed_size = packed_size,
    .pack_weight = pack_weight,
    .embed = embed,
    .rms_norm = rms_norm,
    .gather_rows = gather_rows,
    .linear = linear,
    .rope_append = rope_append,
    .multi_stream_attention = multi_stream_attention,
    .insert_streams = insert_streams,
    .edge_confidence = edge_confidence,
    .lm_head = lm_head,
    .top_k = top_k,
    .verify_tree = verify_tree,
    .commit_path = commit_path,
    .linear_workspace = linear_workspace,
    .multi_stream_attention_workspace = multi_stream_attention_workspace,
    .edge_confidence_workspace = edge_confidence_workspace,
    .lm_head_workspace = lm_head_workspace,
    .top_k_workspace = top_k_workspace,
    .verify_tree_workspace = verify_tree_workspace,
    .commit_path_workspace = commit_path_workspace,
};

}  // namespace tributary::host::TRIBUTARY_ISA
