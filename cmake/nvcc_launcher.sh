#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands before nvcc (CUDA_COMPILER_LAUNCHER): what ptxas says of an object's kernels is kept beside it, as
# <object>.ptxas, for cmake/check_registers.cmake. Everything else nvcc says is passed on.
object=
take=
for argument; do
    [ -n "$take" ] && object=$argument
    take=
    [ "$argument" = -o ] && take=yes
done
case $object in
    *.o) ;;
    *) exec "$@" ;;
esac
"$@" >"$object.ptxas.new" 2>&1
status=$?
grep -v '^ptxas info\|bytes stack frame\|bytes smem\|^$' "$object.ptxas.new" >&2
mv "$object.ptxas.new" "$object.ptxas"
exit $status
