// SPDX-License-Identifier: Apache-2.0
#include "frontdoor/check.hpp"

#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace tributary {
namespace {

// Packed weights, the cache and workspace are allocations of their own; other tensors may be views of one.
constexpr size_t block_alignment = 64;
constexpr size_t tensor_alignment = 16;
// Every product of sizes below stays representable, whatever the caller passes.
constexpr int64_t max_bytes = int64_t{1} << 56;

const char* dtype_name(uint32_t dtype) {
    switch (dtype) {
        case TRIB_DTYPE_NONE: return "NONE";
        case TRIB_DTYPE_F32: return "F32";
        case TRIB_DTYPE_BF16: return "BF16";
        case TRIB_DTYPE_F16: return "F16";
        default: return "unknown";
    }
}

const char* types_name(uint32_t types) {
    switch (types) {
        case only_f32: return "F32";
        case half_types: return "BF16 or F16";
        case only_f32 | 1U << TRIB_DTYPE_BF16: return "F32 or BF16";
        case only_f32 | 1U << TRIB_DTYPE_F16: return "F32 or F16";
        case float_types: return "BF16, F16 or F32";
        default: return "another";
    }
}

const char* layout_name(uint32_t layout) {
    switch (layout) {
        case TRIB_LAYOUT_ROW_MAJOR: return "ROW_MAJOR";
        case TRIB_LAYOUT_PACKED: return "PACKED";
        case TRIB_LAYOUT_PACKED_GATE: return "PACKED_GATE";
        default: return "unknown";
    }
}

int64_t element_size(uint32_t dtype) { return dtype == TRIB_DTYPE_F32 ? 4 : 2; }

struct shape_text {
    char text[96];
};

// "[2, 3]" with the leading 1s of a rank below 3 left out; any_size as "*".
shape_text describe(const int64_t* shape, size_t rank) {
    shape_text result;
    int used = std::snprintf(result.text, sizeof result.text, "[");
    for (size_t i = 0; i < rank; ++i) {
        const char* separator = i == 0 ? "" : ", ";
        const auto at = static_cast<size_t>(used);
        used += shape[i] == any_size
                    ? std::snprintf(result.text + at, sizeof result.text - at, "%s*", separator)
                    : std::snprintf(result.text + at, sizeof result.text - at, "%s%" PRId64, separator, shape[i]);
    }
    std::snprintf(result.text + used, sizeof result.text - static_cast<size_t>(used), "]");
    return result;
}

// The bytes from the first to behind the last element.
uint64_t extent(const trib_tensor& tensor) {
    int64_t last = 0;
    for (int i = 0; i < 3; ++i) {
        last += (tensor.shape[i] - 1) * (tensor.shape[i] > 1 ? tensor.stride[i] : 0);
    }
    return static_cast<uint64_t>((last + 1) * element_size(tensor.dtype));
}

}  // namespace

void check::refuse(trib_status status, const char* format, ...) {
    if (!ok()) {
        return;
    }
    char detail[900];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    status_ = fail(status, "%s: %s", operation_, detail);
}

void check::zero(const char* name, uint64_t value) {
    if (ok() && value != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s is %" PRIu64 ", expected 0", name, value);
    }
}

void check::range(const char* name, int64_t value, int64_t least, int64_t greatest) {
    if (ok() && (value < least || value > greatest)) {
        refuse(TRIB_INVALID_ARGUMENT, "%s is %" PRId64 ", expected %" PRId64 " to %" PRId64, name, value, least,
               greatest);
    }
}

void check::real_range(const char* name, double value, double least, double end, bool closed) {
    if (ok() && !(value >= least && (closed ? value <= end : value < end))) {
        refuse(TRIB_INVALID_ARGUMENT, "%s is %g, expected a number in [%g, %g%c", name, value, least, end,
               closed ? ']' : ')');
    }
}

void check::address(const char* name, uint64_t address, size_t alignment, presence needed) {
    if (!ok() || !with_addresses_) {
        return;
    }
    if (address == 0) {
        if (needed == presence::required) {
            refuse(TRIB_INVALID_ARGUMENT, "%s is 0, expected an address", name);
        }
        return;
    }
    if (address % alignment != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s is 0x%" PRIx64 ", expected an address aligned to %zu bytes", name, address,
               alignment);
    }
}

void check::array(const char* name, uint64_t given, size_t element, presence needed) {
    address(name, given, element, needed);
}

void check::array_unless(const char* name, uint64_t given, size_t element, bool absent, const char* when) {
    if (!absent) {
        address(name, given, element, presence::required);
    } else if (ok() && with_addresses_ && given != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s is 0x%" PRIx64 ", expected 0 %s", name, given, when);
    }
}

void check::rows(uint32_t rows) {
    if (ok() && (rows < TRIB_ROWS_MAIN || rows > TRIB_ROWS_ALL)) {
        refuse(TRIB_INVALID_ARGUMENT, "rows is %u, expected TRIB_ROWS_MAIN (1), STREAM (2) or ALL (3)", rows);
    }
}

