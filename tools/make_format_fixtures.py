#!/usr/bin/env python3
"""Writes tests/fixtures/formats/: a GGUF file of every kind of value and of quantised tensors beside their inputs, made by
the gguf package; a safetensors file of several dtypes, made by the safetensors package. And the seeds of the fuzz targets
for these formats and JSON, byte by byte, below tests/fuzz/corpus/.

usage: tools/make_format_fixtures.py [TESTS_FOLDER]
"""

import json
import os
import struct
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

COLS = 64


def edge_rows():
    """Rows of f32 values where rounding is decided: ties, subnormals, zeros, wide ranges; none beyond an f16."""
    rng = np.random.default_rng(7)
    rows = [
        rng.standard_normal(COLS),
        rng.standard_normal(COLS) * 1e-3,
        rng.standard_normal(COLS) * 1e4,
        np.zeros(COLS),
        -np.zeros(COLS),
        np.arange(COLS) - 31.5,  # halves after division by d
        np.full(COLS, 127.0),
        (np.arange(COLS) % 32 * 8 - 127) / 2,  # d = 0.5 or so: ties at whole halves
        rng.standard_normal(COLS) * 6e-8,  # f16 subnormals
        rng.standard_normal(COLS) * 1e-38,  # f32 near subnormal
        rng.standard_normal(COLS) * 1e-42,  # f32 subnormals: 1/d overflows
        np.exp(rng.uniform(-40, 10, COLS)) * rng.choice([-1, 1], COLS),
        np.full(COLS, 65503.0),
        1.0 + np.arange(COLS) * 2.0**-12,  # f16 ties
        1.0 + np.arange(COLS) * 2.0**-9,  # bf16 ties
    ]
    bits = rng.integers(0, 0x47000000, COLS, dtype=np.uint32)
    return np.concatenate([np.stack(rows).astype(np.float32), bits.view(np.float32)[None]])


def write_gguf(path):
    writer = gguf.GGUFWriter(path, "fixture")
    writer.add_uint8("kind.u8", 200)
    writer.add_int8("kind.i8", -100)
    writer.add_uint16("kind.u16", 60000)
    writer.add_int16("kind.i16", -30000)
    writer.add_uint32("kind.u32", 4000000000)
    writer.add_int32("kind.i32", -2000000000)
    writer.add_uint64("kind.u64", 2**63 - 1)
    writer.add_int64("kind.i64", -(2**63))
    writer.add_float32("kind.f32", 0.1)
    writer.add_float64("kind.f64", 0.1)
    writer.add_bool("kind.bool", True)
    writer.add_string("kind.string", "größe")
    writer.add_array("array.strings", ["a", "", "ä"])
    writer.add_array("array.i32", [1, -2, 3])
    writer.add_array("array.f32", [0.5, 1.5])
    writer.add_array("array.bool", [True, False])
    values = edge_rows()
    writer.add_tensor("input", values)
    for name in ("F16", "BF16", "Q8_0"):
        kind = gguf.GGMLQuantizationType[name]
        with np.errstate(all="ignore"):
            encoded = gguf.quants.quantize(values, kind)
        writer.add_tensor(name.lower(), encoded, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(path):
    tensors = {
        "b.f32": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a.f16": np.arange(4, dtype=np.float16),
        "ids": np.arange(3, dtype=np.int64),
        "scalar": np.array(2.5, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }
    save_file(tensors, path, metadata={"note": "größe"})


JSON_SEEDS = {
    "object.json": b'{"a": [1, -2.5e3, null, true, false, "x\\u0000\\ud83d\\ude00"], "b": {"c": {}}}',
    "big.json": b'{"m": 1000000000000000019884624838656, "s": "99999999999999999999", "r": 1e-320}',
    "scalar.json": b"-0.0",
    "nested.json": b'[[[[[[[["\xc3\xa9"]]]]]]]]',
}


def safetensors_bytes(tensors, size):
    header = json.dumps(tensors, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def safetensors_seeds():
    def entry(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    two = {"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 1], 0, 8), "b": entry("BF16", [3], 8, 14)}
    odd = {"h": entry("F4", [4], 0, 2), "z": entry("I64", [0], 2, 2), "s": entry("U8", [], 2, 3)}
    return {
        "two.safetensors": safetensors_bytes(two, 14),
        "odd.safetensors": safetensors_bytes(odd, 3),
        "empty.safetensors": safetensors_bytes({}, 0),
    }


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_bytes(keys, tensors, alignment=32, version=3):
    """`keys`: name, type, value as bytes; `tensors`: name, sizes, type, bytes of data (zeros)."""
    out = b"GGUF" + struct.pack("<Iqq", version, len(tensors), len(keys))
    for name, kind, value in keys:
        out += gguf_string(name) + struct.pack("<I", kind) + value
    offset = 0
    for name, sizes, kind, size in tensors:
        out += gguf_string(name) + struct.pack(f"<I{len(sizes)}qIQ", len(sizes), *sizes, kind, offset)
        offset += -(-size // alignment) * alignment
    return out + bytes(-len(out) % alignment) + bytes(offset)


def gguf_seeds():
    keys = [
        ("general.architecture", 8, gguf_string("llama")),
        ("k.u8", 0, b"\1"),
        ("k.u16", 2, b"\1\0"),
        ("k.f32", 6, struct.pack("<f", 0.5)),
        ("k.bool", 7, b"\1"),
        ("k.i64", 11, struct.pack("<q", -3)),
        ("k.f64", 12, bytes(8)),
        ("a.i32", 9, struct.pack("<IQ3i", 5, 3, 1, -2, 3)),
        ("a.str", 9, struct.pack("<IQ", 8, 2) + gguf_string("a") + gguf_string("")),
    ]
    alignment = ("general.alignment", 4, struct.pack("<I", 8))
    known = [("a", [4, 3], 0, 48), ("b", [64, 2, 1], 8, 136), ("c", [], 30, 2)]
    unknown = [("a", [4], 200, 32), ("b", [256], 12, 144), ("c", [0, 2], 1, 0)]
    return {
        "keys.gguf": gguf_bytes(keys, []),
        "tensors.gguf": gguf_bytes([keys[0], alignment], known, alignment=8),
        "unknown.gguf": gguf_bytes([], unknown),
        "version2.gguf": gguf_bytes(keys[:2], [], version=2),
    }


def write_seeds(folder):
    seeds = {"json": JSON_SEEDS, "safetensors": safetensors_seeds(), "gguf": gguf_seeds()}
    for kind, files in seeds.items():
        os.makedirs(os.path.join(folder, kind), exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(folder, kind, name), "wb") as file:
                file.write(content)


def main():
    root = os.path.join(os.path.dirname(__file__), "..")
    tests = sys.argv[1] if len(sys.argv) > 1 else os.path.join(root, "tests")
    fixtures = os.path.join(tests, "fixtures/formats")
    os.makedirs(fixtures, exist_ok=True)
    write_gguf(os.path.join(fixtures, "kinds.gguf"))
    write_safetensors(os.path.join(fixtures, "dtypes.safetensors"))
    write_seeds(os.path.join(tests, "fuzz/corpus"))


if __name__ == "__main__":
    main()
