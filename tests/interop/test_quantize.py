"""Quantising beside llama.cpp's own: the squared error of every tensor type, and the type of every tensor of a file."""

import ctypes
import dataclasses
import os
import shutil
import subprocess

import architectures
import gguf
import llama
import llama_cpp
import numpy as np
import pytest
import quantised
import transformers
from gguf.quants import dequantize
from quantised import Shape
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


# --- The type of every tensor ---

# llama.cpp's numbers of file types (enum llama_ftype)
FILE_TYPES = {
    "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q5_0": 8,
    "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18,
}  # fmt: skip

# layers, width, feed-forward width, heads, key/value heads, tied head
SHAPES = {
    "narrow": Shape(2, 64, 160, 4, 4),
    "narrow rows of no block": Shape(3, 64, 172, 4, 2, tied=False),
    "down falls back": Shape(9, 256, 288, 8, 8),
    "two layers": Shape(2, 256, 512, 8, 2, tied=False),
    "grouped by 4": Shape(13, 256, 256, 8, 2, tied=False),
    "grouped by 8": Shape(24, 256, 256, 8, 1),
    "40 layers": Shape(40, 256, 256, 4, 4, tied=False),
    "80 layers, grouped": Shape(80, 256, 256, 8, 1),
}


def types_of(path):
    reader = gguf.GGUFReader(path)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    return types, int(reader.fields["general.file_type"].contents())


@pytest.mark.parametrize("name", SHAPES)
def test_tensor_types_are_llama_cpps(hone, test_data, tmp_path, name):
    base = tmp_path / "base.gguf"
    quantised.write_plain(base, test_data / "stories260K/stories260K-f32.gguf", shape=SHAPES[name], draw=np.zeros)
    names = FILE_TYPES if SHAPES[name].layers < 40 else ["q4_k_s", "q4_k_m", "q5_k_m"]
    for type_ in names:
        ours, theirs = tmp_path / f"{type_}.gguf", tmp_path / "theirs.gguf"
        hone("export", "--model", base, "--type", type_, "--out", ours)
        try:
            quantised.quantise(base, theirs, FILE_TYPES[type_])
        except ValueError:
            assert "no block" in name and type_ in ("q8_0", "q4_0", "q5_0")
            assert types_of(ours)[0]["blk.1.ffn_down.weight"] == "F16"
        else:
            assert types_of(ours) == types_of(theirs), type_
        ours.unlink()


FAMILIES = [name for name in architectures.ARCHITECTURES if name == architectures.family_of(name)]


@pytest.mark.parametrize("family", FAMILIES)
def test_tensor_types_of_every_architecture_are_llama_cpps(hone, fixtures, tmp_path, family):
    """Fused projections, learned positions and tied heads among them; widths at which blocks of 256 fit some rows only."""
    architecture = architectures.ARCHITECTURES[family]
    wide = {"n_embd": 256} if family == "gpt2" else {"hidden_size": 256, "intermediate_size": 512}
    config = dataclasses.replace(architecture, settings={**architecture.settings, **wide}).make_config()
    folder, base = tmp_path / "base", tmp_path / "base.gguf"
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(fixtures / "models/grouped-tied" / file, folder / file)
    hone("export", "--model", folder, "--type", "f16", "--out", base)
    for type_ in ("q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k"):
        ours, theirs = tmp_path / f"{type_}.gguf", tmp_path / "theirs.gguf"
        hone("export", "--model", base, "--type", type_, "--out", ours)
        quantised.quantise(base, theirs, FILE_TYPES[type_])
        assert types_of(ours) == types_of(theirs), type_
        with llama.Runtime(ours, context=64) as runtime:
            assert np.isfinite(runtime.logits([5, 6, 7])).all()
