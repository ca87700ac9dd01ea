#!/usr/bin/env python3
"""Writes text/unicode_recent.c: characters that Unicode 15 and 16 added, each with an older one of the same kind.

The regular expressions of tokenizer.json are defined by the tokenizers library (Oniguruma, Unicode 16); PCRE2 10.42
knows Unicode 14. What the library takes a character for is asked of it here; what Unicode 14 had, of Python 3.11.
Needs the tokenizers package. Usage: make_unicode_recent.py > text/unicode_recent.c
"""

import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

KINDS = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Cf".split()
HEAD = '''/* Written by tools/make_unicode_recent.py from the tables of the tokenizers library. Do not edit. */
#include "text/unicode_recent.h"

/* Sorted by code point. */
const hone_unicode_range hone_unicode_recent[] = {
    /* clang-format off */
'''
TAIL = """    /* clang-format on */
};
const size_t hone_unicode_recent_count = sizeof hone_unicode_recent / sizeof *hone_unicode_recent;
"""


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    found = set()
    for start in range(0, len(codes), 4096):
        part = codes[start : start + 4096]
        kept = set("".join(text for text, _ in split.pre_tokenize_str("".join(map(chr, part)))))
        found.update(code for code in part if chr(code) not in kept)
    return found


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"Python's tables are of Unicode {unicodedata.unidata_version}, 14.0.0 is needed: use Python 3.11")
    kind = {code: name for name in KINDS for code in members(rf"\p{{{name}}}")}
    traits = [members(r"\w"), members(r"\p{Han}"), members(r"\p{Alphabetic}")]

    def like(code):
        return len(chr(code).encode()), kind[code], *(code in trait for trait in traits)

    recent = [code for code in sorted(kind) if unicodedata.category(chr(code)) == "Cn"]
    stand_in = {}
    for code in sorted(set(kind) - set(recent), reverse=True):
        stand_in[like(code)] = code
    ranges = []
    for code in recent:
        other = stand_in[like(code)]
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == other:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, other])
    rows = [f"{{0x{a:05x}, 0x{b:05x}, 0x{c:05x}}}," for a, b, c in ranges]
    lines = ["    " + " ".join(rows[i : i + 3]) for i in range(0, len(rows), 3)]
    sys.stdout.write(HEAD + "\n".join(lines) + "\n" + TAIL)


if __name__ == "__main__":
    main()
