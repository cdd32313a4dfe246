// SPDX-License-Identifier: Apache-2.0
//
// Calling operations through the C ABI: contexts, tensors, packed weights, and a call that checks status and guards.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "support/device_memory.hpp"
#include "support/numbers.hpp"
#include "tributary/tributary.h"

namespace tributary::test {

class context {
public:
    explicit context(uint32_t threads = 2) {
        trib_context_params params{};
        params.struct_size = sizeof params;
        params.backend = test_backend().kind();
        params.threads = test_backend().threads(threads);
        params.stream = test_backend().stream();
        if (trib_context_create(&params, &handle_) != TRIB_OK) {
            throw std::runtime_error(std::string("no context: ") + trib_last_error());
        }
    }
    ~context() { trib_context_destroy(handle_); }
    context(const context&) = delete;
    context& operator=(const context&) = delete;
    trib_context* get() const { return handle_; }

private:
    trib_context* handle_ = nullptr;
};

// One seeded source per test; its seed is printed when the test fails.
class operation_test : public testing::Test {
protected:
    operation_test() : random(base_seed()) {}
    ~operation_test() override {
        if (HasFailure()) {
            std::fprintf(stderr, "TRIBUTARY_TEST_SEED=%llu reproduces this\n",
                         static_cast<unsigned long long>(base_seed()));
        }
    }
    random_source random;
    context ctx;
};

// A call that must succeed, keep to its buffers and leave its inputs alone.
template <class Params>
testing::AssertionResult calls(trib_status (*operation)(trib_context*, const Params*), const context& on,
                               const Params& params) {
    const trib_status status = operation(on.get(), &params);
    if (status != TRIB_OK) return testing::AssertionFailure() << "status " << status << ": " << trib_last_error();
    return device_memory::all_intact();
}

// Workspace of exactly the size that the library asks for.
class workspace {
public:
    template <class Params>
    workspace(const context& on, uint32_t operation, Params& params) {
        uint64_t bytes = 0;
        if (trib_workspace_size(on.get(), operation, &params, &bytes) != TRIB_OK) {
            throw std::runtime_error(std::string("workspace size: ") + trib_last_error());
        }
        memory_ = std::make_unique<device_memory>(bytes, test_backend().leaves_workspace_unwritten()
                                                             ? device_memory::contents::unwritten
                                                             : device_memory::contents::poisoned);
        params.workspace = bytes == 0 ? 0 : memory_->address();
        params.workspace_bytes = bytes;
    }

private:
    std::unique_ptr<device_memory> memory_;
};

inline trib_tensor tensor_at(uint64_t address, uint32_t dtype, int64_t a, int64_t b, int64_t c) {
    trib_tensor result{};
    result.address = address;
    result.dtype = dtype;
    result.shape[0] = a;
    result.shape[1] = b;
    result.shape[2] = c;
    result.stride[0] = b * c;
    result.stride[1] = c;
    result.stride[2] = 1;
    return result;
}

// Rows [rows, groups, width] with unused elements between them; a matrix when groups is 0.
class row_tensor {
public:
    row_tensor(int rows, int groups, int width, int row_gap = 0, int group_gap = 0, uint32_t dtype = TRIB_DTYPE_F32)
        : dtype_(dtype),
          element_(dtype == TRIB_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)),
          rows_(rows),
          groups_(groups),
          width_(width),
          group_stride_(width + group_gap),
          pitch_(std::max(groups, 1) * (width + group_gap) + row_gap),
          memory_(static_cast<size_t>(rows) * pitch_ * element_) {}
    row_tensor(const row_tensor&) = delete;

    int rows() const { return rows_; }
    // Elements of one row, gaps left out.
    int row_size() const { return std::max(groups_, 1) * width_; }

    trib_tensor tensor() const {
        trib_tensor result{};
        result.address = memory_.address();
        result.dtype = dtype_;
        if (groups_ == 0) {
            result.shape[0] = 1;
            result.shape[1] = rows_;
            result.stride[0] = static_cast<int64_t>(rows_) * pitch_;
            result.stride[1] = pitch_;
        } else {
            result.shape[0] = rows_;
            result.shape[1] = groups_;
            result.stride[0] = pitch_;
            result.stride[1] = group_stride_;
        }
        result.shape[2] = width_;
        result.stride[2] = 1;
        return result;
    }

