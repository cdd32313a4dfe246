# SPDX-License-Identifier: Apache-2.0
# Fails when the library needs a glibc above 2.34, needs the C++ runtime of the machine, exports anything but trib_*, or
# lets the linker merge inline code between instruction sets.
#   cmake -DLIBRARY=libtributary.so -DOBJDUMP=objdump -DNM=nm -P check_symbols.cmake
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
    if(NOT line STREQUAL "" AND NOT line MATCHES " T trib_[a-z_0-9]+$")
        message(FATAL_ERROR "${LIBRARY} exports \"${line}\", expected only functions trib_*")
    endif()
endforeach()
message(STATUS "glibc versions: ${versions}")
