// SPDX-License-Identifier: Apache-2.0
#include "support/cuda_memory.hpp"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace tributary::test {
namespace {

// A CUDA error here is one of a kernel that ran before: the device's state is lost, and every test that followed would
// fail for this one's sake.
void expect_success(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(stderr, "[  FAILED  ] %s.%s: %s: %s (%d): %s; the device is lost and the rest is not run\n",
                 test == nullptr ? "" : test->test_suite_name(), test == nullptr ? "no test" : test->name(), what,
                 cudaGetErrorName(error), static_cast<int>(error), cudaGetErrorString(error));
    std::fflush(nullptr);
    _exit(3);
}

std::string directory_of_this_executable() {
    std::array<char, 4096> path{};
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
    const std::string file(path.data(), static_cast<size_t>(length > 0 ? length : 0));
    return file.substr(0, file.rfind('/'));
}

std::string backend_library() {
    if (const char* named = std::getenv("TRIBUTARY_CUDA_LIBRARY"); named != nullptr) return named;
    const std::string here = directory_of_this_executable();
    for (const std::string& folder : {here, here + "/../.."}) {
        const std::string path = folder + "/libtributary_cuda.so";
        if (access(path.c_str(), R_OK) == 0) return path;
    }
    return here + "/libtributary_cuda.so";
}

int wanted_device() {
    const char* text = std::getenv("TRIBUTARY_TEST_DEVICE");
    return text == nullptr ? 0 : std::atoi(text);
}

class cuda_memory final : public memory_backend {
public:
    cuda_memory() {
        const char* exact = std::getenv("TRIBUTARY_TEST_EXACT_ALLOCATIONS");
        exact_ = exact != nullptr && *exact == '1';
        expect_success(cudaSetDevice(wanted_device()), "cudaSetDevice");
        expect_success(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
        expect_success(cudaMallocHost(reinterpret_cast<void**>(&staging_), staging_bytes), "cudaMallocHost");
    }

    uint32_t kind() const override { return TRIB_BACKEND_CUDA; }
    uint64_t stream() const override { return reinterpret_cast<uint64_t>(stream_); }
    uint32_t threads(uint32_t) const override { return 0; }
    size_t guard() const override { return exact_ ? 0 : memory_backend::guard(); }
    bool leaves_workspace_unwritten() const override { return exact_; }

    // Tests make thousands of small buffers, so they are cut from slabs and kept by size. With exact allocations each is
    // an allocation of the driver's, whose ends compute-sanitizer knows.
    uint64_t allocate(size_t bytes) override {
        if (exact_ || bytes > slab_bytes) return allocate_alone(bytes);
        const size_t size = std::bit_ceil(std::max<size_t>(bytes, 512));
        std::vector<uint64_t>& unused = unused_[size];
        uint64_t address = 0;
        if (!unused.empty()) {
            address = unused.back();
            unused.pop_back();
        } else {
            if (slab_end_ - slab_next_ < size) {
                void* slab = nullptr;
                expect_success(cudaMalloc(&slab, slab_bytes), "cudaMalloc");
                slab_next_ = reinterpret_cast<uint64_t>(slab);
                slab_end_ = slab_next_ + slab_bytes;
            }
            address = slab_next_;
            slab_next_ += size;
        }
        size_of_[address] = size;
        return address;
    }
    void release(uint64_t address) override {
        const auto found = size_of_.find(address);
        if (found == size_of_.end()) {
            expect_success(cudaFree(reinterpret_cast<void*>(address)), "cudaFree");
        } else {
            unused_[found->second].push_back(address);
            size_of_.erase(found);
        }
    }

    void upload(uint64_t destination, const void* source, size_t bytes) override {
        if (bytes == 0) return;
        wait();
        expect_success(
            cudaMemcpyAsync(reinterpret_cast<void*>(destination), source, bytes, cudaMemcpyHostToDevice, stream_),
            "upload");
        expect_success(cudaStreamSynchronize(stream_), "upload");
    }
    void download(void* destination, uint64_t source, size_t bytes) override {
        download_all({{destination, source, bytes}});
    }
    // Through pinned memory, with one wait for as many copies as it holds.
    void download_all(const std::vector<download_request>& requests) override {
        wait();
        size_t first = 0;
        size_t staged = 0;
        const auto take = [&](size_t end) {
            expect_success(cudaStreamSynchronize(stream_), "download");
            size_t offset = 0;
            for (; first < end; ++first) {
                std::memcpy(requests[first].destination, staging_ + offset, requests[first].bytes);
                offset += requests[first].bytes;
            }
            staged = 0;
        };
        for (size_t i = 0; i < requests.size(); ++i) {
            const download_request& one = requests[i];
            if (one.bytes == 0) continue;
            const void* source = reinterpret_cast<const void*>(one.source);
            if (one.bytes > staging_bytes) {
                take(i);
                expect_success(cudaMemcpy(one.destination, source, one.bytes, cudaMemcpyDeviceToHost), "download");
                first = i + 1;
                continue;
            }
            if (staged + one.bytes > staging_bytes) take(i);
            expect_success(cudaMemcpyAsync(staging_ + staged, source, one.bytes, cudaMemcpyDeviceToHost, stream_),
                           "download");
            staged += one.bytes;
        }
        take(requests.size());
    }
    void fill(uint64_t destination, uint8_t byte, size_t bytes) override {
        if (bytes == 0) return;
        wait();
        expect_success(cudaMemsetAsync(reinterpret_cast<void*>(destination), byte, bytes, stream_), "fill");
    }
    void forbid(uint64_t, size_t) override {}
    void permit(uint64_t, size_t) override {}

private:
    static constexpr size_t slab_bytes = size_t{64} << 20;
    static constexpr size_t staging_bytes = size_t{32} << 20;

    // For work of every stream: a test may have contexts on others.
    static void wait() { expect_success(cudaDeviceSynchronize(), "work enqueued before"); }

    static uint64_t allocate_alone(size_t bytes) {
        void* memory = nullptr;
        expect_success(cudaMalloc(&memory, std::max<size_t>(bytes, 1)), "cudaMalloc");
        return reinterpret_cast<uint64_t>(memory);
    }

    bool exact_ = false;
    cudaStream_t stream_ = nullptr;
    char* staging_ = nullptr;
    uint64_t slab_next_ = 0;
    uint64_t slab_end_ = 0;
    std::map<size_t, std::vector<uint64_t>> unused_;
    std::map<uint64_t, size_t> size_of_;
};

cudaStream_t stream_of(const memory_backend& backend) { return reinterpret_cast<cudaStream_t>(backend.stream()); }

}  // namespace

std::string missing_gpu() {
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess) return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
    if (devices <= wanted_device()) {
        return "device " + std::to_string(wanted_device()) + " of " + std::to_string(devices);
    }
    return "";
}

