// SPDX-License-Identifier: Apache-2.0
//
// Random ragged batches: causal chunks, decoding rows, branching trees (pruned ones too), streams in the pass and
// deferred ones, several sequences on shuffled pages. What a row may see is derived here from parents alone, so that it
// can be held against the masks. Whatever lies beyond a count is poison.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/operation_test.hpp"

namespace tributary::test {

// A token tree by its parents; node 0 is the root.
struct token_tree {
    std::vector<int> parent;
    std::vector<int> depth;
    std::vector<int32_t> token;

    int size() const { return static_cast<int>(parent.size()); }
    int add(int parent_node, int32_t node_token) {
        parent.push_back(parent_node);
        depth.push_back(parent_node < 0 ? 0 : depth[parent_node] + 1);
        token.push_back(node_token);
        return size() - 1;
    }
    // The root first.
    std::vector<int> path_to(int node) const {
        std::vector<int> path;
        for (int at = node; at >= 0; at = parent[at]) path.insert(path.begin(), at);
        return path;
    }
    bool is_ancestor_or_self(int ancestor, int node) const {
        for (int at = node; at >= 0; at = parent[at]) {
            if (at == ancestor) return true;
        }
        return false;
    }
    bool has_child(int node, int32_t child_token) const {
        for (int i = 0; i < size(); ++i) {
            if (parent[i] == node && token[i] == child_token) return true;
        }
        return false;
    }
};

// A tree of `nodes` nodes, siblings with different tokens below `vocabulary`.
inline token_tree random_tree(random_source& random, int nodes, int vocabulary = 1000, int max_depth = TRIB_MAX_DEPTH) {
    token_tree tree;
    tree.add(-1, random.integer(0, vocabulary - 1));
    const double deepening = random.real();  // from bushes to chains
    while (tree.size() < nodes) {
        const int parent = random.chance(deepening) ? tree.size() - 1 : random.integer(0, tree.size() - 1);
        const int32_t token = random.integer(0, vocabulary - 1);
        if (tree.depth[parent] < max_depth && !tree.has_child(parent, token)) tree.add(parent, token);
    }
    return tree;
}

inline token_tree chain(int nodes) {
    token_tree tree;
    for (int i = 0; i < nodes; ++i) tree.add(i - 1, i);
    return tree;
}

struct sequence_spec {
    int length = 0;               // L
    int chunk = 0;                // rows of a causal sequence
    token_tree tree;              // empty: causal
    std::vector<bool> surviving;  // by node; empty: all
    std::vector<int> anchors;     // which of the sequence's main rows carry streams
    std::vector<int> deferred;    // positions of committed anchors whose streams run in this step
    int window = 0;               // sliding window; 0 = none
};

struct step_row {
    int sequence;
    int node;  // −1: a deferred stream row
    int position;
    int rotary;
    int first_visible;
    int stream;
    int anchor_row;  // of a stream row in the pass: the row of its anchor; otherwise −1
};

class ragged_step {
public:
    struct options {
        int spare_rows = 3;    // of R above the rows there are
        int spare_groups = 1;  // of Q, in groups of gamma
        int spare_sequences = 2;
        bool offset_positions = true;  // RoPE position of stream j: t + j, or t
        // Capacities are at least these, so that several steps fit one graph.
        int main_rows = 0;
        int stream_rows = 0;
        int sequences = 0;
        int pages_of_sequence = 0;
        int pages = 0;
        int nodes = 0;
        int mask_words = 0;
    };

    ragged_step(random_source& random, std::vector<sequence_spec> specs, int gamma, options with)
        : sequences(std::move(specs)), gamma(gamma) {
        layout_rows(with);
        layout_pages(random, with);
        upload(random, with);
    }
    ragged_step(random_source& random, std::vector<sequence_spec> specs, int gamma)
        : ragged_step(random, std::move(specs), gamma, options{}) {}

