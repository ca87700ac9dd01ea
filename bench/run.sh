#!/usr/bin/env bash
# Measures hone against its peers on this machine and prints the table of goals: bench/run.sh [--all] [--readme] [row ...]
# Installs the peers from packages into the tests' Python environment and builds the release, when they are not there.
# Rows: lora, q8_0, qwen2, q4_k_m, 1.5b, short, long, tokenize, start, memory (default: all but 1.5b; --all adds it and
# slow variants of others; --readme puts the table into README.md).
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(tools/python_env.sh)
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" -- --quiet >&2
exec "$python" bench/run.py "$@"
