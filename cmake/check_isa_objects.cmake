# SPDX-License-Identifier: Apache-2.0
# Fails when objects compiled for one instruction set define a symbol that the linker could merge with, or take for,
# another level's: everything they define must be local or in tributary::host::<level>.
#   cmake -DOBJECTS=a.o,b.o -DLEVEL=avx2 -DNM=nm -P check_isa_objects.cmake
string(REPLACE "," ";" OBJECTS "${OBJECTS}")
if(NOT OBJECTS)
    message(FATAL_ERROR "no objects given")
endif()
foreach(object IN LISTS OBJECTS)
    execute_process(COMMAND ${NM} -C --defined-only --extern-only ${object} OUTPUT_VARIABLE symbols
                    COMMAND_ERROR_IS_FATAL ANY)
    string(REPLACE ";" "," symbols "${symbols}")
    string(REPLACE "\n" ";" symbols "${symbols}")
    foreach(symbol IN LISTS symbols)
        if(NOT symbol STREQUAL "" AND NOT symbol MATCHES " [A-Za-z] tributary::host::${LEVEL}::")
            message(FATAL_ERROR "${object} defines \"${symbol}\", expected only tributary::host::${LEVEL}::*")
        endif()
    endforeach()
endforeach()
