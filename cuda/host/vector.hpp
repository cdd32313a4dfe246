// SPDX-License-Identifier: Apache-2.0
//
// Sixteen fp32 lanes with one meaning on every instruction set: one zmm, two ymm or four 128-bit vectors. Element-wise
// operations and reductions give the same result on every level, in the order written here, except `fma`, which rounds
// once where the processor fuses (avx2 and above) and twice on the generic level. Bits are compared within a level only.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define TRIBUTARY_INLINE [[gnu::always_inline, maybe_unused]] inline

namespace tributary::host::TRIBUTARY_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int vector_parts = 1;
#elif defined(__AVX2__)
constexpr int vector_parts = 2;
#else
constexpr int vector_parts = 4;
#endif
constexpr int part_lanes = 16 / vector_parts;

using f32_part = float __attribute__((vector_size(4 * part_lanes)));
using i32_part = int32_t __attribute__((vector_size(4 * part_lanes)));
using u32_part = uint32_t __attribute__((vector_size(4 * part_lanes)));
using u16_part = uint16_t __attribute__((vector_size(2 * part_lanes)));

struct f32x16 {
    f32_part part[vector_parts];
};
struct i32x16 {
    i32_part part[vector_parts];
};

// ---------------------------------------------------------------- one value

TRIBUTARY_INLINE uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

TRIBUTARY_INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

TRIBUTARY_INLINE float bf16_to_f32(uint16_t x) { return float_of(static_cast<uint32_t>(x) << 16); }

// To nearest, ties to even; NaN stays NaN (quiet). Subnormals are kept.
TRIBUTARY_INLINE uint16_t f32_to_bf16(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffU) > 0x7f800000U) {
        return static_cast<uint16_t>(bits >> 16 | 0x40U);
    }
    return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

TRIBUTARY_INLINE float f16_to_f32(uint16_t x) {
    const uint32_t sign = static_cast<uint32_t>(x & 0x8000U) << 16;
    const uint32_t magnitude = x & 0x7fffU;
    if (magnitude >= 0x7c00U) {  // infinity, NaN (made quiet)
        return float_of(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13 | (magnitude > 0x7c00U ? 0x400000U : 0U));
    }
    // The exponent is rebiased by a multiplication, which is exact and makes subnormals normal.
    const float scaled = float_of(magnitude << 13) * 0x1p112F;
    return float_of(sign | bits_of(scaled));
}

// To nearest, ties to even; beyond 65504 rounds to infinity as IEEE says; NaN stays NaN.
TRIBUTARY_INLINE uint16_t f32_to_f16(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t sign = bits >> 16 & 0x8000U;
    const uint32_t magnitude = bits & 0x7fffffffU;
    if (magnitude > 0x7f800000U) {
        return static_cast<uint16_t>(sign | 0x7e00U | (magnitude >> 13 & 0x3ffU));
    }
    if (magnitude >= 0x477ff000U) {  // 65520 and above
        return static_cast<uint16_t>(sign | 0x7c00U);
    }
    if (magnitude < 0x38800000U) {  // subnormal in fp16: adding 0.5 lets the fp32 adder round at 2⁻²⁴
        const float rounded = float_of(magnitude) + 0.5F;
        return static_cast<uint16_t>(sign | (bits_of(rounded) - 0x3f000000U));
    }
    const uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

// ---------------------------------------------------------------- loads, stores, constants

TRIBUTARY_INLINE f32x16 splat(float x) {
    f32x16 y;
    for (int i = 0; i < vector_parts; ++i) {
        y.part[i] = x - f32_part{};  // −0 − 0 = −0: every value survives
    }
    return y;
}

TRIBUTARY_INLINE f32x16 zero() {
    f32x16 y;
    for (int i = 0; i < vector_parts; ++i) {
        y.part[i] = f32_part{};
    }
    return y;
}

// 16 floats from any address.
TRIBUTARY_INLINE f32x16 load(const float* x) {
    f32x16 y;
    memcpy(&y, x, sizeof y);
    return y;
}

TRIBUTARY_INLINE void store(float* y, f32x16 x) { memcpy(y, &x, sizeof x); }

// The first n ≤ 16 floats; the other lanes are 0 and their memory is not touched.
TRIBUTARY_INLINE f32x16 load_first(const float* x, int n) {
    f32x16 y = zero();
    memcpy(&y, x, sizeof(float) * static_cast<size_t>(n));
    return y;
}

TRIBUTARY_INLINE void store_first(float* y, f32x16 x, int n) { memcpy(y, &x, sizeof(float) * static_cast<size_t>(n)); }

// 16 bf16 values from any address.
TRIBUTARY_INLINE f32x16 load_bf16(const uint16_t* x) {
    f32x16 y;
    for (int i = 0; i < vector_parts; ++i) {
        u16_part narrow;
        memcpy(&narrow, x + i * part_lanes, sizeof narrow);
        const u32_part wide = __builtin_convertvector(narrow, u32_part) << 16;
        memcpy(&y.part[i], &wide, sizeof wide);
    }
    return y;
}

// 16 fp16 values from any address.
TRIBUTARY_INLINE f32x16 load_f16(const uint16_t* x) {
    f32x16 y;
#if defined(__AVX512F__)
    y.part[0] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
#elif defined(__AVX2__)
    for (int i = 0; i < vector_parts; ++i) {
        y.part[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i * part_lanes)));
    }
