// SPDX-License-Identifier: Apache-2.0
//
// Library, backends and contexts.
#include "frontdoor/context.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <cstdlib>

#include "frontdoor/check.hpp"

namespace {

using namespace tributary;

// The backends other than the host's: loaded once, never unloaded, since contexts point into them.
pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
const backend_table* cuda_backend = nullptr;

class loading_lock {
public:
    loading_lock() { pthread_mutex_lock(&loading); }
    ~loading_lock() { pthread_mutex_unlock(&loading); }
    loading_lock(const loading_lock&) = delete;
    loading_lock& operator=(const loading_lock&) = delete;
};

void set_error(const char* line) { fail(TRIB_OK, "%s", line); }

}  // namespace

uint32_t trib_abi_version(void) { return TRIB_ABI_VERSION; }

const char* trib_version(void) { return TRIBUTARY_VERSION; }

const char* trib_last_error(void) { return error_text(); }

trib_status trib_backend_load(const char* path) {
    if (path == nullptr || *path == '\0') {
        return fail(TRIB_INVALID_ARGUMENT, "backend_load: path is %s, expected the path of a backend's library",
                    path == nullptr ? "null" : "empty");
    }
    const loading_lock lock;
    if (cuda_backend != nullptr) {
        return fail(TRIB_INVALID_ARGUMENT, "backend_load: %s: the %s backend is loaded already, expected one load",
                    path, cuda_backend->name);
    }
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        // The loader's text names the file that is missing: the library itself or one that it needs.
        return fail(TRIB_BACKEND_MISSING, "backend_load: cannot load %s: %s", path, dlerror());
    }
    trib_status status = TRIB_OK;
    const auto entry = reinterpret_cast<backend_entry>(dlsym(library, backend_entry_name));
    const backend_table* table = entry != nullptr ? entry(set_error) : nullptr;
    if (entry == nullptr) {
        status = fail(TRIB_BACKEND_MISSING, "backend_load: %s is no backend of Tributary: it has no symbol %s", path,
                      backend_entry_name);
    } else if (table == nullptr) {
        status = TRIB_BACKEND_MISSING;  // the backend has said why
    } else if (table->abi_version != TRIB_ABI_VERSION) {
        status = fail(TRIB_BACKEND_MISSING, "backend_load: %s has ABI version %u, expected %u", path,
                      table->abi_version, TRIB_ABI_VERSION);
    } else if (table->backend != TRIB_BACKEND_CUDA) {
        status = fail(TRIB_BACKEND_MISSING, "backend_load: %s is backend %u, expected TRIB_BACKEND_CUDA (%d)", path,
                      table->backend, TRIB_BACKEND_CUDA);
    }
    if (status != TRIB_OK) {
        dlclose(library);
        return status;
    }
    cuda_backend = table;
    return TRIB_OK;
}

trib_status trib_context_create(const trib_context_params* params, trib_context** context) {
    check checks("context_create", true);
    trib_context_params whole;
    checks.complete("params", params, whole);
    if (checks.ok() && context == nullptr) {
        checks.refuse(TRIB_INVALID_ARGUMENT, "context is null, expected where to store the context");
    }
    if (!checks.ok()) {
        return checks.status();
    }
    *context = nullptr;
    const backend_table* backend = nullptr;
    if (whole.backend == TRIB_BACKEND_HOST) {
        backend = &host_backend();
    } else if (whole.backend == TRIB_BACKEND_CUDA) {
        const loading_lock lock;
        backend = cuda_backend;
        if (backend == nullptr) {
            return fail(TRIB_BACKEND_MISSING,
                        "context_create: the cuda backend is not loaded, expected trib_backend_load of "
                        "libtributary_cuda.so first");
        }
    } else {
        return fail(TRIB_INVALID_ARGUMENT, "context_create: backend is %u, expected TRIB_BACKEND_HOST (1) or CUDA (2)",
                    whole.backend);
    }
    auto* created = static_cast<trib_context*>(std::malloc(sizeof(trib_context)));
    if (created == nullptr) {
        return fail(TRIB_OUT_OF_MEMORY, "context_create: no memory for a context");
    }
    *created = {backend, nullptr};
    const trib_status status = backend->create(&whole, &created->state);
    if (status != TRIB_OK) {
        std::free(created);
        return status;
    }
    *context = created;
    return TRIB_OK;
}

trib_status trib_context_destroy(trib_context* context) {
    if (context == nullptr) {
        return TRIB_OK;
    }
    const trib_status status = context->backend->destroy(context->state);
    std::free(context);
    return status;
}

const char* trib_context_description(const trib_context* context) {
    return context != nullptr ? context->backend->description(context->state) : "no context";
}