    std::vector<sequence_spec> sequences;
    int gamma;
    int main_rows = 0;
    int stream_rows = 0;
    int R = 0;
    int Q = 0;
    int S = 0;
    int P = 0;
    int pages = 0;               // of the cache behind the page table
    std::vector<step_row> rows;  // R + Q; only those below the counts mean anything
    std::vector<int32_t> sequence_rows;
    std::vector<int32_t> tree_begin;
    std::vector<std::vector<int32_t>> page_table;

    std::vector<int> main_indices() const { return range(0, main_rows); }
    std::vector<int> stream_indices() const { return range(R, R + stream_rows); }
    std::vector<int> indices(uint32_t which) const {
        std::vector<int> result;
        if ((which & TRIB_ROWS_MAIN) != 0) result = main_indices();
        if ((which & TRIB_ROWS_STREAM) != 0) {
            for (const int row : stream_indices()) result.push_back(row);
        }
        return result;
    }

    // The sequence's slots that a row sees, in order of position.
    std::vector<int> visible_slots(const step_row& row) const {
        const sequence_spec& sequence = sequences[row.sequence];
        std::vector<int> result;
        const bool in_tree = row.node >= 0 && sequence.tree.size() > 0;
        const int prefix_end = in_tree ? sequence.length : row.position + 1;
        for (int slot = row.first_visible; slot < prefix_end; ++slot) result.push_back(slot);
        if (in_tree) {
            for (const int node : sequence.tree.path_to(row.node)) {
                if (sequence.length + sequence.tree.depth[node] >= row.first_visible) {
                    result.push_back(sequence.length + node);
                }
            }
        }
        return result;
    }
    // Slot that a main row's K/V go to.
    int slot_of(const step_row& row) const { return sequences[row.sequence].length + row.node; }
    int page_of(int sequence, int slot) const { return page_table[sequence][slot / TRIB_PAGE_TOKENS]; }
    // Main row of a node, −1 when it was pruned.
    int row_of(int sequence, int node) const {
        for (int row = sequence_rows[sequence]; row < sequence_rows[sequence + 1]; ++row) {
            if (rows[row].node == node) return row;
        }
        return -1;
    }

    const trib_step* header() const { return &header_; }
    trib_step copy_of_header() const { return header_; }

    using int_array = std::unique_ptr<device_array<int32_t>>;
    int_array counts, row_sequence, row_node, row_position, row_rotary, row_first_visible, row_stream, sequence_length,
        device_sequence_rows, device_tree_begin, tree_token, tree_parent, mask_begin, device_page_table;
    std::unique_ptr<device_array<uint64_t>> masks;

    // Puts another step of the same capacities behind this one's addresses.
    void become(const ragged_step& other) {
        for (const auto member :
             {&ragged_step::counts, &ragged_step::row_sequence, &ragged_step::row_node, &ragged_step::row_position,
              &ragged_step::row_rotary, &ragged_step::row_first_visible, &ragged_step::row_stream,
              &ragged_step::sequence_length, &ragged_step::device_sequence_rows, &ragged_step::device_tree_begin,
              &ragged_step::tree_token, &ragged_step::tree_parent, &ragged_step::mask_begin,
              &ragged_step::device_page_table}) {
            if ((this->*member)->size() != (other.*member)->size()) {
                throw std::invalid_argument("steps of different capacities");
            }
            (this->*member)->set((other.*member)->values());
        }
        if (masks->size() != other.masks->size()) throw std::invalid_argument("steps of different capacities");
        masks->set(other.masks->values());
    }

    // What an operation is allowed to rewrite from here on.
    void thaw_rows() {
        for (int_array* array : {&counts, &row_sequence, &row_node, &row_position, &row_rotary, &row_first_visible,
                                 &row_stream, &device_sequence_rows}) {
            (*array)->memory().thaw();
        }
    }

private:
    static std::vector<int> range(int begin, int end) {
        std::vector<int> result;
        for (int i = begin; i < end; ++i) result.push_back(i);
        return result;
    }

