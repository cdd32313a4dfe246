// SPDX-License-Identifier: Apache-2.0
#include "steps.hpp"

#include <algorithm>
#include <random>

namespace tributary::bench {
namespace {

constexpr int spare_pages = TRIB_MAX_TREE / TRIB_PAGE_TOKENS + 1;

// Offsets of arrays in one block, which goes to the device as a whole, as a pass's plan does.
class layout {
public:
    size_t ints(size_t count) { return take(count * sizeof(int32_t)); }
    size_t words(size_t count) { return take(count * sizeof(uint64_t)); }
    size_t bytes() const { return bytes_; }

private:
    size_t take(size_t size) {
        const size_t at = bytes_;
        bytes_ += (std::max<size_t>(size, 1) + 63) / 64 * 64;
        return at;
    }
    size_t bytes_ = 0;
};

// The bound that the engine gives a pass with positions below `context`: few bounds serve all passes.
int rounded_context(int context) {
    int rounded = 256;
    while (rounded < context) {
        rounded *= 2;
    }
    return rounded;
}

}  // namespace

std::vector<int> random_tree(int nodes, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<int> parents = {-1};
    std::vector<int> depth = {0};
    while (static_cast<int>(parents.size()) < nodes) {
        // Below one of the newest nodes, so that the tree branches and still grows deep.
        const int newest = static_cast<int>(parents.size()) - 1;
        const int parent = std::max(0, newest - static_cast<int>(random() % 6));
        if (depth[static_cast<size_t>(parent)] < TRIB_MAX_DEPTH) {
            parents.push_back(parent);
            depth.push_back(depth[static_cast<size_t>(parent)] + 1);
        } else {
            parents.push_back(0);
            depth.push_back(1);
        }
    }
    return parents;
}

device_step::device_step(row_capacity capacity, int gamma, const std::vector<sequence>& sequences) {
    const auto s_count = sequences.size();
    const auto r_capacity = static_cast<size_t>(capacity.main_rows);
    const auto q_capacity = static_cast<size_t>(capacity.stream_rows);
    const size_t rows = r_capacity + q_capacity;
    size_t page_capacity = 1;
    size_t nodes = 0;
    size_t mask_words = 0;
    for (const sequence& s : sequences) {
        const size_t t = s.parents.size();
        const int slots = s.committed + s.main_rows();
        page_capacity =
            std::max(page_capacity, static_cast<size_t>(rounded_context(slots) / TRIB_PAGE_TOKENS + spare_pages));
        nodes += t;
        mask_words += t * ((t + 63) / 64);
    }
    layout l;
    const size_t counts = l.ints(4);
    const size_t row_sequence = l.ints(rows);
    const size_t row_node = l.ints(rows);
    const size_t row_position = l.ints(rows);
    const size_t row_rotary = l.ints(rows);
    const size_t row_first_visible = l.ints(rows);
    const size_t row_stream = l.ints(rows);
    const size_t sequence_length = l.ints(s_count);
    const size_t sequence_rows = l.ints(s_count + 1);
    const size_t tree_begin = l.ints(s_count + 1);
    const size_t tree_token = l.ints(nodes);
    const size_t tree_parent = l.ints(nodes);
    const size_t mask_begin = l.ints(s_count);
    const size_t masks = l.words(mask_words);
    const size_t page_table = l.ints(s_count * page_capacity);
    const size_t row_source = l.ints(q_capacity);
    const size_t live_rows = l.ints(rows);
    const size_t live_count = l.ints(1);
    const size_t segments = l.ints(3);
    const size_t segment_count = l.ints(1);

    std::vector<char> host(l.bytes());
    const auto put = [&](size_t array, size_t index, int value) {
        reinterpret_cast<int32_t*>(host.data() + array)[index] = value;
    };
    std::vector<int> pages;
    for (const sequence& s : sequences) {
        pages_ += (s.committed + s.main_rows() + TRIB_PAGE_TOKENS - 1) / TRIB_PAGE_TOKENS + 1;
    }
    for (int i = 0; i < pages_; ++i) {
        pages.push_back(i);
    }
    std::shuffle(pages.begin(), pages.end(), std::mt19937(7));

    int greatest_position = 0;
    size_t next_page = 0;
    size_t next_node = 0;
    size_t next_mask = 0;
    for (size_t s = 0; s < s_count; ++s) {
        const sequence& given = sequences[s];
        const size_t t = given.parents.size();
        put(sequence_length, s, given.committed);
        put(sequence_rows, s, main_rows_);
        put(tree_begin, s, static_cast<int>(next_node));
        put(mask_begin, s, static_cast<int>(next_mask));
        const int held = (given.committed + given.main_rows() + TRIB_PAGE_TOKENS - 1) / TRIB_PAGE_TOKENS + 1;
        for (size_t i = 0; i < page_capacity; ++i) {
            put(page_table, s * page_capacity + i, i < static_cast<size_t>(held) ? pages[next_page++] : 0);
        }
        slots_ += given.committed + given.main_rows();
        const int first = main_rows_;
        std::vector<int> depth(std::max<size_t>(t, 1), 0);
        for (int i = 0; i < given.main_rows(); ++i) {
            const auto node = static_cast<size_t>(i);
            if (t != 0) {
                const int parent = given.parents[node];
                depth[node] = parent < 0 ? 0 : depth[static_cast<size_t>(parent)] + 1;
                put(tree_token, next_node + node, i);
                put(tree_parent, next_node + node, parent);
                auto* words = reinterpret_cast<uint64_t*>(host.data() + masks) + next_mask;
                const size_t width = (t + 63) / 64;
                for (int up = i; up >= 0; up = given.parents[static_cast<size_t>(up)]) {
                    words[node * width + static_cast<size_t>(up) / 64] |= uint64_t{1} << (up % 64);
                }
            }
            const int position = given.committed + (t != 0 ? depth[node] : i);
            const auto row = static_cast<size_t>(main_rows_);
            put(row_sequence, row, static_cast<int>(s));
            put(row_node, row, i);
            put(row_position, row, position);
            put(row_rotary, row, position);
            greatest_position = std::max(greatest_position, position);
            visible_keys_ += position + 1;
            ++main_rows_;
        }
        for (int anchor = 0; anchor < given.anchors; ++anchor) {
            const int position =
                given.committed + (t != 0 ? depth[static_cast<size_t>(anchor)] : given.causal_rows - 1);
            for (int j = 1; j <= gamma; ++j) {
                const auto row = r_capacity + static_cast<size_t>(stream_rows_);
                put(row_sequence, row, static_cast<int>(s));
                put(row_node, row, t != 0 ? anchor : given.causal_rows - 1);
                put(row_position, row, position);
                put(row_rotary, row, position + j);
                put(row_stream, row, j);
                put(row_source, static_cast<size_t>(stream_rows_), first + std::min(anchor, given.main_rows() - 1));
                visible_keys_ += position + 1 + j;
                ++stream_rows_;
            }
        }
        next_node += t;
        next_mask += t * ((t + 63) / 64);
    }
    if (main_rows_ > capacity.main_rows || stream_rows_ > capacity.stream_rows) {
        throw std::logic_error("more rows than the step's capacity");
    }
    put(sequence_rows, s_count, main_rows_);
    put(tree_begin, s_count, static_cast<int>(next_node));
    put(counts, 0, static_cast<int>(s_count));
    put(counts, 1, main_rows_);
    put(counts, 2, stream_rows_);
    for (int i = 0; i < this->rows(); ++i) {
        put(live_rows, static_cast<size_t>(i), i < main_rows_ ? i : capacity.main_rows + i - main_rows_);
    }
    put(live_count, 0, this->rows());
    put(segments, 0, capacity.main_rows);
    put(segments, 1, capacity.main_rows + stream_rows_);
    put(segments, 2, 0);
    put(segment_count, 0, stream_rows_ != 0 ? 1 : 0);

    memory_ = buffer(host);
    const auto at = [&](size_t offset) { return memory_.address() + offset; };
    step_.struct_size = sizeof step_;
    step_.max_sequences = static_cast<uint32_t>(s_count);
    step_.max_main_rows = static_cast<uint32_t>(capacity.main_rows);
    step_.max_stream_rows = static_cast<uint32_t>(capacity.stream_rows);
    step_.gamma = capacity.stream_rows != 0 ? static_cast<uint32_t>(gamma) : 0;
    step_.max_pages = static_cast<uint32_t>(page_capacity);
    step_.max_nodes = static_cast<uint32_t>(nodes);
    step_.max_mask_words = static_cast<uint32_t>(mask_words);
    step_.counts = at(counts);
    step_.row_sequence = at(row_sequence);
    step_.row_node = at(row_node);
    step_.row_position = at(row_position);
    step_.row_rotary = at(row_rotary);
    step_.row_first_visible = at(row_first_visible);
    step_.row_stream = at(row_stream);
    step_.sequence_length = at(sequence_length);
    step_.sequence_rows = at(sequence_rows);
    step_.tree_begin = at(tree_begin);
    step_.tree_token = at(tree_token);
    step_.tree_parent = at(tree_parent);
    step_.mask_begin = at(mask_begin);
    step_.masks = at(masks);
    step_.page_table = at(page_table);
    step_.bound_main_rows = static_cast<uint32_t>(main_rows_);
    step_.bound_stream_rows = static_cast<uint32_t>(stream_rows_);
    step_.bound_context = static_cast<uint32_t>(rounded_context(greatest_position + 1));
    row_source_ = at(row_source);
    live_rows_ = at(live_rows);
    live_count_ = at(live_count);
    segments_ = at(segments);
    segment_count_ = at(segment_count);
}

device_step plain_rows(row_capacity capacity, int main_rows, int stream_rows) {
    constexpr int gamma = 4;
    // Up to a tree's rows one tree, beyond that a batch of trees, its rows spread evenly.
    std::vector<sequence> sequences;
    const int count = std::max(1, (main_rows + TRIB_MAX_TREE - 1) / TRIB_MAX_TREE);
    int main_left = main_rows;
    int anchors_left = stream_rows / gamma;
    for (int i = 0; i < count; ++i) {
        const int nodes = main_left / (count - i);
        const int anchors = std::min(nodes, (anchors_left + count - i - 1) / (count - i));
        sequences.push_back(
            {.committed = 512, .parents = random_tree(nodes, static_cast<uint32_t>(i)), .anchors = anchors});
        main_left -= nodes;
        anchors_left -= anchors;
    }
    return device_step(capacity, gamma, sequences);
}

trib_tensor matrix(uint64_t address, uint32_t dtype, int64_t rows, int64_t columns) {
    return {address, 0, {1, rows, columns}, {rows * columns, columns, 1}, dtype, TRIB_LAYOUT_ROW_MAJOR, 0, 0};
}

trib_tensor groups_of(uint64_t address, uint32_t dtype, int64_t rows, int64_t groups, int64_t width,
                      int64_t row_stride) {
    return {address, 0, {rows, groups, width}, {row_stride, width, 1}, dtype, TRIB_LAYOUT_ROW_MAJOR, 0, 0};
}

trib_tensor packed(uint64_t address, uint32_t layout, int64_t rows, int64_t columns) {
    return {address, 0, {1, rows, columns}, {rows * columns, columns, 1}, TRIB_DTYPE_BF16, layout, 0, 0};
}

}  // namespace tributary::bench
