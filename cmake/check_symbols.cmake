# SPDX-License-Identifier: Apache-2.0
# Fails when the library needs a glibc above 2.34, needs another library than glibc's (the C++ runtime of the machine, the
# CUDA runtime), exports anything but EXPORTS, or lets the linker merge inline code between instruction sets.
#   cmake -DLIBRARY=libtributary.so -DEXPORTS=trib_[a-z_0-9]+ -DOBJDUMP=objdump -DNM=nm -P check_symbols.cmake
set(NEWEST_GLIBC 2.34)

execute_process(COMMAND ${OBJDUMP} -T ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "GLIBC_[0-9.]+" versions "${symbols}")
list(REMOVE_DUPLICATES versions)
if(NOT versions)
    message(FATAL_ERROR "${LIBRARY}: no glibc symbol versions found; is this a dynamic library?")
endif()
foreach(version IN LISTS versions)
    string(REPLACE "GLIBC_" "" number ${version})
    if(number VERSION_GREATER NEWEST_GLIBC)
        string(REGEX MATCHALL "[^\n]*${version}[^\n]*" users "${symbols}")
        message(FATAL_ERROR "${LIBRARY} needs ${version}, expected at most ${NEWEST_GLIBC}:\n${users}")
    endif()
endforeach()
if(symbols MATCHES "GLIBCXX_|CXXABI_")
    message(FATAL_ERROR "${LIBRARY} needs libstdc++.so, expected it linked statically")
endif()

execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE exported COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" exported "${exported}")
foreach(line IN LISTS exported)
    if(NOT line STREQUAL "" AND NOT line MATCHES " T ${EXPORTS}$")
        message(FATAL_ERROR "${LIBRARY} exports \"${line}\", expected only functions ${EXPORTS}")
    endif()
endforeach()

execute_process(COMMAND ${OBJDUMP} -p ${LIBRARY} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "NEEDED +[^\n]+" needed "${headers}")
foreach(line IN LISTS needed)
    if(NOT line MATCHES "NEEDED +(libc|libm|libdl|librt|libpthread|ld-linux-x86-64|ld-linux-aarch64)\\.so\\.[0-9]+$")
        message(FATAL_ERROR "${LIBRARY}: ${line}, expected only what glibc brings")
    endif()
endforeach()
message(STATUS "glibc versions: ${versions}")