void check::step(const trib_step& step) {
    // Bounds every index into the step's arrays below 2³¹.
    constexpr int64_t most = int64_t{1} << 24;
    range("step.max_sequences", step.max_sequences, 1, most);
    range("step.max_main_rows", step.max_main_rows, 0, most);
    range("step.max_stream_rows", step.max_stream_rows, 0, most);
    range("step.max_main_rows + step.max_stream_rows", int64_t{step.max_main_rows} + step.max_stream_rows, 1, most);
    range("step.gamma", step.gamma, 0, TRIB_MAX_GAMMA);
    range("step.max_pages", step.max_pages, 0, most);
    range("step.max_nodes", step.max_nodes, 0, most);
    range("step.max_mask_words", step.max_mask_words, 0, most);
    if (ok() && (step.max_stream_rows == 0) != (step.gamma == 0)) {
        refuse(TRIB_INVALID_ARGUMENT, "step.gamma is %u with %u stream rows, expected both 0 or neither", step.gamma,
               step.max_stream_rows);
    }
    if (ok() && step.gamma != 0 && step.max_stream_rows % step.gamma != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "step.max_stream_rows is %u, expected a multiple of gamma, %u",
               step.max_stream_rows, step.gamma);
    }
    if (ok() && int64_t{step.max_sequences} * step.max_pages > most * 16) {
        refuse(TRIB_INVALID_ARGUMENT, "step.page_table has %u x %u entries, expected at most %" PRId64,
               step.max_sequences, step.max_pages, most * 16);
    }
    range("step.bound_main_rows", step.bound_main_rows, 0, step.max_main_rows);
    range("step.bound_stream_rows", step.bound_stream_rows, 0, step.max_stream_rows);
    range("step.bound_context", step.bound_context, 0, int64_t{step.max_pages} * TRIB_PAGE_TOKENS);
    zero("step.reserved", step.reserved);
    array("step.counts", step.counts, 4);
    array("step.row_sequence", step.row_sequence, 4);
    array("step.row_node", step.row_node, 4);
    array("step.row_position", step.row_position, 4);
    array("step.row_rotary", step.row_rotary, 4);
    array("step.row_first_visible", step.row_first_visible, 4);
    array("step.row_stream", step.row_stream, 4);
    array("step.sequence_length", step.sequence_length, 4);
    array("step.sequence_rows", step.sequence_rows, 4);
    array("step.tree_begin", step.tree_begin, 4);
    array("step.mask_begin", step.mask_begin, 4);
    const presence nodes = step.max_nodes != 0 ? presence::required : presence::optional;
    array("step.tree_token", step.tree_token, 4, nodes);
    array("step.tree_parent", step.tree_parent, 4, nodes);
    array("step.masks", step.masks, 8, step.max_mask_words != 0 ? presence::required : presence::optional);
    array("step.page_table", step.page_table, 4, step.max_pages != 0 ? presence::required : presence::optional);
}

bool check::type_and_address(const char* name, const trib_tensor& tensor, uint32_t types, presence needed) {
    if (!ok()) {
        return false;
    }
    if (needed == presence::optional && tensor.address == 0) {
        return false;
    }
    if (tensor.dtype >= 32 || (types >> tensor.dtype & 1U) == 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s.dtype is %s (%u), expected %s", name, dtype_name(tensor.dtype), tensor.dtype,
               types_name(types));
        return false;
    }
    if (tensor.scales != 0 || tensor.scale_block != 0) {
        refuse(TRIB_UNSUPPORTED, "%s has block scales, expected none for %s", name, dtype_name(tensor.dtype));
        return false;
    }
    if (tensor.reserved != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s.reserved is %u, expected 0", name, tensor.reserved);
        return false;
    }
    address(name, tensor.address, tensor.layout == TRIB_LAYOUT_ROW_MAJOR ? tensor_alignment : block_alignment, needed);
    return ok();
}

bool check::shape(const char* name, const trib_tensor& tensor, std::initializer_list<int64_t> expected,
                  const char* meaning) {
    const size_t rank = expected.size();
    const int64_t* wanted = expected.begin();
    bool agrees = true;
    int64_t elements = 1;
    for (size_t i = 0; i < 3; ++i) {
        const int64_t want = i < 3 - rank ? 1 : wanted[i - (3 - rank)];
        const int64_t size = tensor.shape[i];
        agrees = agrees && size >= 1 && (want == any_size || size == want);
        if (agrees && size > max_bytes / element_size(tensor.dtype) / elements) {
            refuse(TRIB_INVALID_ARGUMENT, "%s.shape is %s, expected less than 2^56 bytes", name,
                   describe(tensor.shape, 3).text);
            return false;
        }
        elements *= agrees ? size : 1;
    }
    if (!agrees) {
        const size_t shown = tensor.shape[0] != 1 || rank == 3 ? 3 : (tensor.shape[1] != 1 || rank == 2 ? 2 : 1);
        refuse(TRIB_INVALID_ARGUMENT, "%s.shape is %s, expected %s (%s)", name,
               describe(tensor.shape + (3 - shown), shown).text, describe(wanted, rank).text, meaning);
    }
    return agrees;
}

