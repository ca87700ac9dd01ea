#!/usr/bin/env bash
# Builds hone and passes every test: the C suites in the release build, under the address and undefined-behaviour
# sanitizers and, on x86-64, those below data/ for 64-bit ARM under qemu; then the interop tests against PyTorch, PEFT and
# llama.cpp. Installs what it needs (--yes: without asking).
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${CI:-} == true && -z ${HONE_TEST_DATA:-} ]]; then
    echo "HONE_TEST_DATA must name the folder of test data when CI=true" >&2
    exit 2
fi

jobs=$(nproc)
results=build/results
began=$SECONDS
export OMP_WAIT_POLICY=passive # several tests at once: threads that wait give the processor away

say() {
    printf '\n== %s (%d s)\n' "$1" $((SECONDS - began))
}

build() {
    say "build: $1"
    cmake --preset "$1" >"$results/configure-$1.log" || {
        cat "$results/configure-$1.log"
        return 1
    }
    cmake --build --preset "$1" -j "$jobs"
}

# A failing suite is counted and shown, and does not keep the others from running.
suites() {
    say "C suites: $1"
    ctest --preset "$1" -j "$jobs" --test-output-size-passed 1048576 --test-output-size-failed 1048576 \
        --output-junit "$PWD/$results/$1.xml" || failed=1
}

interop() {
    say "interop: PyTorch, PEFT, transformers, llama.cpp"
    "$HONE_PYTHON" -m pytest tests/interop -q -rsfE -p no:cacheprovider --durations=5 \
        -o junit_logging=out-err --junitxml="$results/interop.xml" || failed=1
}

failed=0
mkdir -p "$results"
rm -f "$results"/*.xml
say "system packages"
tools/install_deps.sh --test "$@"

# Downloading and compiling the oracles takes minutes: beside the build.
tools/python_env.sh >"$results/python" 2>"$results/python_env.log" &
environment=$!
trap 'kill "$environment" 2>/dev/null || true' EXIT

build release
build asan
[[ $(uname -m) == x86_64 ]] && build aarch64

say "Python environment"
wait "$environment" || {
    tail -n 40 "$results/python_env.log"
    exit 1
}
trap - EXIT
HONE_PYTHON=$(<"$results/python")
export HONE_PYTHON HONE_BIN=$PWD/build/release/cli/hone
echo "$HONE_PYTHON"

suites release
HONE_BIN=$PWD/build/asan/cli/hone suites asan
cross=()
if [[ $(uname -m) == x86_64 ]]; then
    suites aarch64
    cross=(aarch64="$results/aarch64.xml")
fi
interop

say "sum"
python3 tools/sum_tests.py release="$results/release.xml" sanitizers="$results/asan.xml" "${cross[@]}" \
    interop="$results/interop.xml" || failed=1
exit "$failed"