    // Values are rounded to the tensor's type.
    void set_row(int row, const float* values) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(values);
        std::vector<uint16_t> halves;
        if (dtype_ != TRIB_DTYPE_F32) {
            halves = encoded(dtype_, to_double({values, values + row_size()}));
            bytes = reinterpret_cast<const uint8_t*>(halves.data());
        }
        memory_.thaw();
        for (int group = 0; group < std::max(groups_, 1); ++group) {
            memory_.upload(bytes + group * width_ * element_, element_ * width_, offset(row, group));
        }
    }
    void set_row(int row, const std::vector<double>& values) { set_row(row, to_float(values).data()); }
    std::vector<float> row(int row) const {
        std::vector<uint8_t> bytes(row_size() * element_);
        for (int group = 0; group < std::max(groups_, 1); ++group) {
            memory_.download(bytes.data() + group * width_ * element_, element_ * width_, offset(row, group));
        }
        if (dtype_ == TRIB_DTYPE_F32) {
            std::vector<float> result(row_size());
            memcpy(result.data(), bytes.data(), bytes.size());
            return result;
        }
        std::vector<uint16_t> halves(row_size());
        memcpy(halves.data(), bytes.data(), bytes.size());
        return to_float(decoded(dtype_, halves));
    }
    std::vector<double> row_values(int index) const { return to_double(row(index)); }
    void randomize(random_source& random, const std::vector<int>& rows, double deviation = 1) {
        for (const int index : rows) set_row(index, random.normals(row_size(), deviation));
    }
    void freeze() { memory_.freeze(); }
    void poison() {
        memory_.thaw();
        memory_.poison();
    }

    // Nothing but the given rows (and none of the gaps) has been written since the poisoning.
    testing::AssertionResult only_written(const std::vector<int>& written) const {
        std::vector<uint8_t> bytes(memory_.bytes());
        memory_.download(bytes.data(), bytes.size());
        std::vector<bool> allowed(bytes.size());
        for (const int row : written) {
            for (int group = 0; group < std::max(groups_, 1); ++group) {
                for (size_t i = 0; i < element_ * width_; ++i) allowed[offset(row, group) + i] = true;
            }
        }
        for (size_t i = 0; i < bytes.size(); ++i) {
            if (!allowed[i] && bytes[i] != nan_poison) {
                return testing::AssertionFailure() << "row " << i / (element_ * pitch_) << " was written at element "
                                                   << i / element_ % pitch_ << ", which is nobody's";
            }
        }
        return testing::AssertionSuccess();
    }

private:
    size_t offset(int row, int group) const {
        return element_ * (static_cast<size_t>(row) * pitch_ + static_cast<size_t>(group) * group_stride_);
    }

    uint32_t dtype_;
    size_t element_;  // bytes
    int rows_;
    int groups_;
    int width_;
    int group_stride_;
    int pitch_;
    device_memory memory_;
};

// A weight [rows, columns] in the backend's own order, packed in parts from row-major pieces.
class packed_weight {
public:
    packed_weight(const context& on, uint32_t dtype, uint32_t layout, int64_t rows, int64_t columns,
                  const std::vector<uint16_t>& values, std::vector<int64_t> part_rows = {})
        : dtype_(dtype), layout_(layout), rows_(rows), columns_(columns) {
        uint64_t bytes = 0;
        if (trib_packed_size(on.get(), dtype, layout, rows, columns, &bytes) != TRIB_OK) {
            throw std::runtime_error(std::string("packed size: ") + trib_last_error());
        }
        memory_ = std::make_unique<device_memory>(bytes);
        memory_->poison(0);
        if (part_rows.empty()) part_rows = {rows};
        int64_t first = 0;
        for (const int64_t count : part_rows) {
            const device_array<uint16_t> source(
                std::vector<uint16_t>(values.begin() + first * columns, values.begin() + (first + count) * columns));
            trib_pack_weight_params params{};
            params.struct_size = sizeof params;
            params.source = tensor_at(source.address(), dtype, 1, count, columns);
            params.destination = tensor();
            params.first_row = first;
            EXPECT_TRUE(calls(trib_pack_weight, on, params));
            first += count;
        }
        memory_->freeze();
    }

    trib_tensor tensor() const {
        trib_tensor result = tensor_at(memory_->address(), dtype_, 1, rows_, columns_);
        result.layout = layout_;
        return result;
    }
    uint64_t address() const { return memory_->address(); }

private:
    uint32_t dtype_;
    uint32_t layout_;
    int64_t rows_;
    int64_t columns_;
    std::unique_ptr<device_memory> memory_;
};

// c[i] = Σ a[i, t] b[j, t] in doubles: [m, k] × [n, k] → [m, n].
inline std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, int m, int n, int k) {
    std::vector<double> result(static_cast<size_t>(m) * n);
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            double sum = 0;
            for (int t = 0; t < k; ++t) sum += a[static_cast<size_t>(i) * k + t] * b[static_cast<size_t>(j) * k + t];
            result[static_cast<size_t>(i) * n + j] = sum;
        }
    }
    return result;
}

inline std::vector<double> rounded(uint32_t dtype, std::vector<double> values) {
    for (double& value : values) value = rounded(dtype, value);
    return values;
}

}  // namespace tributary::test