memory_backend& cuda_memory_backend() {
    // Never destroyed: the driver may be gone before static destructors run.
    static cuda_memory& backend = []() -> cuda_memory& {
        if (const std::string reason = missing_gpu(); !reason.empty()) {
            std::fprintf(stderr, "no GPU: %s\n", reason.c_str());
            std::exit(no_device_exit_status);
        }
        if (trib_backend_load(backend_library().c_str()) != TRIB_OK) {
            std::fprintf(stderr, "%s\n", trib_last_error());
            std::exit(1);
        }
        return *new cuda_memory;
    }();
    return backend;
}

void cuda_graph::begin() {
    expect_success(cudaDeviceSynchronize(), "before a capture");
    expect_success(cudaStreamBeginCapture(stream_of(cuda_memory_backend()), cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture");
}

void cuda_graph::end() {
    cudaGraph_t graph = nullptr;
    expect_success(cudaStreamEndCapture(stream_of(cuda_memory_backend()), &graph), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    expect_success(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    graph_ = graph;
    executable_ = executable;
}

cuda_graph::~cuda_graph() {
    cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
    cudaGraphDestroy(static_cast<cudaGraph_t>(graph_));
}

void cuda_graph::replay() {
    expect_success(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(cuda_memory_backend())),
                   "cudaGraphLaunch");
}

size_t cuda_graph::nodes() const {
    size_t count = 0;
    expect_success(cudaGraphGetNodes(static_cast<cudaGraph_t>(graph_), nullptr, &count), "cudaGraphGetNodes");
    return count;
}

}  // namespace tributary::test
