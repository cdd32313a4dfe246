// SPDX-License-Identifier: Apache-2.0
//
// Verification: the target's choice at the rows that the walk meets, the accepted path and the bonus token.
//
// A choice is the argmax (greedy), or Gumbel-max over the tokens that the filters leave: y = argmax(z + g), with
// z = logit / temperature and g = −log E, E = −log1p(−w), w = (x + ½) · 2⁻³², x = word 0 of Philox for (seed, position,
// token, choice). w is formed in double, where it is exact and lies in [2⁻³³, 1 − 2⁻³³]: neither logarithm can meet 0 or
// 1, and −3.14 < g < 22.88. g is rounded to fp32; z and z + g are fp32.
//
// Filters. Top-k, top-p and min-p each keep the beginning of one order, descending z, ties by lower id. So what passes
// the first two is one cutoff (key of z, id), and min-p is e^(z − max z) ≥ min_p. Nothing is sorted: the cutoff is found
// by its digits, most significant first, from histograms of counts (top-k) or of weights (top-p). Top-p compares
// float(Σ weights of the prefix / Σ weights) with p, sums in double: thus ten equal tokens and p = 0.3 keep three.
//
// Noise. A token can win only if g ≥ best − z, that is E ≤ e^(z − best); since E ≥ w, only if w ≤ e^(z − best). 16 tokens at
// once are tested by that, and only the few that pass have their logarithms taken.
//
// Bias, penalties and allowed tokens are applied to a copy of the row (adjust_logits.hpp), one for each sequence, since
// the walk goes from row to row. Everything behind that sees a row of logits.
//
// Data that breaks the caller's promise cannot be reported from a device, so it has a defined result on every backend:
// NaN counts as −∞; a row of nothing but −∞ gives its first allowed token, without a mask token 0; a temperature that is
// not > 0 is greedy; a row on the walk whose results are nowhere (row_logits −1) ends the walk with bonus −1; a drafted
// token that is none has probability 0.
//
// Work: about two reads of V logits per choice, ten rounds of Philox for tokens near the top; a task is a sequence.
#include <math.h>

#include "host/adjust_logits.hpp"
#include "host/operations.hpp"
#include "host/philox.hpp"
#include "host/step.hpp"
#include "host/top_k.hpp"
#include "host/vector.hpp"

