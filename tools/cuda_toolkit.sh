#!/usr/bin/env bash
# Prints the folder of a CUDA 13 toolkit, with bin/nvcc and include/cublasLt.h: that of CUDA_PATH or of this machine, or
# one made of packages, which is kept outside the checkout by the hash of what is in it.
set -euo pipefail
cd "$(dirname "$0")/.."

is_toolkit() {
    [[ -x $1/bin/nvcc ]] && grep -qs 'define CUBLAS_VER_MAJOR 13' "$1/include/cublas_api.h"
}

for folder in "${CUDA_PATH:-}" /usr/local/cuda; do
    if [[ -n $folder ]] && is_toolkit "$folder"; then
        echo "$folder"
        exit
    fi
done

requirements=tools/requirements-cuda.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hone/cuda-$(sha256sum "$requirements" | cut -c1-16)
toolkit=$cache/lib/nvidia/cu13
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if ! is_toolkit "$toolkit"; then
    echo "CUDA: making $cache" >&2
    rm -rf "${cache:?}"/{lib,partial,venv}
    /usr/bin/python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" --disable-pip-version-check -q install --no-cache-dir --no-compile --no-deps --retries 5 \
        --target "$cache/partial" -r "$requirements" >&2
    mv "$cache/partial" "$cache/lib"
fi
is_toolkit "$toolkit" || {
    echo "$toolkit: is no toolkit of CUDA 13" >&2
    exit 1
}
echo "$toolkit"
