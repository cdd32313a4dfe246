// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

#include "ceilings.hpp"

namespace tributary::bench {
namespace {

// What bf16 products reach on Hopper with operands as they come; the design's floor for arithmetic.
constexpr double tensor_flops = 650e12;

// One graph is replayed for about this long, so that starting it weighs little.
constexpr double graph_seconds = 1.0e-3;
constexpr int most_launches = 512;

struct graph {
    ~graph() {
        if (executable != nullptr) {
            cudaGraphExecDestroy(executable);
        }
        if (captured != nullptr) {
            cudaGraphDestroy(captured);
        }
    }
    cudaGraph_t captured = nullptr;
    cudaGraphExec_t executable = nullptr;
};

struct event {
    event() { check(cudaEventCreate(&handle), "cudaEventCreate"); }
    ~event() { cudaEventDestroy(handle); }
    event(const event&) = delete;
    event& operator=(const event&) = delete;
    cudaEvent_t handle = nullptr;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
        }
        result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return result;
}

std::string today() {
    char text[32];
    const std::time_t now = std::time(nullptr);
    std::tm parts = {};
    gmtime_r(&now, &parts);
    std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
    return text;
}

}  // namespace

void require(trib_status status) {
    if (status != TRIB_OK) {
        throw std::runtime_error(trib_last_error());
    }
}

std::string bench_case::name() const {
    return operation + " " + shape + " M=" + std::to_string(rows) + (variant.empty() ? "" : " " + variant);
}

session::session(const options& given) : options_(given) {
    if (!options_.path.empty()) {
        setenv("TRIBUTARY_CUDA_PATH", options_.path.c_str(), 1);
    }
    check(cudaSetDevice(options_.device), "cudaSetDevice");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, options_.device), "cudaGetDeviceProperties");
    device_name_ = properties.name;
    multiprocessors_ = properties.multiProcessorCount;
    l2_bytes_ = properties.l2CacheSize;
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    require(trib_backend_load(options_.library.c_str()));
    const trib_context_params params = {sizeof params, TRIB_BACKEND_CUDA, options_.device, 0,
                                        reinterpret_cast<uint64_t>(stream_)};
    require(trib_context_create(&params, &context_));
    pool_ = buffer(pool_bytes);
    fill_pool(-6);
    if (!options_.json.empty()) {
        json_ = std::fopen(options_.json.c_str(), "w");
        if (json_ == nullptr) {
            throw std::runtime_error("cannot write " + options_.json);
        }
    }
}

session::~session() {
    if (json_ != nullptr) {
        std::fclose(json_);
    }
    trib_context_destroy(context_);
    cudaStreamDestroy(stream_);
}

void session::fill_pool(int exponent) {
    fill_bf16(pool_.as<void>(), pool_bytes / 2, exponent, 1, stream_);
    check(cudaStreamSynchronize(stream_), "filling the pool");
}

int session::copies_of(double bytes) const {
    const double wanted = std::max(2.0, std::ceil(8.0 * l2_bytes_ / bytes));
    return static_cast<int>(std::max(1.0, std::min(wanted, std::floor(static_cast<double>(pool_bytes) / bytes))));
}

void session::report_machine() {
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    roof_ = read_bandwidth(pool_.as<void>(), pool_bytes, options_.quick ? 3 : 9, stream_);
    const char* description = trib_context_description(context_);
    std::printf("%s\n%s, CUDA driver %d.%d, L2 %d MB\n", today().c_str(), description, driver / 1000,
                driver % 1000 / 10, l2_bytes_ >> 20);
    std::printf(
        "roof: reads %.0f GB/s (%zu GiB, 16-byte loads); floor of a case = max(bytes / roof, FLOP / %.0f TFLOP/s)\n",
        roof_ * 1e-9, pool_bytes >> 30, tensor_flops * 1e-12);
    if (json_ != nullptr) {
        std::fprintf(json_,
                     "{\"kind\": \"machine\", \"suite\": \"kernels\", \"date\": \"%s\", \"device\": \"%s\", "
                     "\"description\": \"%s\", \"driver\": %d, \"l2_bytes\": %d, \"read_gbps\": %.1f, "
                     "\"tensor_tflops_assumed\": %.0f, \"quick\": %s}\n",
                     today().c_str(), escaped(device_name_).c_str(), escaped(description).c_str(), driver, l2_bytes_,
                     roof_ * 1e-9, tensor_flops * 1e-12, options_.quick ? "true" : "false");
    }
}

bool session::wanted(const bench_case& c) const {
    return options_.filter.empty() || c.name().find(options_.filter) != std::string::npos;
}

std::optional<double> session::time(const bench_case& c, const std::function<trib_status(int copy)>& enqueue,
                                    int launches, double* least) {
    graph g;
    // Thread-local: nothing else runs here, and what a context does on its own account stays allowed.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    trib_status status = TRIB_OK;
    for (int i = 0; i < launches && status == TRIB_OK; ++i) {
        status = enqueue(i % c.copies);
    }
    check(cudaStreamEndCapture(stream_, &g.captured), "cudaStreamEndCapture");
    if (status != TRIB_OK) {
        return std::nullopt;
    }
    check(cudaGraphInstantiate(&g.executable, g.captured, 0), "cudaGraphInstantiate");
    check(cudaGraphUpload(g.executable, stream_), "cudaGraphUpload");
    const event begin;
    const event end;
    std::vector<double> times;
    const int repeats = options_.quick ? 5 : 11;
    for (int i = -2; i < repeats; ++i) {  // the first two warm up
        check(cudaEventRecord(begin.handle, stream_), "cudaEventRecord");
        check(cudaGraphLaunch(g.executable, stream_), "cudaGraphLaunch");
        check(cudaEventRecord(end.handle, stream_), "cudaEventRecord");
        check(cudaEventSynchronize(end.handle), c.name().c_str());
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin.handle, end.handle), "cudaEventElapsedTime");
        if (i >= 0) {
            times.push_back(milliseconds * 1e-3 / launches);
        }
    }
    *least = *std::min_element(times.begin(), times.end());
    return median(times);
}

