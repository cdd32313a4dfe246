# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: where things are, which JDK runs, what is stale.
# Must stay fast: scripts/tributary sources it at every start.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
minimum_jdk=25.0.3

die() {
    printf 'tributary: %s\n' "$*" >&2
    exit 1
}

say() { printf 'tributary: %s\n' "$*" >&2; }

# Is $1 the home of a JDK that is new enough? Reads its release file: starting java would cost more than all the rest.
is_jdk() {
    [[ -x $1/bin/javac && -r $1/release ]] || return 1
    local version
    version=$(sed -n 's/^JAVA_VERSION="\(.*\)"$/\1/p' "$1/release")
    [[ -n $version ]] && printf '%s\n' "$minimum_jdk" "$version" | sort -V -C
}

# Sets JAVA_HOME to the first JDK that will do: JAVA_HOME itself, the installed ones, the one on PATH.
find_jdk() {
    local home on_path
    on_path=$(command -v javac || true)
    for home in "${JAVA_HOME:-}" /usr/lib/jvm/* "${on_path:+$(dirname "$(dirname "$(readlink -f "$on_path")")")}"; do
        if [[ -n $home ]] && is_jdk "$home"; then
            export JAVA_HOME=$home
            return
        fi
    done
    return 1
}

# The hash of every file under the given paths, names included; a path that does not exist counts as empty.
hash_of() {
    { find "$@" -name target -prune -o -type f -print0 2>/dev/null || true; } |
        LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum | cut -d' ' -f1
}

native_hash() { (cd "$root" && hash_of CMakeLists.txt CMakePresets.json cmake cuda tests/native); }

# The native libraries travel inside jars, so the Java build is stale whenever one of them is.
java_hash() { (cd "$root" && hash_of pom.xml .mvn java/*/pom.xml java/*/src/main build/stamps/native build/stamps/cuda); }

# Prints the CUDA compiler, release 13 or later, if there is one.
find_nvcc() {
    local found release
    found=$(type -P nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null) || return 1
    release=$("$found" --version 2>/dev/null | sed -n 's/.*release \([0-9]*\).*/\1/p')
    ((${release:-0} >= 13)) && printf '%s\n' "$found"
}
# Is there a GPU, and the compiler that its library takes?
wants_cuda() { [[ -e /dev/nvidiactl ]] && find_nvcc >/dev/null; }

native_library=$root/build/host/libtributary.so
command_jar=$root/java/tributary-cli/target/tributary-cli.jar

# is_fresh native|cuda|java HASH: does the last successful build stand for these sources?
is_fresh() {
    local artifact=$native_library
    [[ $1 == java ]] && artifact=$command_jar
    [[ $1 == cuda ]] && artifact=$root/build/log/cuda.log # there even when this GPU's library could not be built
    [[ -f $artifact && -f $root/build/stamps/$1 && $(<"$root/build/stamps/$1") == "$2" ]]
}

record() {
    mkdir -p "$root/build/stamps"
    printf '%s\n' "$2" >"$root/build/stamps/$1"
}

# Maven with warnings shown and progress hidden. It runs on JAVA_HOME; the bound is for a native call that never returns.
maven() { (cd "$root" && timeout --foreground --kill-after=1m 60m mvn -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$@"); }
