"""Quantising beside llama.cpp's own: the squared error of every tensor type, and the type of every tensor of a file."""

import ctypes
import os
import subprocess

import gguf
import llama_cpp
import numpy as np
import pytest
from gguf.quants import dequantize

from runs import tool

BLOCKS = "q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4".split()


def number(type_):
    return gguf.GGMLQuantizationType[type_.upper()]


# --- Squared error ---


def llama_cpp_bytes(values, type_):
    """What llama.cpp's quantiser makes of rows, without an importance matrix."""
    block, size = gguf.GGML_QUANT_SIZES[number(type_)]
    rows, columns = values.shape
    out = np.zeros((rows, columns // block * size), np.uint8)
    library = os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so")
    function = ctypes.CDLL(library).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    written = function(int(number(type_)), values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    assert written == out.size
    return out


def hone_bytes(hone, folder, values, type_):
    (folder / "in").write_bytes(values.tobytes())
    subprocess.run(
        [tool(hone, "formats_tool"), "quantize", type_, str(values.shape[1]), folder / "in", folder / "out"],
        check=True,
    )
    return np.fromfile(folder / "out", np.uint8).reshape(values.shape[0], -1)


def error(values, data, type_):
    return float(((dequantize(data, number(type_)).astype(np.float64) - values) ** 2).sum())


@pytest.fixture(scope="module")
def tensors(root):
    """By name: drawn rows, with light and heavy tails and with outlier channels; a trained model's; merged ones."""
    random = np.random.default_rng(0)
    out = {}
    for columns in (256, 512, 1024):
        shape = (96, columns)
        out[f"normal {columns}"] = random.normal(0, 0.02, shape)
        out[f"student t {columns}"] = random.standard_t(3, shape) * 0.02
        out[f"outlier channels {columns}"] = random.normal(0, 0.02, shape) * np.where(np.arange(columns) < 4, 30, 1)
    out["small"] = random.normal(0, 1e-4, (96, 256))
    out["one sign"] = random.uniform(0.5, 1, (96, 256))
    for tensor in gguf.GGUFReader(root / "models/hone-base.gguf").tensors:
        if tensor.name in ("blk.0.attn_q.weight", "blk.1.attn_v.weight", "blk.2.ffn_up.weight"):
            values = dequantize(tensor.data, tensor.tensor_type)
            delta = random.normal(0, 0.02, (values.shape[0], 8)) @ random.normal(0, 0.3, (8, values.shape[1]))
            out[tensor.name] = values
            out[f"{tensor.name} merged"] = values + delta
    return {name: np.ascontiguousarray(values, np.float32) for name, values in out.items()}


@pytest.mark.parametrize("type_", BLOCKS)
def test_error_is_no_worse_than_llama_cpps(hone, tensors, tmp_path, type_):
    worst = 0.0
    for name, values in tensors.items():
        theirs = error(values, llama_cpp_bytes(values, type_), type_)
        ours = error(values, hone_bytes(hone, tmp_path, values, type_), type_)
        assert ours <= theirs, f"{type_}, {name}: {ours / theirs:.4f} of llama.cpp's error"
        worst = max(worst, ours / theirs if theirs else 0.0)
    print(f"{type_}: at most {worst:.4f} of llama.cpp's squared error")
