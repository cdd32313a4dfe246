// SPDX-License-Identifier: Apache-2.0
//
// Times of the CUDA backend's operations through the C ABI, beside the floor that memory and tensor cores set:
//     kernel_bench [--quick] [--filter TEXT] [--path sm_80|sm_90a] [--json FILE] [--library FILE] [--device N]
// session.hpp tells how a case is timed.
#include <unistd.h>

#include <cstring>

#include "session.hpp"

namespace {

using namespace tributary::bench;

constexpr const char* usage =
    "usage: kernel_bench [--quick] [--filter TEXT] [--path sm_80|sm_90a] [--json FILE] [--library FILE] [--device N]\n"
    "  --quick    fewer repetitions, and only the cases that have a target\n"
    "  --filter   only cases whose name holds TEXT, e.g. \"attention\" or \"4096 x 11008 M=32\"\n"
    "  --path     force a family of kernels\n"
    "  --json     write the figures, one JSON object a line\n"
    "  --library  libtributary_cuda.so; left out: the one beside this program\n";

std::string beside_this_program(const char* name) {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    const std::string program(path, static_cast<size_t>(std::max<ssize_t>(length, 0)));
    return program.substr(0, program.rfind('/') + 1) + name;
}

options parse(int argc, char** argv) {
    options result;
    result.library = beside_this_program("libtributary_cuda.so");
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--quick") {
            result.quick = true;
            continue;
        }
        std::string* value = argument == "--filter"    ? &result.filter
                             : argument == "--path"    ? &result.path
                             : argument == "--json"    ? &result.json
                             : argument == "--library" ? &result.library
                                                       : nullptr;
        if ((value == nullptr && argument != "--device") || i + 1 == argc) {
            throw std::invalid_argument(argument);
        }
        ++i;
        if (value != nullptr) {
            *value = argv[i];
        } else {
            result.device = std::stoi(argv[i]);
        }
    }
    if (!result.path.empty() && result.path != "sm_80" && result.path != "sm_90a") {
        throw std::invalid_argument("--path " + result.path);
    }
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    options given;
    try {
        given = parse(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "kernel_bench: do not understand %s\n%s", e.what(), usage);
        return 2;
    }
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        session s(given);
        s.report_machine();
        bench_attention(s);
        s.fill_pool(-6);  // attention measures on larger numbers than weights are
        bench_linear(s);
        bench_layers(s);
        bench_lm_head(s);
        bench_row_operations(s);
        return s.finish();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "kernel_bench: %s\n", e.what());
        return 1;
    }
}
