// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tributary/tributary.h"

namespace tributary {

// Sets the calling thread's error text, one line of printf form ("linear: …"), and returns `status`.
trib_status fail(trib_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// The calling thread's error text; never null.
const char* error_text();

}  // namespace tributary
