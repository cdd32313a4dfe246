// SPDX-License-Identifier: Apache-2.0
//
// 16-bit types by arithmetic on doubles (nothing is shared with the library), seeded randomness, and the rule by which
// results are judged: error against fp64 at most twice that of a plain 16-bit implementation, plus one ulp.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tributary/tributary.h"

namespace tributary::test {

struct format {
    int precision;     // significant bits, the hidden one included
    int min_exponent;  // of the least normal number
    double max_finite;
};

inline format format_of(uint32_t dtype) {
    switch (dtype) {
        case TRIB_DTYPE_BF16: return {8, -126, 0x1.fep127};
        case TRIB_DTYPE_F16: return {11, -14, 65504.0};
        default: return {24, -126, 0x1.fffffep127};
    }
}

// Distance between neighbours of `dtype` at the magnitude of x.
inline double ulp(uint32_t dtype, double x) {
    const format f = format_of(dtype);
    const int exponent = x == 0 ? f.min_exponent : std::max(std::ilogb(std::fabs(x)), f.min_exponent);
    return std::ldexp(1.0, exponent - (f.precision - 1));
}

// x rounded to the nearest value of `dtype`, ties to even.
inline double rounded(uint32_t dtype, double x) {
    if (x == 0 || !std::isfinite(x)) return x;
    const double unit = ulp(dtype, x);
    const double result = std::nearbyint(x / unit) * unit;
    return std::fabs(result) > format_of(dtype).max_finite ? std::copysign(INFINITY, x) : result;
}

inline uint16_t encoded(uint32_t dtype, double x) {
    const double value = rounded(dtype, x);
    if (dtype == TRIB_DTYPE_BF16)
        return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16);
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::fabs(value);
    if (std::isnan(magnitude)) return static_cast<uint16_t>(sign | 0x7e00);
    if (std::isinf(magnitude)) return static_cast<uint16_t>(sign | 0x7c00);
    if (magnitude < 0x1p-14) return static_cast<uint16_t>(sign | static_cast<int>(magnitude * 0x1p24));
    const int exponent = std::ilogb(magnitude);
    return static_cast<uint16_t>(sign | ((exponent + 15) << 10) |
                                 (static_cast<int>(std::ldexp(magnitude, 10 - exponent)) - 1024));
}

