#!/usr/bin/env python3
"""Writes text/unicode_library.c: what characters are to the normalizers of the tokenizers library.

Its Rust crates are of several Unicode versions, none of them utf8proc's, so each property is asked of the library
itself, character by character. Needs the tokenizers package and libutf8proc. Usage: make_unicode_library.py > FILE
"""

import ctypes
import ctypes.util

from tokenizers import normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HEAD = """/* Written by tools/make_unicode_library.py from the tables of the tokenizers library. Do not edit. */
#include "text/unicode_library.h"

/* clang-format off */
"""


def ranges(codes):
    out = []
    for code in sorted(codes):
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return [[*row, 0] for row in out]


def write(name, rows, width):
    print(f"static const hone_unicode_row {name}_rows[] = {{")
    for i in range(0, len(rows), width):
        print("    " + " ".join("{" + ", ".join(f"0x{v:x}" for v in row) + "}," for row in rows[i : i + width]))
    print("};")
    print(f"const hone_unicode_table hone_unicode_{name} = {{")
    print(f"    {name}_rows, sizeof {name}_rows / sizeof *{name}_rows}};\n")


def removed(normalizer):
    """Characters of which nothing is left."""
    return {c for c in CODES if normalizer.normalize_str(chr(c)) == ""}


def script_ranges():
    """Script numbers, 0 for what joins any and is left out: characters of one script are not cut apart."""
    split = pre_tokenizers.UnicodeScripts()

    def cut(text):
        return len(split.pre_tokenize_str(text)) > 1

    examples, rows = [], []
    for code in CODES:
        char = chr(code)
        if not cut("a" + char) and not cut("\u4e00" + char):
            continue
        number = rows[-1][2] if rows and not cut(examples[rows[-1][2] - 1] + char) else None
        if not number:
            number = next((i for i, example in enumerate(examples, 1) if not cut(example + char)), None)
        if not number:
            examples.append(char)
            number = len(examples)
        if rows and rows[-1][1] == code - 1 and rows[-1][2] == number:
            rows[-1][1] = code
        else:
            rows.append([code, code, number])
    return rows


def main():
    print(HEAD, end="")
    marks = removed(normalizers.StripAccents())
    bert = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    nonspacing = removed(normalizers.BertNormalizer(**{**bert, "strip_accents": True}))
    write("marks", ranges(marks), 4)
    write("nonspacing", ranges(nonspacing), 4)
    write("other", ranges(removed(normalizers.BertNormalizer(**{**bert, "clean_text": True}))), 4)
    proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    lower = normalizers.Lowercase()
    cased = []
    for code in CODES:
        mapped = [ord(c) for c in lower.normalize_str(chr(code))]
        if mapped == [proc.utf8proc_tolower(code)] or code == 0x130:  # the one that becomes two characters
            continue
        assert len(mapped) == 1
        if cased and cased[-1][1] == code - 1 and mapped[0] - code == cased[-1][2] - cased[-1][0]:
            cased[-1][1] = code
        else:
            cased.append([code, code, mapped[0]])
    write("lowered", cased, 3)
    write("scripts", script_ranges(), 4)
    print("/* clang-format on */")


if __name__ == "__main__":
    main()
