# SPDX-License-Identifier: Apache-2.0
# Compute code is compiled once per instruction set and chosen at run time (cuda/host/backend.cpp). Each object library
# puts its functions into the namespace tributary::host::<level>, so that the linker can never merge two levels.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(TRIBUTARY_ISA_LEVELS generic avx2 avx512 avx512_bf16)
else()
    set(TRIBUTARY_ISA_LEVELS generic)
endif()

set(TRIBUTARY_ISA_FLAGS_generic "")
set(TRIBUTARY_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(TRIBUTARY_ISA_FLAGS_avx512 ${TRIBUTARY_ISA_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq
                               -mprefer-vector-width=512)
set(TRIBUTARY_ISA_FLAGS_avx512_bf16 ${TRIBUTARY_ISA_FLAGS_avx512} -mavx512bf16)

# tributary_isa_objects(<target> <source>…): one object library <target>_<level> per level, linked into <target>.
function(tributary_isa_objects target)
    foreach(level IN LISTS TRIBUTARY_ISA_LEVELS)
        set(objects ${target}_${level})
        add_library(${objects} OBJECT ${ARGN})
        target_compile_definitions(${objects} PRIVATE TRIBUTARY_ISA=${level} TRIBUTARY_ISA_${level}=1)
        target_compile_options(${objects} PRIVATE ${TRIBUTARY_ISA_FLAGS_${level}} -fno-exceptions -fno-rtti
                               # g++ 12 warns about its own AVX-512 intrinsics (GCC bug 105593).
                               $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
        target_include_directories(${objects} PRIVATE ${CMAKE_SOURCE_DIR}/cuda/include ${CMAKE_SOURCE_DIR}/cuda)
        target_link_libraries(${objects} PRIVATE tributary_flags)
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
    endforeach()
endfunction()