inline double decoded_f16(uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    const double sign = (bits & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
    return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
}

inline double decoded(uint32_t dtype, uint16_t bits) {
    static const std::vector<double> f16 = [] {
        std::vector<double> table(65536);
        for (size_t i = 0; i < table.size(); ++i) table[i] = decoded_f16(static_cast<uint16_t>(i));
        return table;
    }();
    return dtype == TRIB_DTYPE_BF16 ? std::bit_cast<float>(static_cast<uint32_t>(bits) << 16) : f16[bits];
}

inline std::vector<uint16_t> encoded(uint32_t dtype, const std::vector<double>& values) {
    std::vector<uint16_t> result(values.size());
    for (size_t i = 0; i < values.size(); ++i) result[i] = encoded(dtype, values[i]);
    return result;
}

inline std::vector<double> decoded(uint32_t dtype, const std::vector<uint16_t>& bits) {
    std::vector<double> result(bits.size());
    for (size_t i = 0; i < bits.size(); ++i) result[i] = decoded(dtype, bits[i]);
    return result;
}

inline const char* dtype_name(uint32_t dtype) {
    return dtype == TRIB_DTYPE_BF16 ? "bf16" : dtype == TRIB_DTYPE_F16 ? "f16" : "f32";
}

// The seed of the run: TRIBUTARY_TEST_SEED, or a fixed one.
inline uint64_t base_seed() {
    static const uint64_t seed = [] {
        const char* text = std::getenv("TRIBUTARY_TEST_SEED");
        return text == nullptr ? uint64_t{20260} : std::strtoull(text, nullptr, 0);
    }();
    return seed;
}

class random_source {
public:
    explicit random_source(uint64_t seed) : engine_(seed) {}

    uint64_t bits() { return engine_(); }
    // Uniform in low … high, both included.
    int integer(int low, int high) { return low + static_cast<int>(engine_() % static_cast<uint64_t>(high - low + 1)); }
    bool chance(double probability) { return real() < probability; }
    double real() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
    double normal() {
        const double radius = std::sqrt(-2 * std::log1p(-real()));
        return radius * std::cos(2 * M_PI * real());
    }
    template <class T>
    const T& pick(const std::vector<T>& choices) {
        return choices[static_cast<size_t>(integer(0, static_cast<int>(choices.size()) - 1))];
    }
    template <class T>
    void shuffle(std::vector<T>& values) {
        for (size_t i = values.size(); i > 1; --i) {
            std::swap(values[i - 1], values[static_cast<size_t>(integer(0, static_cast<int>(i) - 1))]);
        }
    }
    std::vector<double> normals(size_t count, double deviation = 1) {
        std::vector<double> result(count);
        for (double& value : result) value = deviation * normal();
        return result;
    }
    std::vector<double> integers(size_t count, int low, int high) {
        std::vector<double> result(count);
        for (double& value : result) value = integer(low, high);
        return result;
    }

private:
    std::mt19937_64 engine_;
};

inline std::vector<float> to_float(const std::vector<double>& values) { return {values.begin(), values.end()}; }
inline std::vector<double> to_double(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Greatest distance of `got` from `exact`; infinity when an element is not a number.
template <class T>
double greatest_error(std::span<const T> got, std::span<const double> exact) {
    double result = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
        const double error = std::fabs(static_cast<double>(got[i]) - exact[i]);
        if (std::isnan(error)) return INFINITY;
        result = std::max(result, error);
    }
    return result;
}

// The rule. `plain` holds what a plain 16-bit implementation computes.
inline testing::AssertionResult obeys_the_rule(const std::vector<float>& got, const std::vector<double>& exact,
                                               const std::vector<double>& plain) {
    if (got.size() != exact.size() || plain.size() != exact.size()) {
        return testing::AssertionFailure()
               << "sizes differ: " << got.size() << ", " << exact.size() << ", " << plain.size();
    }
    double magnitude = 0;
    for (const double value : exact) magnitude = std::max(magnitude, std::fabs(value));
    const double plain_error = greatest_error<double>(plain, exact);
    const double error = greatest_error<float>(got, exact);
    const double bound = 2 * plain_error + ulp(TRIB_DTYPE_F32, magnitude);
    if (!std::isfinite(plain_error)) return testing::AssertionFailure() << "the plain implementation is not finite";
    if (error <= bound) return testing::AssertionSuccess();
    for (size_t i = 0; i < exact.size(); ++i) {
        if (!(std::fabs(got[i] - exact[i]) <= bound)) {
            return testing::AssertionFailure() << "element " << i << " is " << got[i] << ", exactly " << exact[i]
                                               << "; greatest error " << error << ", allowed " << bound;
        }
    }
    return testing::AssertionFailure() << "unreachable";
}

// Every element within its own bound.
inline testing::AssertionResult within(const std::vector<float>& got, const std::vector<double>& exact,
                                       const std::vector<double>& bound) {
    for (size_t i = 0; i < exact.size(); ++i) {
        if (!(std::fabs(got[i] - exact[i]) <= bound[i])) {
            return testing::AssertionFailure() << "element " << i << " is " << got[i] << ", exactly " << exact[i]
                                               << "; off by " << got[i] - exact[i] << ", allowed " << bound[i];
        }
    }
    return testing::AssertionSuccess();
}

// Equality of bits, NaN included.
template <class T>
testing::AssertionResult same_bits(const std::vector<T>& got, const std::vector<T>& expected) {
    if (got.size() != expected.size()) {
        return testing::AssertionFailure() << got.size() << " elements against " << expected.size();
    }
    for (size_t i = 0; i < got.size(); ++i) {
        if (std::memcmp(&got[i], &expected[i], sizeof(T)) != 0) {
            return testing::AssertionFailure() << "element " << i << " is " << got[i] << ", expected " << expected[i];
        }
    }
    return testing::AssertionSuccess();
}

}  // namespace tributary::test
