// SPDX-License-Identifier: Apache-2.0
//
// The target's choice, written from the header's words: filters in order, Philox, Gumbel-max. In doubles; where F32 may
// honestly decide otherwise, the choice says so.
#pragma once

#include <array>
#include <map>
#include <numeric>
#include <vector>

#include "support/ragged_step.hpp"

namespace tributary::test {

inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t{0xd2511f53} * counter[0];
        const uint64_t b = uint64_t{0xcd9e8d57} * counter[2];
        counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
                   static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
        key = {key[0] + 0x9e3779b9, key[1] + 0xbb67ae85};
    }
    return counter;
}

// Word of the draw for a token at a generated position.
inline uint32_t draw_word(const trib_sampling& how, int position, int token) {
    return philox({static_cast<uint32_t>(position), static_cast<uint32_t>(token), 0, static_cast<uint32_t>(how.choice)},
                  {static_cast<uint32_t>(how.seed), static_cast<uint32_t>(how.seed >> 32)})[0];
}

// −log E; between −3.13 and 22.88, always finite.
inline double gumbel(uint32_t word) {
    const double w = (word + 0.5) * 0x1p-32;
    return -std::log(-std::log1p(-w));
}

struct filtered_distribution {
    std::vector<double> probability;  // 0 for what a filter removed
    bool ambiguous = false;           // a border so close that F32 may put a token on its other side
};

inline filtered_distribution filtered(const std::vector<float>& logits, const trib_sampling& how) {
    const int V = static_cast<int>(logits.size());
    std::vector<int> order(V);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
    const double temperature = how.temperature;
    const double top = logits[order[0]];
    const auto weight = [&](int token) { return std::exp((logits[token] - top) / temperature); };
    filtered_distribution result;
    size_t kept = static_cast<size_t>(how.top_k > 0 ? std::min(how.top_k, V) : V);
    order.resize(kept);
    double total = 0;
    for (const int token : order) total += weight(token);
    if (how.top_p < 1) {
        double cumulative = 0;
        kept = 0;
        while (kept < order.size() && cumulative < how.top_p) {
            cumulative += weight(order[kept++]) / total;
            result.ambiguous |= std::fabs(cumulative - how.top_p) < 1e-5;
        }
        order.resize(kept);
    }
    if (how.min_p > 0) {
        kept = 0;
        for (const int token : order) {
            result.ambiguous |= std::fabs(weight(token) - how.min_p) < 1e-5 * how.min_p;
            kept += weight(token) >= how.min_p;
        }
        order.resize(kept);
    }
    result.probability.assign(V, 0);
    total = 0;
    for (const int token : order) total += weight(token);
    for (const int token : order) result.probability[token] = weight(token) / total;
    return result;
}

struct choice {
    int32_t token = -1;
    bool ambiguous = false;
};

inline choice chosen(const std::vector<float>& logits, const trib_sampling& how, int position) {
    choice result;
    if (how.temperature == 0) {
        result.token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        return result;
    }
    const filtered_distribution target = filtered(logits, how);
    double best = -INFINITY;
    double second = -INFINITY;
    for (int token = 0; token < static_cast<int>(logits.size()); ++token) {
        if (target.probability[token] == 0) continue;
        const double score =
            logits[token] / static_cast<double>(how.temperature) + gumbel(draw_word(how, position, token));
        if (score > best) {
            second = best;
            best = score;
            result.token = token;
        } else {
            second = std::max(second, score);
        }
    }
    result.ambiguous = target.ambiguous || best - second < 1e-5 * std::max(8.0, std::fabs(best));
    return result;
}

inline float log_sum_exp(const std::vector<float>& logits) {
    double total = 0;
    const double top = *std::max_element(logits.begin(), logits.end());
    for (const float logit : logits) total += std::exp(logit - top);
    return static_cast<float>(top + std::log(total));
}

// What a sequence's text makes of its logits.
struct text_state {
    std::vector<trib_token_adjustment> entries;
    std::vector<uint32_t> allowed;  // [max(T, 1), ⌈V/32⌉]; empty: every token

