// SPDX-License-Identifier: Apache-2.0
//
// One backend held against another: a scenario is run twice from one seed, on the host and on the backend under test,
// and its results must agree, to the bit or within what the scenario states.
#pragma once

#include <map>
#include <set>

#include "support/attention_reference.hpp"

namespace tributary::test {

// Reals with what they may be off by: absolute + relative · |expected|.
struct measured {
    std::vector<float> values;
    double absolute = 0;
    double relative = 0;
};

struct results {
    std::map<std::string, std::vector<uint32_t>> words;  // equal to the bit
    std::map<std::string, measured> reals;
    std::set<std::string> undecided;  // words that F32 may honestly decide otherwise

    void add(const std::string& name, const std::vector<int32_t>& values) {
        words[name] = {values.begin(), values.end()};
    }
    void add(const std::string& name, const std::vector<uint16_t>& values) {
        words[name] = {values.begin(), values.end()};
    }
    void add_bits(const std::string& name, const std::vector<float>& values) {
        std::vector<uint32_t>& bits = words[name];
        for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
    }
};

// The bounds are those of `expected`.
inline testing::AssertionResult agree(const results& got, const results& expected) {
    const auto failure = [](const std::string& name) { return testing::AssertionFailure() << name << ": "; };
    for (const auto& [name, words] : expected.words) {
        if (expected.undecided.contains(name)) continue;
        const auto found = got.words.find(name);
        if (found == got.words.end()) return failure(name) << "missing";
        if (const testing::AssertionResult same = same_bits(found->second, words); !same) {
            return failure(name) << same.message();
        }
    }
    for (const auto& [name, of] : expected.reals) {
        const auto found = got.reals.find(name);
        if (found == got.reals.end()) return failure(name) << "missing";
        const std::vector<float>& values = found->second.values;
        if (values.size() != of.values.size()) return failure(name) << values.size() << " of " << of.values.size();
        for (size_t i = 0; i < values.size(); ++i) {
            if (std::bit_cast<uint32_t>(values[i]) == std::bit_cast<uint32_t>(of.values[i])) continue;
            const double allowed = of.absolute + of.relative * std::fabs(of.values[i]);
            if (!(std::fabs(static_cast<double>(values[i]) - of.values[i]) <= allowed)) {
                return failure(name) << "element " << i << " is " << values[i] << ", on the host " << of.values[i]
                                     << ", allowed " << allowed;
            }
        }
    }
    return testing::AssertionSuccess();
}

// What a plain 16-bit implementation errs at least by when it rounds nothing but its results; the rule allows twice
// that and one ulp.
inline double rounding_allowance(uint32_t dtype, const std::vector<float>& values) {
    double error = 0;
    double magnitude = 0;
    for (const float value : values) {
        error = std::max(error, std::fabs(rounded(dtype, value) - value));
        magnitude = std::max<double>(magnitude, std::fabs(value));
    }
    return 2 * error + ulp(TRIB_DTYPE_F32, magnitude);
}

// Values of deviation 1 / scale, many at little cost: picked from a table.
class quick_values {
public:
    quick_values(random_source& random, uint32_t dtype, double deviation)
        : bits_(encoded(dtype, random.normals(4096, deviation))), random_(random) {}
    std::vector<uint16_t> operator()(size_t count) {
        std::vector<uint16_t> result(count);
        uint64_t word = 0;
        for (size_t i = 0; i < count; ++i) {
            if (i % 4 == 0) word = random_.bits();
            result[i] = bits_[word % 4096];
            word >>= 16;
        }
        return result;
    }

private:
    std::vector<uint16_t> bits_;
    random_source& random_;
};

class device_host : public testing::Test {
protected:
    // scenario(random, context, is the host) → results.
    template <class Scenario>
    static results on_host(uint64_t seed, const Scenario& scenario) {
        const use_backend host(host_memory_backend());
        random_source random(seed);
        const context ctx(0);
        return scenario(random, ctx, true);
    }
    template <class Scenario>
    static results on_device(uint64_t seed, const Scenario& scenario) {
        random_source random(seed);
        const context ctx;
        return scenario(random, ctx, false);
    }
    template <class Scenario>
    void expect_agreement(const Scenario& scenario) {
        const uint64_t seed = base_seed() + static_cast<uint64_t>(++scenarios_) * 1000003;
        const results expected = on_host(seed, scenario);
        ASSERT_FALSE(HasFatalFailure()) << "on the host";
        const results got = on_device(seed, scenario);
        ASSERT_FALSE(HasFatalFailure()) << "on the device";
        EXPECT_TRUE(agree(got, expected)) << "seed " << seed;
        words_ += expected.words.size();
        undecided_ += expected.undecided.size();
    }
    // The same scenario with one thing changed on the device only must not agree.
    template <class Scenario, class Mutated>
    void expect_discovery(const Scenario& scenario, const Mutated& mutated) {
        const results expected = on_host(base_seed(), scenario);
        EXPECT_TRUE(agree(on_device(base_seed(), scenario), expected)) << "without the mutation";
        EXPECT_FALSE(agree(on_device(base_seed(), mutated), expected)) << "the mutation went unnoticed";
    }

    size_t words_ = 0;
    size_t undecided_ = 0;

private:
    int scenarios_ = 0;
};

}  // namespace tributary::test
