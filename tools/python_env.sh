#!/usr/bin/env bash
# Makes the Python environment of the tests' oracles (PyTorch, PEFT, llama.cpp, …) and prints its interpreter's path.
# It is kept outside the checkout, by the hash of what is in it, so that every clone on a machine shares one; .venv in
# the checkout links to it. pip's own settings are honoured: an index of CPU-only builds, named in PIP_EXTRA_INDEX_URL,
# makes the download ten times smaller.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tools/requirements.txt
# llama.cpp for any x86-64 with AVX2 (its own default is to tune for the machine that compiles it), and quick to compile.
llama_flags="-DGGML_NATIVE=OFF -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_CXX_FLAGS_RELEASE=-O1"
python=/usr/bin/python3
[[ -x $python ]] || python=python3

key=$({
    cat "$requirements"
    echo "$llama_flags"
    "$python" -VV
} | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hone
venv=$cache/venv-$key
stamp=$venv/.complete # written last: a folder without it was left half made

install() {
    local try
    for try in 1 2 3; do
        "$venv/bin/pip" --disable-pip-version-check -q install --no-cache-dir --no-compile --retries 5 "$@" >&2 &&
            return 0
        echo "pip install failed (attempt $try of 3)" >&2
        sleep $((5 * try))
    done
    return 1
}

make() {
    echo "Python environment: making $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    CMAKE_ARGS=$llama_flags CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) install -r "$requirements"
    "$venv/bin/python" -c 'import gguf, h5py, llama_cpp, peft, pytest, sentencepiece, torch, transformers'
    touch "$stamp"
}

# Environments that no clone has used for a month.
sweep() {
    local old
    for old in "$cache"/venv-*; do
        [[ $old == "$venv" ]] || [[ -n $(find "$old" -maxdepth 1 -name .complete -mtime -30) ]] || rm -rf "$old"
    done
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [[ -e $stamp ]] && "$venv/bin/python" -c '' 2>/dev/null; then
    touch "$stamp"
else
    make
    sweep
fi
[[ -e .venv && ! -L .venv ]] || ln -sfn "$venv" .venv
echo "$venv/bin/python"
