// SPDX-License-Identifier: Apache-2.0
#include "frontdoor/error.hpp"

#include <cstdarg>
#include <cstdio>

namespace tributary {
namespace {

// Fixed size: reporting that memory has run out must not need memory.
thread_local char text[1024] = "";

}  // namespace

trib_status fail(trib_status status, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char* c = text; *c != '\0'; ++c) {
        if (*c == '\n' || *c == '\r') {
            *c = ' ';
        }
    }
    return status;
}

const char* error_text() { return text; }

}  // namespace tributary