    void layout_rows(const options& with) {
        std::vector<step_row> main;
        std::vector<step_row> streams;
        sequence_rows = {0};
        tree_begin = {0};
        for (int s = 0; s < static_cast<int>(sequences.size()); ++s) {
            sequence_spec& sequence = sequences[s];
            const int nodes = sequence.tree.size();
            if (sequence.surviving.empty()) sequence.surviving.assign(nodes, true);
            const auto first_visible = [&](int position) {
                return sequence.window == 0 ? 0 : std::max(0, position - sequence.window + 1);
            };
            std::vector<int> of_sequence;
            for (int node = 0; node < std::max(nodes, sequence.chunk); ++node) {
                if (nodes > 0 && !sequence.surviving[node]) continue;
                const int position = sequence.length + (nodes > 0 ? sequence.tree.depth[node] : node);
                of_sequence.push_back(static_cast<int>(main.size()));
                main.push_back({s, node, position, position, first_visible(position), 0, -1});
            }
            for (const int anchor : sequence.anchors) {
                const step_row& of = main[of_sequence.at(anchor)];
                for (int j = 1; j <= gamma; ++j) {
                    streams.push_back({s, of.node, of.position, of.position + (with.offset_positions ? j : 0),
                                       of.first_visible, j, of_sequence.at(anchor)});
                }
            }
            for (const int position : sequence.deferred) {
                for (int j = 1; j <= gamma; ++j) {
                    streams.push_back(
                        {s, -1, position, position + (with.offset_positions ? j : 0), first_visible(position), j, -1});
                }
            }
            sequence_rows.push_back(static_cast<int>(main.size()));
            tree_begin.push_back(tree_begin.back() + nodes);
        }
        main_rows = static_cast<int>(main.size());
        stream_rows = static_cast<int>(streams.size());
        R = std::max(main_rows + with.spare_rows, with.main_rows);
        Q = gamma == 0 ? 0 : std::max(stream_rows + with.spare_groups * gamma, with.stream_rows);
        S = std::max(static_cast<int>(sequences.size()) + with.spare_sequences, with.sequences);
        rows.assign(R + Q, step_row{});
        std::copy(main.begin(), main.end(), rows.begin());
        std::copy(streams.begin(), streams.end(), rows.begin() + R);
    }

    void layout_pages(random_source& random, const options& with) {
        std::vector<int> needed;
        int total = 0;
        for (const sequence_spec& sequence : sequences) {
            const int slots = sequence.length + std::max(sequence.chunk, sequence.tree.size());
            needed.push_back((slots + TRIB_PAGE_TOKENS - 1) / TRIB_PAGE_TOKENS);
            total += needed.back();
            P = std::max(P, needed.back() + 1);
        }
        P = std::max(P, with.pages_of_sequence);
        pages = std::max(total + 2, with.pages);
        std::vector<int32_t> free;
        for (int page = 0; page < pages; ++page) free.push_back(page);
        random.shuffle(free);
        for (const int count : needed) {
            page_table.emplace_back(P, index_poison);
            for (int i = 0; i < count; ++i) {
                page_table.back()[i] = free.back();
                free.pop_back();
            }
        }
    }