void session::run(const bench_case& c, const std::function<trib_status(int copy)>& enqueue,
                  const std::function<std::string()>& verify, const std::function<trib_status(int copy)>& before) {
    if (!wanted(c)) {
        return;
    }
    if (heading_ != nullptr) {
        std::printf("\n%s\n%-58s %10s %10s %8s %8s %10s %7s  %-14s %9s\n", heading_, "case", "median us", "best us",
                    "GB/s", "TFLOP/s", "floor us", "x floor", "target", "read MB");
        heading_ = nullptr;
    }
    const double floor = std::max(c.least.bytes / roof_, c.least.flops / tensor_flops);
    check(cudaDeviceSynchronize(), "before a case");
    std::string problem;
    const auto both = [&](int copy) {
        const trib_status status = before ? before(copy) : TRIB_OK;
        return status == TRIB_OK ? enqueue(copy) : status;
    };
    if (both(0) != TRIB_OK) {
        problem = trib_last_error();
    }
    check(cudaStreamSynchronize(stream_), c.name().c_str());
    if (problem.empty() && verify) {
        problem = verify();
    }
    double least = 0;
    std::optional<double> seconds;
    double before_seconds = 0;
    if (problem.empty()) {
        const double one = std::max(floor, 3e-6);
        const int rounds = static_cast<int>(std::ceil(graph_seconds / (one * c.copies)));
        const int launches = c.copies * std::clamp(rounds, 1, std::max(1, most_launches / c.copies));
        seconds = before ? time(c, before, launches, &least) : std::optional(0.0);
        if (seconds) {
            before_seconds = *seconds;
            seconds = time(c, both, launches, &least);
        }
        if (!seconds) {
            problem = trib_last_error();
        } else {
            *seconds -= before_seconds;
            least -= before_seconds;
            if (least <= 0) {
                problem = "the operation before it takes as long alone";
                seconds.reset();
            }
        }
    }
    if (!seconds) {
        ++failed_;
        std::printf("%-58s not run: %s\n", c.name().c_str(), problem.c_str());
        if (json_ != nullptr) {
            std::fprintf(json_, "{\"kind\": \"failure\", \"name\": \"%s\", \"problem\": \"%s\"}\n",
                         escaped(c.name()).c_str(), escaped(problem).c_str());
        }
        return;
    }
    ++measured_;
    const double read = (c.bytes_per_copy > 0 ? c.bytes_per_copy : c.least.bytes) * c.copies * 1e-6;
    const double ratio = floor > 0 ? *seconds / floor : 0;
    char verdict[48] = "";
    const char* reached = "null";
    if (c.goal.what != target::kind::none) {
        const bool in_microseconds = c.goal.what == target::kind::microseconds;
        const bool passes = (in_microseconds ? *seconds * 1e6 : ratio) <= c.goal.limit;
        ++(passes ? passed_ : over_);
        reached = passes ? "true" : "false";
        std::snprintf(verdict, sizeof verdict, "%s (%s%.4g%s)", passes ? "PASS" : "OVER", "<= ", c.goal.limit,
                      in_microseconds ? " us" : "x");
    }
    std::printf("%-58s %10.2f %10.2f %8.0f %8.1f %10.2f %7.2f  %-14s %9.0f\n", c.name().c_str(), *seconds * 1e6,
                least * 1e6, c.least.bytes / *seconds * 1e-9, c.least.flops / *seconds * 1e-12, floor * 1e6, ratio,
                verdict, read);
    if (json_ != nullptr) {
        std::string in_pairs;
        if (before) {
            char text[96];
            std::snprintf(text, sizeof text, ", \"before_us\": %.3f, \"with_before_us\": %.3f", before_seconds * 1e6,
                          (before_seconds + *seconds) * 1e6);
            in_pairs = text;
        }
        std::fprintf(
            json_,
            "{\"kind\": \"case\", \"suite\": \"kernels\", \"name\": \"%s\", \"operation\": \"%s\", \"shape\": \"%s\", "
            "\"rows\": %d, \"variant\": \"%s\", \"us\": %.3f, \"best_us\": %.3f, \"bytes\": %.0f, \"flops\": %.0f, "
            "\"floor_us\": %.3f, \"ratio\": %.4f, \"target_kind\": \"%s\", \"target\": %g, \"reached\": %s, "
            "\"read_mb\": %.0f%s}\n",
            escaped(c.name()).c_str(), c.operation.c_str(), c.shape.c_str(), c.rows, c.variant.c_str(), *seconds * 1e6,
            least * 1e6, c.least.bytes, c.least.flops, floor * 1e6, ratio,
            c.goal.what == target::kind::none           ? "none"
            : c.goal.what == target::kind::microseconds ? "us"
                                                        : "floor",
            c.goal.limit, reached, read, in_pairs.c_str());
    }
}

int session::finish() const {
    std::printf("\n%d cases measured, %d targets reached, %d over, %d not run\n", measured_, passed_, over_, failed_);
    return failed_ != 0 ? 1 : 0;
}

}  // namespace tributary::bench