    // From the text itself: an entry for every token of the prompt, the generated text, the tree and the biases.
    static text_state of(const std::vector<int32_t>& prompt, const std::vector<int32_t>& generated,
                         const std::vector<int32_t>& tree, const std::map<int32_t, float>& bias) {
        std::map<int32_t, trib_token_adjustment> by_token;
        const auto entry = [&](int32_t token) -> trib_token_adjustment& {
            return by_token.emplace(token, trib_token_adjustment{token, 0, 0, 0}).first->second;
        };
        for (const int32_t token : prompt) ++entry(token).prompt_count;
        for (const int32_t token : generated) ++entry(token).generated_count;
        for (const int32_t token : tree) entry(token);
        for (const auto& [token, value] : bias) entry(token).bias = value;
        text_state result;
        for (const auto& [token, value] : by_token) result.entries.push_back(value);
        return result;
    }

    // Logits at a row of `node` whose path holds these tokens, in the order of the header's words and in F32.
    std::vector<float> adjusted(std::vector<float> logits, const trib_sampling& how, const std::vector<int32_t>& path,
                                int node) const {
        for (const trib_token_adjustment& entry : entries) {
            float& x = logits[entry.token];
            const auto on_path = static_cast<int>(std::count(path.begin(), path.end(), entry.token));
            const int generated = entry.generated_count + on_path;
            x = x + entry.bias;
            if (entry.prompt_count + generated > 0) {
                x = x > 0 ? x / how.repetition_penalty : x * how.repetition_penalty;
            }
            if (generated > 0) {
                x = std::fma(-how.frequency_penalty, static_cast<float>(generated), x);
                x = x - how.presence_penalty;
            }
        }
        const size_t words = (logits.size() + 31) / 32;
        for (size_t token = 0; !allowed.empty() && token < logits.size(); ++token) {
            if ((allowed[node * words + token / 32] >> (token % 32) & 1) == 0) logits[token] = -INFINITY;
        }
        return logits;
    }
};

struct typical_choice {
    int index = -1;  // among the tokens; −1 = none passes
    bool ambiguous = false;
};

// Medusa's criterion over the children's tokens: the most probable, if p > min(ε, δ e^(−H)).
inline typical_choice typically_accepted(const std::vector<float>& logits, const trib_sampling& how,
                                         const std::vector<int32_t>& tokens) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (const float logit : logits) total += std::exp((logit - top) / how.temperature);
    double entropy = 0;
    for (const float logit : logits) {
        const double p = std::exp((logit - top) / how.temperature) / total;
        if (p > 0) entropy -= p * std::log(p);
    }
    const double bar = std::min<double>(how.typical_epsilon, how.typical_delta * std::exp(-entropy));
    typical_choice result;
    double greatest = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
        const double p = std::exp((logits[tokens[i]] - top) / how.temperature) / total;
        result.ambiguous |= std::fabs(p - bar) < 1e-4 * bar || (greatest > bar && std::fabs(p - greatest) < 1e-4 * p);
        if (p > bar && p > greatest) {
            greatest = p;
            result.index = static_cast<int>(i);
        }
    }
    return result;
}

// Pearson's χ² of counts against probabilities passes with a false-positive rate of about 1e-6 (Wilson–Hilferty).
inline testing::AssertionResult follows(const std::vector<int>& counts, const std::vector<double>& probabilities) {
    const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
    double statistic = 0;
    double rare_expected = 0;
    double rare_count = 0;
    int cells = 0;
    const auto add = [&](double count, double expected) {
        statistic += (count - expected) * (count - expected) / expected;
        ++cells;
    };
    for (size_t i = 0; i < counts.size(); ++i) {
        const double expected = total * probabilities[i];
        if (expected == 0 && counts[i] > 0) {
            return testing::AssertionFailure()
                   << "outcome " << i << " is impossible and came " << counts[i] << " times";
        }
        if (expected >= 5) {
            add(counts[i], expected);
        } else {
            rare_expected += expected;
            rare_count += counts[i];
        }
    }
    if (rare_expected >= 5) add(rare_count, rare_expected);
    const double freedom = cells - 1;
    if (freedom < 1) return testing::AssertionSuccess();
    const double spread = 2 / (9 * freedom);
    const double threshold = freedom * std::pow(1 - spread + 4.7534 * std::sqrt(spread), 3);
    if (statistic <= threshold) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "χ² " << statistic << " of " << freedom << " degrees of freedom exceeds "
                                       << threshold;
}

}  // namespace tributary::test