    void upload(random_source& random, const options& with) {
        const auto store = [](int_array& array, uint64_t& address, const std::vector<int32_t>& values) {
            array = std::make_unique<device_array<int32_t>>(values);
            address = array->address();
        };
        header_.struct_size = sizeof header_;
        header_.max_sequences = S;
        header_.max_main_rows = R;
        header_.max_stream_rows = Q;
        header_.gamma = gamma;
        header_.max_pages = P;
        store(counts, header_.counts, {static_cast<int32_t>(sequences.size()), main_rows, stream_rows, 0});
        const auto row_array = [&](int_array& array, uint64_t& address, int step_row::*member) {
            std::vector<int32_t> values(R + Q, index_poison);
            for (const int row : indices(TRIB_ROWS_ALL)) values[row] = rows[row].*member;
            store(array, address, values);
        };
        row_array(row_sequence, header_.row_sequence, &step_row::sequence);
        row_array(row_node, header_.row_node, &step_row::node);
        row_array(row_position, header_.row_position, &step_row::position);
        row_array(row_rotary, header_.row_rotary, &step_row::rotary);
        row_array(row_first_visible, header_.row_first_visible, &step_row::first_visible);
        row_array(row_stream, header_.row_stream, &step_row::stream);

        std::vector<int32_t> lengths(S, index_poison);
        std::vector<int32_t> row_begins(S + 1, index_poison);
        std::vector<int32_t> node_begins(S + 1, index_poison);
        std::vector<int32_t> word_begins(S, index_poison);
        std::vector<int32_t> tokens;
        std::vector<int32_t> parents;
        std::vector<uint64_t> words;
        std::vector<int32_t> table(static_cast<size_t>(S) * P, index_poison);
        std::copy(sequence_rows.begin(), sequence_rows.end(), row_begins.begin());
        std::copy(tree_begin.begin(), tree_begin.end(), node_begins.begin());
        for (size_t s = 0; s < sequences.size(); ++s) {
            const token_tree& tree = sequences[s].tree;
            lengths[s] = sequences[s].length;
            tokens.insert(tokens.end(), tree.token.begin(), tree.token.end());
            parents.insert(parents.end(), tree.parent.begin(), tree.parent.end());
            for (int gap = random.integer(0, 2); gap > 0; --gap) words.push_back(random.bits());
            word_begins[s] = static_cast<int32_t>(words.size());
            const int per_node = (tree.size() + 63) / 64;
            for (int node = 0; node < tree.size(); ++node) {
                std::vector<uint64_t> mask(per_node, 0);
                for (const int ancestor : tree.path_to(node)) mask[ancestor / 64] |= uint64_t{1} << (ancestor % 64);
                words.insert(words.end(), mask.begin(), mask.end());
            }
            std::copy(page_table[s].begin(), page_table[s].end(), table.begin() + static_cast<int64_t>(s) * P);
        }
        for (int i = 0; i < 3 || static_cast<int>(tokens.size()) < with.nodes; ++i) {
            tokens.push_back(index_poison);
            parents.push_back(index_poison);
        }
        for (int i = 0; i < 3 || static_cast<int>(words.size()) < with.mask_words; ++i) words.push_back(random.bits());
        header_.max_nodes = static_cast<uint32_t>(tokens.size());
        header_.max_mask_words = static_cast<uint32_t>(words.size());
        store(sequence_length, header_.sequence_length, lengths);
        store(device_sequence_rows, header_.sequence_rows, row_begins);
        store(device_tree_begin, header_.tree_begin, node_begins);
        store(tree_token, header_.tree_token, tokens);
        store(tree_parent, header_.tree_parent, parents);
        store(mask_begin, header_.mask_begin, word_begins);
        store(device_page_table, header_.page_table, table);
        masks = std::make_unique<device_array<uint64_t>>(words);
        header_.masks = masks->address();
    }

