"""A stand-in for llama.cpp's command-line programs, which the llama-cpp-python package does not bring: it takes the same
options and prints the same lines, and computes with the package's own build of llama.cpp.

usage: llama_program.py llama-completion OPTIONS...
       llama_program.py llama-perplexity OPTIONS...

It is no copy of theirs: greedy text only, one sequence, perplexity over the second half of each window. To try the real ones by
hand, with the package's source (pip download --no-binary llama_cpp_python --no-deps llama_cpp_python==VERSION, unpacked; a
few minutes on two cores):

    cmake -S vendor/llama.cpp -B BUILD -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF \\
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF
    ninja -C BUILD llama-completion llama-perplexity
    hone verify --model models/hone-base.gguf --adapter RUN --with BUILD/bin/llama-completion
"""

import argparse
import math
import os
import sys

import llama_cpp
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("program", choices=["llama-completion", "llama-perplexity"])
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m")
    parser.add_argument("--lora")
    parser.add_argument("-p")
    parser.add_argument("-f")
    parser.add_argument("-ctk", choices=["f32"], required=False)
    parser.add_argument("-ctv", choices=["f32"], required=False)
    parser.add_argument("-n", type=int)
    parser.add_argument("-c", type=int, default=512)
    parser.add_argument("--chunks", type=int, default=-1)
    parser.add_argument("--temp", type=float, default=0.8)
    for flag in ["-no-cnv", "--no-display-prompt", "--simple-io"]:
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def complete(runtime, options):
    assert options.temp == 0 and options.no_display_prompt
    ids = runtime.tokenize(options.p, bos=True)
    said = runtime.greedy(ids, options.n)
    end = runtime.model.token_eos()
    if end in said:
        said = said[: said.index(end)]
    text = runtime.model.detokenize(said, prev_tokens=ids).decode("utf-8", "replace")
    sys.stdout.write(text + "\n")


def perplexity(runtime, options):
    with open(options.f, encoding="utf-8") as file:
        ids = runtime.tokenize(file.read(), special=False, bos=True)
    size, first = options.c, options.c // 2
    assert len(ids) >= 2 * size, "llama-perplexity asks for two windows"
    losses = []
    for begin in range(0, min(len(ids) // size, options.chunks) * size, size):
        window = ids[begin : begin + size]
        window[0] = runtime.model.token_bos()
        losses.extend(runtime.token_nll(window)[first:])
        print(f"[{begin // size + 1}]{math.exp(np.mean(losses)):.4f},", end="")
    print(f"\nFinal estimate: PPL = {math.exp(np.mean(losses)):.4f} +/- 0.00000")


def main():
    options = arguments()
    if options.version:
        print(f"version: llama_cpp {llama_cpp.__version__} (python)", file=sys.stderr)
        return
    with llama.Runtime(options.m, options.lora, context=max(options.c, 512), exact=options.ctk == options.ctv == "f32") as runtime:
        perplexity(runtime, options) if options.program == "llama-perplexity" else complete(runtime, options)


main()