void check::tensor(const char* name, const trib_tensor& tensor, uint32_t types, std::initializer_list<int64_t> expected,
                   const char* meaning, presence needed) {
    if (!type_and_address(name, tensor, types, needed) || !shape(name, tensor, expected, meaning)) {
        return;
    }
    if (tensor.layout != TRIB_LAYOUT_ROW_MAJOR) {
        refuse(TRIB_INVALID_ARGUMENT, "%s.layout is %s (%u), expected ROW_MAJOR", name, layout_name(tensor.layout),
               tensor.layout);
        return;
    }
    // Rows may be apart, but never overlap. The stride of a dimension of size 1 is never used.
    int64_t least = 1;
    for (int i = 2; i >= 0; --i) {
        const int64_t stride = tensor.stride[i];
        const bool exact = i == 2;
        if (tensor.shape[i] > 1) {
            const int64_t greatest = max_bytes / element_size(tensor.dtype) / tensor.shape[i];
            if (stride < least || stride > greatest || (exact && stride != 1)) {
                refuse(TRIB_INVALID_ARGUMENT, "%s.stride[%d] is %" PRId64 ", expected %s%" PRId64, name, i, stride,
                       exact ? "" : "at least ", least);
                return;
            }
            least = stride * tensor.shape[i];
        }
    }
}

void check::packed(const char* name, const trib_tensor& tensor, int64_t rows, int64_t columns, const char* meaning,
                   uint32_t layout) {
    if (!type_and_address(name, tensor, half_types, presence::required) ||
        !shape(name, tensor, {rows, columns}, meaning)) {
        return;
    }
    if (tensor.layout != layout) {
        refuse(TRIB_INVALID_ARGUMENT, "%s.layout is %s (%u), expected %s", name, layout_name(tensor.layout),
               tensor.layout, layout_name(layout));
        return;
    }
    constexpr int64_t most = INT32_MAX - 64;
    if (tensor.shape[1] > most || tensor.shape[2] > most) {
        refuse(TRIB_UNSUPPORTED, "%s.shape is %s, expected less than 2^31 rows and columns", name,
               describe(tensor.shape + 1, 2).text);
    } else if (layout == TRIB_LAYOUT_PACKED_GATE && tensor.shape[1] % 2 != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "%s.shape is %s, expected an even number of rows (gate, then up)", name,
               describe(tensor.shape + 1, 2).text);
    }
}

void check::cache(const trib_kv_cache& cache) {
    if (!ok()) {
        return;
    }
    if (cache.dtype >= 32 || (half_types >> cache.dtype & 1U) == 0) {
        refuse(TRIB_INVALID_ARGUMENT, "cache.dtype is %s (%u), expected BF16 or F16", dtype_name(cache.dtype),
               cache.dtype);
        return;
    }
    range("cache.layers", cache.layers, 1, 1 << 16);
    range("cache.pages", cache.pages, 1, 1 << 24);
    range("cache.kv_heads", cache.kv_heads, 1, 1 << 16);
    range("cache.head_dim", cache.head_dim, 8, 256);
    if (ok() && cache.head_dim % 8 != 0) {
        refuse(TRIB_INVALID_ARGUMENT, "cache.head_dim is %u, expected a multiple of 8", cache.head_dim);
    }
    zero("cache.reserved", cache.reserved);
    if (ok()) {
        const int64_t page_bytes = int64_t{2} * 2 * TRIB_PAGE_TOKENS * cache.kv_heads * cache.head_dim;
        if (page_bytes > max_bytes / cache.layers / cache.pages) {
            refuse(TRIB_INVALID_ARGUMENT, "cache is larger than 2^56 bytes");
        }
    }
    address("cache", cache.address, block_alignment, presence::required);
}

void check::no_overlap(const char* name_a, const trib_tensor& a, const char* name_b, const trib_tensor& b) {
    if (ok() && with_addresses_ && a.address < b.address + extent(b) && b.address < a.address + extent(a)) {
        refuse(TRIB_INVALID_ARGUMENT, "%s at 0x%" PRIx64 " overlaps %s at 0x%" PRIx64 ", expected separate memory",
               name_a, a.address, name_b, b.address);
    }
}

void check::workspace(uint64_t given, uint64_t bytes, uint64_t needed) {
    if (!ok() || needed == 0) {
        return;
    }
    if (bytes < needed) {
        refuse(TRIB_INVALID_ARGUMENT, "workspace_bytes is %" PRIu64 ", expected at least %" PRIu64, bytes, needed);
    }
    address("workspace", given, block_alignment, presence::required);
}

}  // namespace tributary
