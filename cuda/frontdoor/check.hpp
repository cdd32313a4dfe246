// SPDX-License-Identifier: Apache-2.0
//
// The checks of one call. The first that fails sets the error text; all later ones do nothing, so that an operation's
// checks read as a plain list of what must hold.
#pragma once

#include <stddef.h>
#include <string.h>

#include <initializer_list>

#include "frontdoor/backend.hpp"
#include "frontdoor/error.hpp"

namespace tributary {

// In an expected shape: any size ≥ 1.
inline constexpr int64_t any_size = -1;

// Sets of dtypes, one bit each.
inline constexpr uint32_t only_f32 = 1U << TRIB_DTYPE_F32;
inline constexpr uint32_t half_types = 1U << TRIB_DTYPE_BF16 | 1U << TRIB_DTYPE_F16;
inline constexpr uint32_t float_types = only_f32 | half_types;

// What feeds a product with `weight`, or is written for one: F32 or the weight's type. A weight of another type is
// refused by its own check.
inline uint32_t operand_types(const trib_tensor& weight) {
    return only_f32 | (weight.dtype < 32 ? 1U << weight.dtype & half_types : 0);
}

enum class presence { required, optional };

class check {
public:
    // `with_addresses` false: a query for capacities; addresses may still be 0 and are not looked at.
    check(const char* operation, bool with_addresses) : operation_(operation), with_addresses_(with_addresses) {}

    bool ok() const { return status_ == TRIB_OK; }
    trib_status status() const { return status_; }

    // Records a failure: "<operation>: …".
    void refuse(trib_status status, const char* format, ...) __attribute__((format(printf, 3, 4)));

    // Completes a caller's struct to the size that this library knows.
    template <class T>
    void complete(const char* name, const T* given, T& whole) {
        memset(&whole, 0, sizeof whole);
        if (!ok()) {
            return;
        }
        if (given == nullptr) {
            refuse(TRIB_INVALID_ARGUMENT, "%s is null", name);
            return;
        }
        const uint32_t size = given->struct_size;
        if (size < sizeof size || size > sizeof whole) {
            refuse(TRIB_INVALID_ARGUMENT, "%s.struct_size is %u, expected %zu", name, size, sizeof whole);
            return;
        }
        memcpy(&whole, given, size);
    }

    void zero(const char* name, uint64_t value);
    void range(const char* name, int64_t value, int64_t least, int64_t greatest);
    // A finite number in [least, end), or with `closed` in [least, end].
    void real_range(const char* name, double value, double least, double end, bool closed);
    void step(const trib_step& step);
    void rows(uint32_t rows);
    // An array of `count` elements of `element` bytes.
    void array(const char* name, uint64_t address, size_t element, presence needed = presence::required);
    // An array that must stay away (address 0) exactly when `absent`.
    void array_unless(const char* name, uint64_t address, size_t element, bool absent, const char* when);
    // `rank` trailing dimensions as expected, leading ones 1; `meaning` explains them in the error text.
    void tensor(const char* name, const trib_tensor& tensor, uint32_t types, std::initializer_list<int64_t> shape,
                const char* meaning, presence needed = presence::required);
    void packed(const char* name, const trib_tensor& tensor, int64_t rows, int64_t columns, const char* meaning,
                uint32_t layout = TRIB_LAYOUT_PACKED);
    void cache(const trib_kv_cache& cache);
    void no_overlap(const char* name_a, const trib_tensor& a, const char* name_b, const trib_tensor& b);
    void workspace(uint64_t address, uint64_t bytes, uint64_t needed);

private:
    bool type_and_address(const char* name, const trib_tensor& tensor, uint32_t types, presence needed);
    bool shape(const char* name, const trib_tensor& tensor, std::initializer_list<int64_t> expected,
               const char* meaning);
    void address(const char* name, uint64_t address, size_t alignment, presence needed);

    const char* operation_;
    bool with_addresses_;
    trib_status status_ = TRIB_OK;
};

}  // namespace tributary