#else
    float lanes[16];
    for (int i = 0; i < 16; ++i) {
        lanes[i] = f16_to_f32(x[i]);
    }
    memcpy(&y, lanes, sizeof y);
#endif
    return y;
}

// 16 values of `dtype`, TRIB_DTYPE_BF16 (2) or TRIB_DTYPE_F16 (3).
TRIBUTARY_INLINE f32x16 load_half(const uint16_t* x, uint32_t dtype) { return dtype == 2 ? load_bf16(x) : load_f16(x); }

// One value of `dtype`, likewise.
TRIBUTARY_INLINE float half_to_f32(uint16_t x, uint32_t dtype) { return dtype == 2 ? bf16_to_f32(x) : f16_to_f32(x); }
TRIBUTARY_INLINE uint16_t f32_to_half(float x, uint32_t dtype) { return dtype == 2 ? f32_to_bf16(x) : f32_to_f16(x); }

// Stores 16 values as bf16, lane by lane what f32_to_bf16() makes of them. (vcvtneps2bf16 would flush subnormals.)
TRIBUTARY_INLINE void store_bf16(uint16_t* y, f32x16 x) {
    for (int i = 0; i < vector_parts; ++i) {
        u32_part bits;
        memcpy(&bits, &x.part[i], sizeof bits);
        const u32_part rounded = bits + 0x7fffU + (bits >> 16 & 1U);
        const u32_part quiet = bits | 0x400000U;
        const u32_part narrow = (x.part[i] == x.part[i] ? rounded : quiet) >> 16;
        const u16_part half = __builtin_convertvector(narrow, u16_part);
        memcpy(y + i * part_lanes, &half, sizeof half);
    }
}

// Stores 16 values as fp16, lane by lane what f32_to_f16() makes of them.
TRIBUTARY_INLINE void store_f16(uint16_t* y, f32x16 x) {
#if defined(__AVX512F__)
    const __m256i half = _mm512_cvtps_ph(x.part[0], _MM_FROUND_TO_NEAREST_INT);
    memcpy(y, &half, sizeof half);
#elif defined(__AVX2__)
    for (int i = 0; i < vector_parts; ++i) {
        const __m128i half = _mm256_cvtps_ph(x.part[i], _MM_FROUND_TO_NEAREST_INT);
        memcpy(y + i * part_lanes, &half, sizeof half);
    }
#else
    float lanes[16];
    store(lanes, x);
    for (int i = 0; i < 16; ++i) {
        y[i] = f32_to_f16(lanes[i]);
    }
#endif
}

// Stores 16 values rounded to `dtype`.
TRIBUTARY_INLINE void store_half(uint16_t* y, f32x16 x, uint32_t dtype) {
    if (dtype == 2) {
        store_bf16(y, x);
    } else {
        store_f16(y, x);
    }
}

// Values i … i + count − 1 (count ≤ 16) of an array of `dtype` (TRIB_DTYPE_F32 = 1, BF16 = 2, F16 = 3); other lanes are
// 0 and their memory is not touched.
TRIBUTARY_INLINE f32x16 load_values(const void* array, uint32_t dtype, int64_t i, int count) {
    if (dtype == 1) {
        const auto* from = static_cast<const float*>(array) + i;
        return count == 16 ? load(from) : load_first(from, count);
    }
    const auto* from = static_cast<const uint16_t*>(array) + i;
    if (count == 16) {
        return load_half(from, dtype);
    }
    uint16_t padded[16] = {};
    memcpy(padded, from, sizeof(uint16_t) * static_cast<size_t>(count));
    return load_half(padded, dtype);
}

// Stores the first `count` ≤ 16 lanes as values i … i + count − 1 of an array of `dtype`, likewise.
TRIBUTARY_INLINE void store_values(void* array, uint32_t dtype, int64_t i, f32x16 x, int count) {
    if (dtype == 1) {
        auto* to = static_cast<float*>(array) + i;
        if (count == 16) {
            store(to, x);
        } else {
            store_first(to, x, count);
        }
        return;
    }
    auto* to = static_cast<uint16_t*>(array) + i;
    if (count == 16) {
        store_half(to, x, dtype);
        return;
    }
    uint16_t padded[16];
    store_half(padded, x, dtype);
    memcpy(to, padded, sizeof(uint16_t) * static_cast<size_t>(count));
}

