// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "frontdoor/backend.hpp"

// What the C ABI hands out: a backend and its state.
struct trib_context {
    const tributary::backend_table* backend;
    tributary::backend_context* state;
};
