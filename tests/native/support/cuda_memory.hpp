// SPDX-License-Identifier: Apache-2.0
//
// Memory of a GPU, for the builds with TRIBUTARY_TEST_CUDA.
#pragma once

#include <string>

#include "support/device_memory.hpp"

namespace tributary::test {

// Loads the CUDA backend (TRIBUTARY_CUDA_LIBRARY, else libtributary_cuda.so beside this executable or two folders above
// it, where the build leaves it) and takes device TRIBUTARY_TEST_DEVICE (0). Without a GPU it ends the process with
// status 77 and a line "no GPU: …".
memory_backend& cuda_memory_backend();

// Why there is no GPU here, or nothing when there is one.
std::string missing_gpu();

// Everything that `enqueue` puts on the backend's stream becomes one graph, which runs once for each call of replay().
class cuda_graph {
public:
    template <class Enqueue>
    explicit cuda_graph(Enqueue enqueue) {
        begin();
        enqueue();
        end();
    }
    ~cuda_graph();
    cuda_graph(const cuda_graph&) = delete;
    cuda_graph& operator=(const cuda_graph&) = delete;
    void replay();
    size_t nodes() const;

private:
    void begin();
    void end();

    void* graph_ = nullptr;
    void* executable_ = nullptr;
};

}  // namespace tributary::test