    trib_step header_{};
};

// A random batch that mixes every kind of sequence.
struct batch_shape {
    int sequences = 4;
    int gamma = 3;
    int nodes = 16;  // of each tree
    int max_chunk = 20;
    int max_length = 200;
    double anchor_density = 0.3;
    double window_chance = 0.25;
};

inline std::vector<sequence_spec> random_sequences(random_source& random, const batch_shape& shape) {
    const std::vector<int> borders = {0, 1, 15, 16, 17, 47, 48, 63, 64, 65, 79, 80, 81, 127, 128, 129, 143, 144};
    std::vector<sequence_spec> result;
    for (int s = 0; s < shape.sequences; ++s) {
        sequence_spec sequence;
        do {
            sequence.length = random.chance(0.6) ? random.pick(borders) : random.integer(0, shape.max_length);
        } while (sequence.length > shape.max_length);
        const int kind = s == 0 ? 0 : random.integer(0, 3);
        int main = 0;
        if (kind <= 1) {
            sequence.tree = random_tree(random, shape.nodes);
            sequence.surviving.assign(shape.nodes, true);
            if (kind == 1) {
                for (int node = 1; node < shape.nodes; ++node) {
                    sequence.surviving[node] = sequence.surviving[sequence.tree.parent[node]] && random.chance(0.8);
                }
            }
            main = static_cast<int>(std::count(sequence.surviving.begin(), sequence.surviving.end(), true));
        } else if (kind == 2) {
            main = sequence.chunk = random.chance(0.5) ? 1 : random.integer(1, shape.max_chunk);
        } else {
            main = sequence.chunk = sequence.length > 0 ? 0 : 1;
        }
        if (random.chance(shape.window_chance)) sequence.window = random.pick(std::vector<int>{1, 3, 20, 64, 100});
        if (shape.gamma > 0) {
            for (int row = 0; row < main; ++row) {
                if (random.chance(shape.anchor_density)) sequence.anchors.push_back(row);
            }
            if (sequence.length > 0 && (kind == 3 || random.chance(0.3))) {
                sequence.deferred.push_back(sequence.length - 1);
            }
        }
        result.push_back(sequence);
    }
    return result;
}

// The paged KV cache with a mirror on this side; unwritten slots are NaN.
class kv_cache {
public:
    kv_cache(uint32_t dtype, int layers, int pages, int kv_heads, int head_dim)
        : dtype(dtype),
          layers(layers),
          pages(pages),
          kv_heads(kv_heads),
          head_dim(head_dim),
          mirror(static_cast<size_t>(layers) * pages * 2 * kv_heads * TRIB_PAGE_TOKENS * head_dim, 0xffff),
          memory(mirror.size() * sizeof(uint16_t)) {}

    const uint32_t dtype;
    const int layers, pages, kv_heads, head_dim;
    std::vector<uint16_t> mirror;
    device_memory memory;

    // First element of one token's K (0) or V (1) of one head.
    size_t at(int layer, int page, int value, int head, int offset) const {
        return ((((static_cast<size_t>(layer) * pages + page) * 2 + value) * kv_heads + head) * TRIB_PAGE_TOKENS +
                offset) *
               head_dim;
    }
    size_t at(const ragged_step& step, int sequence, int slot, int layer, int value, int head) const {
        return at(layer, step.page_of(sequence, slot), value, head, slot % TRIB_PAGE_TOKENS);
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
    trib_kv_cache header() const {
        return {memory.address(),
                dtype,
                static_cast<uint32_t>(layers),
                static_cast<uint32_t>(pages),
                static_cast<uint32_t>(kv_heads),
                static_cast<uint32_t>(head_dim),
                0};
    }
    // Random keys (of deviation `key_scale`) and values in every slot that rows of the step may see; NaN elsewhere.
    void fill_visible(random_source& random, const ragged_step& step, double key_scale = 1) {
        // Picked from a table: caches are large.
        const std::vector<uint16_t> keys = encoded(dtype, random.normals(8192, key_scale));
        const std::vector<uint16_t> values = encoded(dtype, random.normals(8192));
        for (int s = 0; s < static_cast<int>(step.sequences.size()); ++s) {
            for (int slot = 0; slot < step.sequences[s].length; ++slot) {
                fill(random, step, s, slot, keys, values);
            }
        }
        for (int row = 0; row < step.main_rows; ++row) {
            fill(random, step, step.rows[row].sequence, step.slot_of(step.rows[row]), keys, values);
        }
        upload();
    }
    void fill(random_source& random, const ragged_step& step, int sequence, int slot, const std::vector<uint16_t>& keys,
              const std::vector<uint16_t>& values) {
        for (int layer = 0; layer < layers; ++layer) {
            for (int value = 0; value < 2; ++value) {
                const std::vector<uint16_t>& table = value == 0 ? keys : values;
                for (int head = 0; head < kv_heads; ++head) {
                    uint16_t* to = &mirror[at(step, sequence, slot, layer, value, head)];
                    uint64_t word = 0;
                    for (int i = 0; i < head_dim; ++i) {
                        if (i % 4 == 0) word = random.bits();
                        to[i] = table[word % table.size()];
                        word >>= 16;
                    }
                }
            }
        }
    }
};

}  // namespace tributary::test
