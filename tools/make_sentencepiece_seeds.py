#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/sentencepiece: small models of every kind. Usage: make_sentencepiece_seeds.py FOLDER"""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/interop"))
from protobuf import field  # noqa: E402

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def piece(text, score, kind=NORMAL):
    return field(1, field(1, text.encode()) + field(2, (struct.pack("<f", score),)) + field(3, kind))


def charsmap():
    """One entry: tab to space. The root's children start at unit 1 ^ label."""
    units = [0] * 64
    units[0] = 32 << 10
    units[32 ^ 9] = (32 ^ 9 ^ 50) << 10 | 1 << 8 | 9
    units[50] = 1 << 31
    trie = struct.pack("<64I", *units)
    return struct.pack("<I", len(trie)) + trie + b" \0"


def model(kind, fallback, pieces, extra=b""):
    body = b"".join(pieces)
    if fallback:
        body += b"".join(piece(f"<0x{i:02X}>", 0, BYTE) for i in range(256))
    return body + field(2, field(3, kind) + field(35, int(fallback))) + field(3, extra)


def main():
    folder = Path(sys.argv[1])
    ends = [piece("<unk>", 0, UNKNOWN), piece("<s>", 0, CONTROL), piece("</s>", 0, CONTROL)]
    words = [piece(text, -i) for i, text in enumerate(["\u2581", "h", "e", "l", "o", "he", "ll", "hell", "\u2581hello", "ello"])]
    user = [piece("<sep>", 0, USER)]
    seeds = {
        "bpe": model(2, False, [*ends, *words, *user]),
        "bpe-bytes": model(2, True, [*ends, *words], field(3, 0) + field(4, 0)),
        "unigram": model(1, False, [*ends, *words, *user, piece("x", -3, UNUSED)], field(2, charsmap())),
        "unigram-bytes": model(1, True, [*ends, *words], field(5, 0)),
        "words": model(3, False, [*ends, *words]),
    }
    for name, data in seeds.items():
        (folder / f"{name}.model").write_bytes(data)


if __name__ == "__main__":
    main()
