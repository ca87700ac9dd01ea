#!/usr/bin/env python3
"""Checks who includes whom, and what stays in its own folder. Prints every violation; exit status 1 when there is one.

usage: check_layers.py [--root FOLDER] [--no-compile]
"""

import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

# Which folders the files of a folder may include, its own apart.
MAY_INCLUDE = {
    "base": [],
    "kernels": ["base"],
    "formats": ["base"],
    "text": ["base", "formats"],
    "autograd": ["base", "kernels"],
    "data": ["base", "formats", "text"],
    "model": ["base", "kernels", "formats", "text", "autograd"],
    "train": ["base", "kernels", "formats", "text", "autograd", "data", "model"],
    "cli": ["base", "kernels", "formats", "text", "autograd", "data", "model", "train"],
}
FREE_FOLDERS = ["tests", "bench", "tools"]  # may include anything, print and exit

# What only some files may say: (what it is, pattern over code without comments and strings, who may).
HEAP = r"\b(malloc|calloc|realloc|reallocarray|free|strdup|strndup|aligned_alloc|posix_memalign|asprintf|vasprintf)\s*\("
PRINTING = (
    r"\b(printf|vprintf|puts|putchar|perror|exit|_exit|_Exit|quick_exit|abort)\s*\(|\b(stdout|stderr)\b"
)
RULES = [
    ("heap call", HEAP, r"base/"),
    ("printing or exit", PRINTING, r"cli/"),
    ("OpenMP pragma", r"^\s*#\s*pragma\s+omp\b", r"base/"),
]
# Headers of libraries that stay in one place: (pattern of the header, who may include it).
LIBRARIES = [
    (r"(hdf5|H5\w+)\.h", r"data/|train/checkpoint"),
    (r"(cuda|cudnn|cublas|nccl|curand|cusparse|nvtx)\w*(/.*)?\.h|cuda_.*", r"kernels/cuda/"),
    (r"omp\.h", r"base/"),
    (r"(dnnl|oneapi/dnnl)\w*(/.*)?\.h", r"kernels/"),
    (r"(sys/socket|netdb|netinet/.*|arpa/inet)(\.h)?", r"train/distributed"),
]
CODE = (".c", ".h", ".cc", ".hh", ".cu", ".cuh")
UNIQUE = CODE + (".py", ".sh")
COMMENT_OR_STRING = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S
)
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def blank(match):
    """A comment becomes blank space of as many lines, a string an empty one; an include's path is kept."""
    text = match.group(0)
    if text.startswith('"'):
        return '""'
    return "\n" * text.count("\n") or " "


def bare(text):
    """The code without comments and strings, line for line."""
    return COMMENT_OR_STRING.sub(blank, text)


def uncommented(text):
    return COMMENT_OR_STRING.sub(
        lambda match: match.group(0) if match.group(0)[0] in "\"'" else blank(match), text
    )


def listed(root):
    """Files that git knows or would add; every file where there is no repository."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(root)) for p in Path(root).rglob("*")]
    return sorted(n for n in names if n and os.path.isfile(os.path.join(root, n)))


def check_include(name, quoted, path, root):
    """What is wrong with one include line, or None."""
    folder = name.split("/")[0]
    for pattern, allowed in LIBRARIES:
        if re.fullmatch(pattern, path) and not re.match(allowed + r"|tests/|bench/|tools/", name):
            return f"<{path}> may be included in {allowed.replace('|', ' and ')} only"
    if not quoted or folder in FREE_FOLDERS:
        return None
    target = path.split("/")[0]
    if "/" not in path or target not in MAY_INCLUDE:
        return f'"{path}" is not a path from the root of the repository'
    if not os.path.isfile(os.path.join(root, path)):
        return f'"{path}" does not exist'
    if target != folder and target not in MAY_INCLUDE[folder]:
        return f'{folder}/ may not include "{path}"'
    return None


def check_file(root, name):
    text = Path(root, name).read_text(encoding="utf-8", errors="replace")
    folder = name.split("/")[0]
    found = []
    for number, line in enumerate(uncommented(text).split("\n"), 1):
        match = INCLUDE.match(line)
        wrong = match and check_include(name, match.group(1) == '"', match.group(2), root)
        if wrong:
            found.append(f"{name}:{number}: {wrong}")
    if folder in FREE_FOLDERS:
        return found
    if folder not in MAY_INCLUDE:
        return found + [f"{name}: {folder}/ is no folder for code"]
    for number, line in enumerate(bare(text).split("\n"), 1):
        for what, pattern, allowed in RULES:
            match = re.search(pattern, line)
            if match and not re.match(allowed, name):
                found.append(f"{name}:{number}: {what} outside {allowed}: {match.group(0).strip()}")
    if name.endswith(tuple(HEADERS)):
        found += check_guard(name, text)
    return found


def check_guard(name, text):
    guard = "HONE_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    if f"#ifndef {guard}\n#define {guard}\n" in text or "#pragma once" in text:
        return []
    return [f"{name}: its include guard should be {guard}"]


def check_unique(names):
    places = defaultdict(list)
    for name in names:
        if name.endswith(UNIQUE):
            places[os.path.basename(name)].append(name)
    return [f"{base}: in {' and '.join(at)}" for base, at in places.items() if len(at) > 1]


def library_flags(root):
    """Of pkg-config's libraries, and of CUDA where a toolkit or the tests' Python environment has it."""
    command = ["pkg-config", "--cflags", "hdf5-serial", "jansson", "yaml-0.1", "check"]
    flags = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for place in ["/usr/local/cuda/include", *glob.glob(f"{root}/.venv/lib/python3*/site-packages/nvidia/cu13/include")]:
        if os.path.exists(f"{place}/cublasLt.h"):
            return [*flags, "-isystem", place]
    return flags


# How headers of the three languages compile; CUDA's in the emulator's dialect.
AS_C = ["gcc", "-x", "c", "-std=gnu11", "-Wstrict-prototypes"]
AS_CPP = ["g++", "-x", "c++", "-std=gnu++17"]
HEADERS = {".h": AS_C, ".hh": AS_CPP, ".cuh": [*AS_CPP, "-include", "tests/cuda/emulator.hh"]}


def check_compiles(root, name, flags):
    """A header compiled with nothing before it."""
    command = [*HEADERS[os.path.splitext(name)[1]], "-fsyntax-only", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
    command += ["-I.", *flags, name]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    problems = [line for line in run.stderr.split("\n") if ": error:" in line or ": warning:" in line]
    return [f"{name} does not compile alone: {problems[0]}"] if run.returncode or problems else []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--no-compile", action="store_true", help="do not compile each header alone")
    options = parser.parse_args()

    names = listed(options.root)
    code = [name for name in names if name.endswith(CODE)]
    found = check_unique(names)
    for name in code:
        found += check_file(options.root, name)
    if not options.no_compile:
        flags = library_flags(options.root)
        headers = [name for name in code if name.endswith(tuple(HEADERS))]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for problems in pool.map(lambda name: check_compiles(options.root, name, flags), headers):
                found += problems
    print("\n".join(found), end="\n" if found else "")
    print(f"layers: {len(code)} files of code, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
