#!/usr/bin/env bash
# Builds hone and passes every test: the C suites in the release build, those that compute once more at every lower level
# of instructions, all under the address and undefined-behaviour sanitizers and, on x86-64, those below data/ for 64-bit ARM
# under qemu, at both levels of its own; then the interop tests against PyTorch, PEFT and llama.cpp. No GPU is needed: what
# runs on one is emulated in the C suites, and compiled for every generation of GPUs. Installs what it needs (--yes: without
# asking).
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

# build PRESET [option of cmake ...]
build() {
    say "build: $1"
    cmake --preset "$@" >"$results/configure-$1.log" || {
        cat "$results/configure-$1.log"
        return 1
    }
    cmake --build --preset "$1" -j "$jobs"
}

# suites PRESET [NAME [option of ctest ...]]: a failing suite is counted and shown, and does not keep the others from running.
suites() {
    local preset=$1 name=${2:-$1}
    say "C suites: $name"
    ctest --preset "$preset" -j "$jobs" --test-output-size-passed 1048576 --test-output-size-failed 1048576 \
        --output-junit "$PWD/$results/$name.xml" "${@:3}" || failed=1
    counted+=("$name=$results/$name.xml")
}

# The suites that compute, at the levels below the best, which all others run at.
levels() {
    local level best
    best=$("$HONE_BIN" doctor --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["kernels"])')
    for level in plain avx2 avxvnni avx512 avx512vnni avx512bf16; do
        [[ $level == "$best" ]] && continue
        if HONE_ISA=$level "$HONE_BIN" doctor --json >/dev/null 2>&1; then
            HONE_ISA=$level suites release "$level" --label-regex numeric
        else
            echo "this processor has no $level"
        fi
    done
}

interop() {
    say "interop: PyTorch, PEFT, transformers, llama.cpp"
    "$HONE_PYTHON" -m pytest tests/interop -q -rsfE -p no:cacheprovider --durations=5 -n "$jobs" \
        --dist loadfile --no-loadscope-reorder -o junit_logging=out-err --junitxml="$results/interop.xml" || failed=1
    counted+=(interop="$results/interop.xml")
}

failed=0
counted=()
mkdir -p "$results"
rm -f "$results"/*.xml
say "system packages"
tools/install_deps.sh --test "$@"

# Downloading and compiling the oracles takes minutes: beside the build.
tools/python_env.sh >"$results/python" 2>"$results/python_env.log" &
environment=$!
trap 'kill "$environment" 2>/dev/null || true' EXIT

if [[ $(uname -m) == x86_64 ]]; then
    cuda=$(tools/cuda_toolkit.sh)
    build release -DHONE_CUDA_INCLUDE="$cuda/include"
    build asan -DHONE_CUDA_INCLUDE="$cuda/include"
    build aarch64
    # Unoptimised on the host's side, which is not measured: that takes a third of the time.
    build cuda -DCMAKE_CUDA_COMPILER="$cuda/bin/nvcc" -DCUDAToolkit_ROOT="$cuda" -DCMAKE_BUILD_TYPE=Debug
    export HONE_CUDA_BIN=$PWD/build/cuda/cli/hone
else
    build release
    build asan
fi

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
# From here on one thread for each of the tests that run at once; those about threads ask for more.
export OMP_NUM_THREADS=1
HONE_BIN=$PWD/build/asan/cli/hone suites asan
if [[ $(uname -m) == x86_64 ]]; then
    levels
    suites aarch64 # at the best level, neondot
    # Of the other suites those of kernels go through all levels by themselves, and the rest compute with the reference kernels.
    HONE_ISA=neon suites aarch64 neon --tests-regex '^test_(kernels|model)$'
fi
interop

say "sum"
python3 tools/sum_tests.py "${counted[@]}" || failed=1
exit "$failed"
