# SPDX-License-Identifier: Apache-2.0
# tributary_flags: what every C++ target of ours is compiled with.
add_library(tributary_flags INTERFACE)
target_compile_options(
    tributary_flags
    INTERFACE
        $<$<COMPILE_LANGUAGE:CXX>:
        -Wall
        -Wextra
        -Wpedantic
        -Wconversion
        -Wshadow
        -Werror
        -Wno-missing-field-initializers # what a designated initialiser leaves out is zero
        -Wno-psabi # vectors never cross the library's border
        -fvisibility=hidden
        -fvisibility-inlines-hidden
        # The bits of a row are part of the product's promise, so nothing is reassociated, and a product and a sum fuse
        # only where the source says fma.
        -fno-fast-math
        -ffp-contract=off
        -fno-math-errno # sqrt is one instruction; values are not touched
        >)

if(TRIBUTARY_SANITIZE)
    target_compile_options(tributary_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-O1 -fsanitize=address,undefined
                                                     -fno-sanitize-recover=all -fno-omit-frame-pointer>)
    target_link_options(tributary_flags INTERFACE -fsanitize=address,undefined)
endif()
