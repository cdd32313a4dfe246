// SPDX-License-Identifier: Apache-2.0
//
// The target's choice, written from the header's words: filters in order, Philox, Gumbel-max. In doubles; where F32 may
// honestly decide otherwise, the choice says so.
#pragma once

#include <array>
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
