// SPDX-License-Identifier: Apache-2.0
//
// What happens to a row of logits before a choice: bias, penalties, allowed tokens (trib_token_adjustment).
//
// Penalties count the text up to the row. Of it a pass knows the committed part by counts and the rest, at most
// TRIB_MAX_PATH tokens, as the row's path in the tree; so only listed tokens are touched, each by its own count.
#pragma once

#include <string.h>

#include "host/operations.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

// Tokens from the root to a row's own node; empty for a causal row.
struct row_path {
    int32_t token[TRIB_MAX_PATH];
    int length = 0;

    int count(int32_t of) const {
        int times = 0;
        for (int i = 0; i < length; ++i) {
            times += token[i] == of ? 1 : 0;
        }
        return times;
    }
};

inline float adjusted_logit(float x, const trib_token_adjustment& entry, int on_path, const trib_sampling& how) {
    const int generated = entry.generated_count + on_path;
    x += entry.bias;
    if (entry.prompt_count + generated > 0) {
        x = x > 0.0F ? x / how.repetition_penalty : x * how.repetition_penalty;
    }
    if (generated > 0) {
        x = __builtin_fmaf(-how.frequency_penalty, static_cast<float>(generated), x) - how.presence_penalty;
    }
    return x;
}

// adjusted [vocabulary] = logits [vocabulary], adjusted; `allowed` [⌈vocabulary/32⌉], null = every token.
inline void adjust_logits(const trib_sampling& how, const uint32_t* allowed, const row_path& path, const float* logits,
                          int vocabulary, float* adjusted) {
    memcpy(adjusted, logits, sizeof(float) * static_cast<size_t>(vocabulary));
    const trib_token_adjustment* entries = pointer<const trib_token_adjustment>(how.adjustment);
    for (int i = 0; i < how.adjustments; ++i) {
        const int32_t token = entries[i].token;
        if (token >= 0 && token < vocabulary) {
            adjusted[token] = adjusted_logit(adjusted[token], entries[i], path.count(token), how);
        }
    }
    if (allowed == nullptr) {
        return;
    }
    for (int begin = 0; begin < vocabulary; begin += 32) {
        const int end = vocabulary - begin < 32 ? vocabulary - begin : 32;
        for (uint32_t refused = ~allowed[begin / 32]; refused != 0; refused &= refused - 1) {
            const int bit = __builtin_ctz(refused);
            if (bit < end) {
                adjusted[begin + bit] = -__builtin_inff();
            }
        }
    }
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
