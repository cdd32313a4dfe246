// SPDX-License-Identifier: Apache-2.0
//
// Attention of one step: inputs, the fp64 result, and what a plain 16-bit implementation gives.
#pragma once

#include <memory>
#include <vector>

#include "support/ragged_step.hpp"

namespace tributary::test {

struct attention_case {
    uint32_t dtype = TRIB_DTYPE_BF16;
    int q_heads = 4;
    int kv_heads = 2;
    int head_dim = 32;
    int layers = 2;
    int layer = 1;
    uint32_t rows = TRIB_ROWS_ALL;
    double key_scale = 1;
    int row_gap = 0;
    int group_gap = 0;
};

// K or V of a step's streams: [Q, kv_heads, d], NaN beyond the count.
class stream_scratch {
public:
    stream_scratch(const ragged_step& step, const attention_case& shape)
        : shape_(shape),
          mirror(static_cast<size_t>(step.Q) * shape.kv_heads * shape.head_dim, 0xffff),
          capacity_(step.Q),
          memory(mirror.size() * sizeof(uint16_t)) {}
    void randomize(random_source& random, int stream_rows, double scale = 1) {
        for (size_t i = 0; i < static_cast<size_t>(stream_rows) * shape_.kv_heads * shape_.head_dim; ++i) {
            mirror[i] = encoded(shape_.dtype, scale * random.normal());
        }
        upload();
    }
    void upload() {
        memory.thaw();
        memory.upload(mirror.data(), memory.bytes());
    }
    std::vector<uint16_t> contents() const {
        std::vector<uint16_t> result(mirror.size());
        memory.download(result.data(), memory.bytes());
        return result;
    }
    size_t at(int index, int head) const {
        return (static_cast<size_t>(index) * shape_.kv_heads + head) * shape_.head_dim;
    }
    trib_tensor tensor() const {
        if (capacity_ == 0) return trib_tensor{};
        return tensor_at(memory.address(), shape_.dtype, capacity_, shape_.kv_heads, shape_.head_dim);
    }

private:
    attention_case shape_;

public:
    std::vector<uint16_t> mirror;

private:
    int capacity_;

public:
    device_memory memory;
};

struct attention_inputs {
    attention_inputs(const ragged_step& step, const attention_case& shape)
        : step(step),
          shape(shape),
          cache(shape.dtype, shape.layers, step.pages, shape.kv_heads, shape.head_dim),
          stream_k(step, shape),
          stream_v(step, shape),
          q(step.R + step.Q, shape.q_heads, shape.head_dim, shape.row_gap, shape.group_gap, shape.dtype),
          y(step.R + step.Q, shape.q_heads, shape.head_dim, shape.row_gap, shape.group_gap) {}

    void randomize(random_source& random) {
        cache.fill_visible(random, step, shape.key_scale);
        stream_k.randomize(random, step.stream_rows, shape.key_scale);
        stream_v.randomize(random, step.stream_rows);
        q.randomize(random, step.indices(TRIB_ROWS_ALL));
    }

    trib_multi_stream_attention_params params() const {
        trib_multi_stream_attention_params result{};
        result.struct_size = sizeof result;
        result.rows = shape.rows;
        result.step = step.header();
        result.q = q.tensor();
        result.y = y.tensor();
        result.cache = cache.header();
        result.stream_k = stream_k.tensor();
        result.stream_v = stream_v.tensor();
        result.layer = static_cast<uint32_t>(shape.layer);
        result.scale = static_cast<float>(scale());
        return result;
    }
    double scale() const { return 1 / std::sqrt(static_cast<double>(shape.head_dim)); }

    testing::AssertionResult run(const context& on) {
        trib_multi_stream_attention_params p = params();
        const workspace space(on, TRIB_OP_ATTENTION, p);
        return calls(trib_multi_stream_attention, on, p);
    }

    // Where the keys (value 0) or values (value 1) of a row and a KV head stand, in order of position, own streams last.
    std::vector<const uint16_t*> seen(int row, int head, int value) const {
        const step_row& of = step.rows[row];
        std::vector<const uint16_t*> result;
        for (const int slot : step.visible_slots(of)) {
            result.push_back(&cache.mirror[cache.at(step, of.sequence, slot, shape.layer, value, head)]);
        }
        const stream_scratch& scratch = value == 0 ? stream_k : stream_v;
        for (int j = 1; j <= of.stream; ++j) {
            result.push_back(&scratch.mirror[scratch.at(row - step.R - of.stream + j, head)]);
        }
        return result;
    }

    const ragged_step& step;
    attention_case shape;
    kv_cache cache;
    stream_scratch stream_k;
    stream_scratch stream_v;
    row_tensor q;
    row_tensor y;
};

// exact and plain results of the given rows, row after row.
struct attention_results {
    std::vector<double> exact;
    std::vector<double> plain;
};

inline attention_results reference_attention(const attention_inputs& in, const std::vector<int>& rows) {
    const attention_case& shape = in.shape;
    const int d = shape.head_dim;
    const double scale = static_cast<float>(in.scale());
    attention_results result;
    for (const int row : rows) {
        const std::vector<double> q = in.q.row_values(row);
        for (int head = 0; head < shape.q_heads; ++head) {
            const int kv_head = head / (shape.q_heads / shape.kv_heads);
            const std::vector<const uint16_t*> keys = in.seen(row, kv_head, 0);
            const std::vector<const uint16_t*> values = in.seen(row, kv_head, 1);
            std::vector<double> exact(keys.size());
            std::vector<double> plain(keys.size());
            for (size_t i = 0; i < keys.size(); ++i) {
                double sum = 0;
                for (int t = 0; t < d; ++t) {
                    sum += q[head * d + t] * decoded(shape.dtype, keys[i][t]);
                }
                exact[i] = scale * sum;
                plain[i] = rounded(shape.dtype, scale * sum);
            }
            const auto softmax = [](std::vector<double>& scores) {
                const double top = *std::max_element(scores.begin(), scores.end());
                double total = 0;
                for (double& score : scores) total += score = std::exp(score - top);
                for (double& score : scores) score /= total;
            };
            softmax(exact);
            softmax(plain);
            std::vector<double> sum(d, 0);
            std::vector<double> sum16(d, 0);
            for (size_t i = 0; i < values.size(); ++i) {
                const double weight16 = rounded(shape.dtype, plain[i]);
                for (int t = 0; t < d; ++t) {
                    const double value = decoded(shape.dtype, values[i][t]);
                    sum[t] += exact[i] * value;
                    sum16[t] += weight16 * value;
                }
            }
            result.exact.insert(result.exact.end(), sum.begin(), sum.end());
            for (const double value : sum16) result.plain.push_back(rounded(shape.dtype, value));
        }
    }
    return result;
}

inline attention_results reference_attention(const attention_inputs& in) {
    return reference_attention(in, in.step.indices(in.shape.rows));
}

// The y rows of the step's indices, row after row.
inline std::vector<float> rows_of(const row_tensor& tensor, const std::vector<int>& indices) {
    std::vector<float> result;
    for (const int row : indices) {
        const std::vector<float> values = tensor.row(row);
        result.insert(result.end(), values.begin(), values.end());
    }
    return result;
}

}  // namespace tributary::test