namespace tributary::host::TRIBUTARY_ISA {
namespace {

constexpr float minus_infinity = -__builtin_inff();
constexpr float greatest_noise = 22.88F;
constexpr uint32_t purpose_choice = 0;

// fp32 as an unsigned integer of the same order; −0 as +0.
TRIBUTARY_INLINE uint32_t order_key(float z) {
    const uint32_t bits = bits_of(z + 0.0F);
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// The value whose order_key is `key`.
TRIBUTARY_INLINE float value_of_key(uint32_t key) {
    return float_of((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

// Bit i: lane i may have a key from `first` to `last`. Where these are keys of NaN every lane may.
TRIBUTARY_INLINE uint32_t lanes_within(f32x16 z, uint32_t first, uint32_t last) {
    return 0xffffU & ~(lanes_greater(splat(value_of_key(first)), z) | lanes_greater(z, splat(value_of_key(last))));
}

TRIBUTARY_INLINE float exp_of(float x) {
    float lanes[16];
    store(lanes, exp(splat(x)));
    return lanes[0];
}

// One row of logits as z = logit / temperature; NaN and what lies beyond V is −∞.
struct scaled_row {
    const float* logits;
    int vocabulary;
    float temperature;
    // When the division would overflow, z = (logit − shift) / temperature: the same law, and the greatest is 0.
    bool shifted;
    float shift;
    float greatest;  // z of the best token
    int32_t best;    // the lowest id of these

    TRIBUTARY_INLINE float scale(float logit) const {
        float z;
        if (shifted) {
            z = logit == shift ? 0.0F : (logit - shift) / temperature;
        } else {
            z = logit / temperature;
        }
        return z == z ? z : minus_infinity;
    }

    // z of tokens i … i + 15.
    TRIBUTARY_INLINE f32x16 at(int i) const {
        f32x16 z;
        if (shifted || vocabulary - i < 16) {
            float lanes[16];
            for (int lane = 0; lane < 16; ++lane) {
                lanes[lane] = i + lane < vocabulary ? scale(logits[i + lane]) : minus_infinity;
            }
            return load(lanes);
        }
        z = load(logits + i) / splat(temperature);
        for (int part = 0; part < vector_parts; ++part) {
            z.part[part] = z.part[part] == z.part[part] ? z.part[part] : f32_part{} + minus_infinity;
        }
        return z;
    }
};

scaled_row scale_row(const float* logits, int vocabulary, float temperature) {
    f32x16 greatest = splat(minus_infinity);
    int i = 0;
    for (; i + 16 <= vocabulary; i += 16) {
        greatest = max(load(logits + i), greatest);
    }
    float greatest_logit = max_lane(greatest);
    for (; i < vocabulary; ++i) {
        greatest_logit = logits[i] > greatest_logit ? logits[i] : greatest_logit;
    }
    const float scaled = greatest_logit / temperature;
    scaled_row row{.logits = logits,
                   .vocabulary = vocabulary,
                   .temperature = temperature,
                   .shifted = greatest_logit != minus_infinity && !(scaled - scaled == 0.0F),
                   .shift = greatest_logit,
                   .greatest = 0.0F,
                   .best = 0};
    row.greatest = row.scale(greatest_logit);
    if (greatest_logit != minus_infinity) {
        while (row.scale(logits[row.best]) != row.greatest) {
            ++row.best;
        }
    }
    return row;
}

// ---------------------------------------------------------------- filters

// A token passes when its key is greater, or equal with an id that is not.
struct cutoff {
    uint32_t key = 0;
    int32_t id = INT32_MAX;

    TRIBUTARY_INLINE bool passes(uint32_t other, int32_t token) const {
        return other > key || (other == key && token <= id);
    }
};

TRIBUTARY_INLINE float weight(const scaled_row& row, float z) { return exp_of(z - row.greatest); }

// Finds the end of the shortest prefix, among the tokens that pass `within`, for which `reached(count, mass)` holds;
// mass is Σ e^(z − greatest) and is formed only when `Mass`. `total`, when given, receives the mass of all of them before
// the first call of `reached`.
template <bool Mass, class Reached>
cutoff find_cutoff(const scaled_row& row, cutoff within, double* total, const Reached& reached) {
    constexpr int level_shift[] = {21, 10, 0};
    constexpr int level_bins[] = {2048, 2048, 1024};
    uint32_t prefix = 0;
    int64_t count_above = 0;
    double mass_above = 0.0;
    int32_t counts[2048];
    double masses[Mass ? 2048 : 1];
    for (int level = 0; level < 3; ++level) {
        const int shift = level_shift[level];
        const int bins = level_bins[level];
        for (int bin = 0; bin < bins; ++bin) {
            counts[bin] = 0;
            if (Mass) {
                masses[bin] = 0.0;
            }
        }
        // Keys of this level's prefix; few vectors hold one after the first level.
        const int prefix_shift = level == 0 ? 0 : level_shift[level - 1];
        const uint32_t first = level == 0 ? 0 : prefix << prefix_shift;
        const uint32_t last = level == 0 ? UINT32_MAX : first | ((1U << prefix_shift) - 1U);
        for (int i = 0; i < row.vocabulary; i += 16) {
            const f32x16 z = row.at(i);
            if (level != 0 && lanes_within(z, first, last) == 0) {
                continue;
            }
            float lanes[16];
            float weights[16];
            store(lanes, z);
            if (Mass) {
                store(weights, exp(z - splat(row.greatest)));
            }
            const int end = row.vocabulary - i < 16 ? row.vocabulary - i : 16;
            for (int lane = 0; lane < end; ++lane) {
                const uint32_t key = order_key(lanes[lane]);
                if (key < first || key > last || !within.passes(key, i + lane)) {
                    continue;
                }
                const uint32_t bin = key >> shift & static_cast<uint32_t>(bins - 1);
                ++counts[bin];
                if (Mass) {
                    masses[bin] += static_cast<double>(weights[lane]);
                }
            }
        }
        if (Mass && level == 0) {
            *total = 0.0;
            for (int bin = bins - 1; bin >= 0; --bin) {
                *total += masses[bin];
            }
        }
        // The first bin, from the top, in which the prefix ends; the last that holds anything when rounding hides it.
        int chosen = -1;
        int64_t count_before = count_above;
        double mass_before = mass_above;
        for (int bin = bins - 1; bin >= 0; --bin) {
            if (counts[bin] == 0) {
                continue;
            }
            if (chosen >= 0) {
                count_before += counts[chosen];
                mass_before += Mass ? masses[chosen] : 0.0;
            }
            chosen = bin;
            if (reached(count_before + counts[bin], mass_before + (Mass ? masses[bin] : 0.0))) {
                break;
            }
        }
        count_above = count_before;
        mass_above = mass_before;
        prefix = level == 0 ? static_cast<uint32_t>(chosen)
                            : prefix << (level_shift[level - 1] - shift) | static_cast<uint32_t>(chosen);
    }
    // `prefix` is the whole key now. Of the tokens that share it, the lowest ids come first.
    cutoff end{.key = prefix, .id = 0};
    int64_t count = count_above;
    double mass = mass_above;
    for (int i = 0; i < row.vocabulary; i += 16) {
        const f32x16 z = row.at(i);
        if (lanes_within(z, prefix, prefix) == 0) {
            continue;
        }
        float lanes[16];
        store(lanes, z);
        const int lanes_end = row.vocabulary - i < 16 ? row.vocabulary - i : 16;
        for (int lane = 0; lane < lanes_end; ++lane) {
            if (order_key(lanes[lane]) == prefix && within.passes(prefix, i + lane)) {
                ++count;
                mass += Mass ? static_cast<double>(weight(row, lanes[lane])) : 0.0;
                end.id = i + lane;
                if (reached(count, mass)) {
                    return end;
                }
            }
        }
    }
    return end;
}

// ---------------------------------------------------------------- Gumbel-max

struct draw {
    philox_key key;
    uint32_t position;
    uint32_t choice;

    float noise(int32_t token) const {
        const uint32_t x = philox({{position, static_cast<uint32_t>(token), purpose_choice, choice}}, key).word[0];
        const double w = (static_cast<double>(x) + 0.5) * 0x1p-32;
        return static_cast<float>(-log(-log1p(-w)));
    }
};

struct best_token {
    float score = minus_infinity;
    int32_t id = -1;

    void enter(float z, int32_t token, const draw& noise) {
        if (z == minus_infinity) {  // a token of zero probability
            return;
        }
        const float candidate = z + noise.noise(token);
        if (candidate > score || (candidate == score && token < id) || id < 0) {
            score = candidate;
            id = token;
        }
    }
};

// The choice among few candidates in descending order: top-p, min-p and the draw on the list itself.
int32_t choose_from_list(const scaled_row& row, const largest_values& list, const trib_sampling& sampling,
                         const draw& noise) {
    double total = 0.0;
    float weights[TRIB_MAX_TOP_K];
    for (int i = 0; i < list.count; ++i) {
        weights[i] = weight(row, list.value[i]);
        total += static_cast<double>(weights[i]);
    }
    best_token best;
    double mass = 0.0;
    for (int i = 0; i < list.count; ++i) {
        // min-p keeps a beginning of the list too; the first token is always kept
        if (i > 0 && !(weights[i] >= sampling.min_p)) {
            break;
        }
        best.enter(list.value[i], list.id[i], noise);
        mass += static_cast<double>(weights[i]);
        if (sampling.top_p < 1.0F && static_cast<float>(mass / total) >= sampling.top_p) {
            break;
        }
    }
    return best.id;
}

int32_t choose_from_row(const scaled_row& row, cutoff end, const trib_sampling& sampling, const draw& noise) {
    best_token best;
    best.enter(row.greatest, row.best, noise);
    const philox_lanes steps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; i < row.vocabulary; i += 16) {
        const f32x16 z = row.at(i);
        // Room for the rounding of z + g and of z − best, and of what follows in fp32.
        const float slack = 1.0e-4F + __builtin_fabsf(best.score) * 0x1p-21F;
        const uint32_t possible = lanes_greater(z, splat(best.score - greatest_noise - slack)) &
                                  ~lanes_greater(splat(value_of_key(end.key)), z);
        if (possible == 0) {
            continue;
        }
        const f32x16 limit = exp(z - splat(best.score - slack));
        const philox_lanes x =
            philox_word_0(noise.position, steps + static_cast<uint32_t>(i), purpose_choice, noise.choice, noise.key);
        u32_part words[vector_parts];
        memcpy(words, &x, sizeof words);
        f32x16 w;
        for (int part = 0; part < vector_parts; ++part) {
            w.part[part] = __builtin_convertvector(words[part], f32_part) * (0x1p-32F * 0.999F);
        }
        uint32_t lanes = lanes_greater(limit, w) & possible;
        if (lanes == 0) {
            continue;
        }
        float z_of[16];
        store(z_of, z);
        for (; lanes != 0; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(lanes);
            const int32_t token = i + lane;
            if (token != row.best && token < row.vocabulary && end.passes(order_key(z_of[lane]), token) &&
                weight(row, z_of[lane]) >= sampling.min_p) {
                best.enter(z_of[lane], token, noise);
            }
        }
    }
    return best.id;
}

int32_t sample(const float* logits, int vocabulary, const trib_sampling& sampling, int depth) {
    const scaled_row row = scale_row(logits, vocabulary, sampling.temperature);
    if (row.greatest == minus_infinity) {
        return 0;
    }
    const draw noise{.key = {{static_cast<uint32_t>(sampling.seed), static_cast<uint32_t>(sampling.seed >> 32)}},
                     .position = static_cast<uint32_t>(sampling.generated) + static_cast<uint32_t>(depth),
                     .choice = static_cast<uint32_t>(sampling.choice)};
    const bool limited = sampling.top_k > 0 && sampling.top_k < vocabulary;
    if (limited && sampling.top_k <= TRIB_MAX_TOP_K) {
        largest_values list(sampling.top_k);
        find_largest(
            vocabulary, [&](int i) { return row.at(i); }, list);
        return choose_from_list(row, list, sampling, noise);
    }
    cutoff end;
    if (limited) {
        end = find_cutoff<false>(row, end, nullptr, [&](int64_t count, double) { return count >= sampling.top_k; });
    }
    if (sampling.top_p < 1.0F) {
        double total = 0.0;
        end = find_cutoff<true>(
            row, end, &total, [&](int64_t, double mass) { return static_cast<float>(mass / total) >= sampling.top_p; });
    }
    return choose_from_row(row, end, sampling, noise);
}

// The lowest of the allowed tokens [⌈vocabulary/32⌉], 0 when there is none.
int32_t first_allowed(const uint32_t* allowed, int vocabulary) {
    for (int begin = 0; begin < vocabulary; begin += 32) {
        if (allowed[begin / 32] != 0) {
            const int token = begin + __builtin_ctz(allowed[begin / 32]);
            return token < vocabulary ? token : 0;
        }
    }
    return 0;
}

// Bytes of a row of logits in workspace.
uint64_t row_bytes(int64_t vocabulary) { return static_cast<uint64_t>((vocabulary + 15) / 16) * 16 * sizeof(float); }

// ---------------------------------------------------------------- typical acceptance

// What a token's probability must exceed, and the row that it is of.
struct typical_bar {
    scaled_row row;
    double total;  // Σ e^(z − greatest)
    double least;

    double probability(float logit) const {
        const float z = row.scale(logit);
        return z == minus_infinity ? 0.0 : static_cast<double>(weight(row, z)) / total;
    }
};

typical_bar find_typical_bar(const float* logits, int vocabulary, const trib_sampling& sampling) {
    typical_bar bar{
        .row = scale_row(logits, vocabulary, sampling.temperature), .total = 0.0, .least = sampling.typical_epsilon};
    double moment = 0.0;  // Σ e^(z − greatest) (z − greatest)
    for (int i = 0; i < vocabulary; ++i) {
        const float z = bar.row.scale(logits[i]);
        if (z != minus_infinity) {
            const double w = static_cast<double>(weight(bar.row, z));
            bar.total += w;
            moment += w * static_cast<double>(z - bar.row.greatest);
        }
    }
    const double entropy = log(bar.total) - moment / bar.total;
    const double limit = static_cast<double>(sampling.typical_delta) * ::exp(-entropy);
    bar.least = limit < bar.least ? limit : bar.least;
    return bar;
}

}  // namespace

// One copy of a row for each sequence.
uint64_t verify_tree_workspace(const context&, const trib_verify_tree_params& params) {
    return params.max_adjusted_rows == 0 ? 0 : params.step->max_sequences * row_bytes(params.logits.shape[2]);
}

trib_status verify_tree(context& context, const trib_verify_tree_params& params) {
    step_view step{};
    if (const trib_status status = read_step("verify_tree", *params.step, step); status != TRIB_OK) {
        return status;
    }
    const trib_sampling* samplings = pointer<const trib_sampling>(params.sampling);
    const int32_t* row_logits = pointer<const int32_t>(params.row_logits);
    const int32_t* argmax = pointer<const int32_t>(params.argmax);
    const float* logits = pointer<const float>(params.logits.address);
    const float* log_sum_exp = pointer<const float>(params.log_sum_exp);
    const int vocabulary = static_cast<int>(params.logits.shape[2]);
    const int64_t mask_words = (vocabulary + 31) / 32;

    const auto verify_sequence = [&](int sequence) {
        const trib_sampling& sampling = samplings[sequence];
        const int64_t path_begin = static_cast<int64_t>(sequence) * TRIB_MAX_PATH;
        int32_t* const nodes = pointer<int32_t>(params.accepted_node) + path_begin;
        int32_t* const rows = pointer<int32_t>(params.accepted_row) + path_begin;
        float* const log_probabilities =
            params.log_probability == 0 ? nullptr : pointer<float>(params.log_probability) + path_begin;
        for (int i = 0; i < TRIB_MAX_PATH; ++i) {
            nodes[i] = -1;
            rows[i] = -1;
            if (log_probabilities != nullptr) {
                log_probabilities[i] = 0.0F;
            }
        }
        const bool sampled = logits != nullptr && sampling.temperature > 0.0F;
        const bool special = params.max_adjusted_rows > 0;
        const bool adjusts = special && (sampling.adjustments > 0 || sampling.allowed != 0);
        const bool typical = special && sampled && sampling.typical_epsilon > 0.0F;
        float* const copy = adjusts ? reinterpret_cast<float*>(pointer<char>(params.workspace) +
                                                               static_cast<uint64_t>(sequence) * row_bytes(vocabulary))
                                    : nullptr;
        row_path path;
        const float* chosen_from = nullptr;  // the logits of the last choice, adjusted

        // The target's token at main row `row`, `depth` below the root, −1 when its results are nowhere.
        const auto choose = [&](int row, int node, int depth) -> int32_t {
            const int at = row_logits == nullptr ? row : row_logits[row];
            if (at < 0) {
                return -1;
            }
            chosen_from = logits == nullptr ? nullptr : logits + at * params.logits.stride[1];
            const uint32_t* allowed = adjusts && sampling.allowed != 0
                                          ? pointer<const uint32_t>(sampling.allowed) + node * mask_words
                                          : nullptr;
            if (adjusts) {
                adjust_logits(sampling, allowed, path, chosen_from, vocabulary, copy);
                chosen_from = copy;
            }
            const int32_t choice = sampled   ? sample(chosen_from, vocabulary, sampling, depth)
                                   : adjusts ? scale_row(chosen_from, vocabulary, 1.0F).best
                                             : argmax[at];
            if (allowed != nullptr && !(copy[choice] > minus_infinity)) {
                return first_allowed(allowed, vocabulary);
            }
            return choice;
        };
        const auto tell_log_probability = [&](int entry, int row, int32_t token) {
            const int at = row_logits == nullptr ? row : row_logits[row];
            if (log_probabilities != nullptr && at >= 0 && token >= 0 && token < vocabulary) {
                log_probabilities[entry] = logits[at * params.logits.stride[1] + token] - log_sum_exp[at];
            }
        };

        int32_t count = 0;
        int32_t bonus = -1;
        const int rows_end = step.sequence_rows[sequence + 1];
        int row = step.sequence_rows[sequence];
        if (sampling.active != 0 && row < rows_end) {
            if (step.nodes(sequence) == 0) {
                rows[0] = rows_end - 1;
                bonus = choose(rows_end - 1, 0, 0);
                tell_log_probability(0, rows_end - 1, bonus);
            } else {
                const int32_t* parent = step.tree_parent + step.tree_begin[sequence];
                const int32_t* token = step.tree_token + step.tree_begin[sequence];
                for (bool descended = true; descended;) {
                    const int node = step.row_node[row];
                    nodes[count] = node;
                    rows[count] = row;
                    path.token[path.length++] = token[node];
                    bonus = choose(row, node, count);
                    // Children stand behind their parent. Siblings differ in token, so the choice is at most one's.
                    int next = -1;
                    for (int child = row + 1; child < rows_end && count + 1 < TRIB_MAX_PATH && next < 0; ++child) {
                        const int child_node = step.row_node[child];
                        if (parent[child_node] == node && token[child_node] == bonus) {
                            next = child;
                        }
                    }
                    if (typical && next < 0 && bonus >= 0 && count + 1 < TRIB_MAX_PATH) {
                        const typical_bar bar = find_typical_bar(chosen_from, vocabulary, sampling);
                        double greatest = bar.least;
                        for (int child = row + 1; child < rows_end; ++child) {
                            const int child_node = step.row_node[child];
                            if (parent[child_node] != node) {
                                continue;
                            }
                            const int32_t its = token[child_node];
                            const double probability =
                                its >= 0 && its < vocabulary ? bar.probability(chosen_from[its]) : 0.0;
                            if (probability > greatest ||
                                (next >= 0 && probability == greatest && its < token[step.row_node[next]])) {
                                greatest = probability;
                                next = child;
                            }
                        }
                    }
                    descended = next >= 0;
                    if (descended) {
                        bonus = token[step.row_node[next]];
                    }
                    tell_log_probability(count, row, bonus);
                    row = next;
                    ++count;
                }
            }
        }
        pointer<int32_t>(params.accepted_count)[sequence] = count;
        pointer<int32_t>(params.bonus)[sequence] = bonus;
    };

    // A greedy walk is a few comparisons; sampling reads whole rows.
    if (logits == nullptr) {
        for (int sequence = 0; sequence < step.sequences; ++sequence) {
            verify_sequence(sequence);
        }
    } else {
        context.pool.run(step.sequences, verify_sequence);
    }
    return TRIB_OK;
}

}  // namespace tributary::host::TRIBUTARY_ISA