// ---------------------------------------------------------------- arithmetic

TRIBUTARY_INLINE f32x16 operator+(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] += b.part[i];
    }
    return a;
}

TRIBUTARY_INLINE f32x16 operator-(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] -= b.part[i];
    }
    return a;
}

TRIBUTARY_INLINE f32x16 operator*(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] *= b.part[i];
    }
    return a;
}

TRIBUTARY_INLINE f32x16 operator/(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] /= b.part[i];
    }
    return a;
}

// a · b + c.
TRIBUTARY_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
#if defined(__AVX512F__)
    c.part[0] = _mm512_fmadd_ps(a.part[0], b.part[0], c.part[0]);
#elif defined(__FMA__)
    for (int i = 0; i < vector_parts; ++i) {
        c.part[i] = _mm256_fmadd_ps(a.part[i], b.part[i], c.part[i]);
    }
#else
    for (int i = 0; i < vector_parts; ++i) {
        c.part[i] = a.part[i] * b.part[i] + c.part[i];
    }
#endif
    return c;
}

// a > b ? a : b in each lane: b where either is NaN.
TRIBUTARY_INLINE f32x16 max(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
    }
    return a;
}

// a < b ? a : b in each lane: b where either is NaN.
TRIBUTARY_INLINE f32x16 min(f32x16 a, f32x16 b) {
    for (int i = 0; i < vector_parts; ++i) {
        a.part[i] = a.part[i] < b.part[i] ? a.part[i] : b.part[i];
    }
    return a;
}

// ---------------------------------------------------------------- reductions over the lanes

// ((l0+l8)+(l4+l12)) + ((l2+l10)+(l6+l14)) for the even lanes, likewise the odd ones, then even + odd: halves are added
// to halves, 16 → 8 → 4 → 2 → 1.
TRIBUTARY_INLINE float sum(f32x16 x) {
    float lanes[16];
    store(lanes, x);
    for (int width = 8; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) {
            lanes[i] += lanes[i + width];
        }
    }
    return lanes[0];
}

// Greatest lane; lanes must not be NaN.
TRIBUTARY_INLINE float max_lane(f32x16 x) {
    float lanes[16];
    store(lanes, x);
    for (int width = 8; width > 0; width /= 2) {
        for (int i = 0; i < width; ++i) {
            lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
        }
    }
    return lanes[0];
}

// ---------------------------------------------------------------- exp

// eˣ in fp32, within 1.1 units in the last place of the true value for −87.3 ≤ x ≤ 88.7; below it is 0 (results smaller
// than the smallest normal number are flushed), above it is infinity, NaN stays NaN. exp(−∞) = 0, exp(0) = 1.
// eˣ = 2ⁿ · eʳ with n = round(x · log₂ e), |r| ≤ ½ ln 2; eʳ by its Taylor polynomial of degree 7 with fitted tail.
TRIBUTARY_INLINE f32x16 exp(f32x16 x) {
    f32x16 y;
    for (int i = 0; i < vector_parts; ++i) {
        const f32_part v = x.part[i];
        const f32_part zeros = {};
        const f32_part lowest = zeros - 87.33654F;
        const f32_part greatest = zeros + 88.72283F;
        f32_part inside = v > lowest ? v : lowest;  // NaN → lowest; put back at the end
        inside = inside < greatest ? inside : greatest;
        // Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the significand.
        const f32_part shifted = inside * 1.44269504F + 12582912.0F;
        const f32_part n = shifted - 12582912.0F;
        i32_part exponent;
        memcpy(&exponent, &shifted, sizeof exponent);
        exponent -= 0x4b400000;
        // ln 2 in two pieces; n · 0.693359375 is exact.
        f32_part r = inside - n * 0.693359375F;
        r = r + n * 2.12194440e-4F;
        f32_part p = zeros + 1.9875691500e-4F;
        p = p * r + 1.3981999507e-3F;
        p = p * r + 8.3334519073e-3F;
        p = p * r + 4.1665795894e-2F;
        p = p * r + 1.6666665459e-1F;
        p = p * r + 5.0000001201e-1F;
        p = p * (r * r) + r;
        p = p + 1.0F;
        // 2ⁿ in two factors, since n may be 128.
        const i32_part half = exponent >> 1;
        const i32_part first = (half + 127) << 23;
        const i32_part second = (exponent - half + 127) << 23;
        f32_part scale;
        memcpy(&scale, &first, sizeof scale);
        p = p * scale;
        memcpy(&scale, &second, sizeof scale);
        p = p * scale;
        p = v < lowest ? zeros : p;
        p = v > greatest ? zeros + __builtin_inff() : p;
        y.part[i] = v == v ? p : v;
    }
    return y;
}

}  // namespace
}  // namespace tributary::host::TRIBUTARY_ISA
