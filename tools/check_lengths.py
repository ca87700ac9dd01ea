#!/usr/bin/env python3
"""Reports how long functions and files are. Exit status 1 when a function is over 80 lines or a file over 700.

usage: check_lengths.py FILE.c ...   Relies on clang-format: a function begins at a line that starts in the first
column and ends with `{`, and ends at a lone `}` in the first column.
"""

import re
import statistics
import sys

FILE_LIMIT, FUNCTION_LIMIT = 700, 80
NO_FUNCTION = re.compile(r"^(typedef\b|struct\b[^()]*\{|union\b[^()]*\{|enum\b[^()]*\{|namespace\b|extern \"C\"|.*=\s*\{$)")


def functions(lines):
    """(first line, name, number of lines) of each function."""
    start, name, head = None, "", ""
    for number, line in enumerate(lines, 1):
        if start is None:
            head = line if line[:1].isalpha() or line[:1] == "_" else head + line if head else ""
            if line.endswith("{") and head and not NO_FUNCTION.match(head):
                found = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head))
                start, name = number, found.group(1) if found else "?"
            if line.endswith((";", "{")) or line.startswith("}"):
                head = ""
        elif line == "}":
            yield start, name, number - start + 1
            start = None


def main(paths):
    lengths, files, bad = [], [], []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        files.append(len(lines))
        if len(lines) > FILE_LIMIT:
            bad.append(f"{path}: {len(lines)} lines, more than {FILE_LIMIT}")
        for start, name, length in functions(lines):
            lengths.append(length)
            if length > FUNCTION_LIMIT:
                bad.append(f"{path}:{start}: {name} has {length} lines, more than {FUNCTION_LIMIT}")
    print("\n".join(bad), end="\n" if bad else "")
    if lengths:
        print(
            f"lengths: {len(lengths)} functions, median {statistics.median(lengths):g} lines, "
            f"{sum(n > 60 for n in lengths)} over 60, longest {max(lengths)}; "
            f"{len(files)} files, median {statistics.median(files):g} lines, longest {max(files)}"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
