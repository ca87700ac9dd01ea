"""Small Llama models in every tensor type, quantised by llama.cpp, and by the gguf package where that cannot."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import gguf
import llama
import llama_cpp
import numpy as np
from gguf.quants import quantize

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import export_matrix  # noqa: E402

WIDTH, FORWARD, LAYERS, HEADS, KV_HEADS, CONTEXT = 256, 512, 2, 4, 2, 1024

# File types of llama.cpp's quantiser under which every matrix gets the type of the name.
PURE = {
    "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "q8_0": 7, "q2_k": 10, "q3_k": 12, "q4_k": 15, "q5_k": 17, "q6_k": 18,
    "iq4_nl": 25, "iq4_xs": 30,
}  # fmt: skip
TYPES = [*PURE, "mxfp4"]
ALL = [name.lower() for name in export_matrix.BASE_TYPES]  # those, and the ones that are not quantised
PROVEN = set()  # what passed, for the README


class Shape(NamedTuple):
    layers: int = LAYERS
    width: int = WIDTH
    forward: int = FORWARD
    heads: int = HEADS
    kv_heads: int = KV_HEADS
    tied: bool = True


def write_plain(path, vocabulary_from, seed=0, shape=Shape(), draw=None):
    """An F32 model with random weights, or those that `draw(shape)` gives, and the vocabulary of another file."""
    reader = gguf.GGUFReader(vocabulary_from)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            llama.copy_field(writer, field)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    writer.add_block_count(shape.layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    rng = np.random.default_rng(seed)
    draw = draw or (lambda size: rng.standard_normal(size) * size[1] ** -0.5)
    for name, size in shapes(vocabulary, shape):
        values = np.ones(size) if len(size) == 1 else draw(size)
        writer.add_tensor(name, values.astype(np.float32))
    finish(writer)
    return path


def shapes(vocabulary, shape=Shape()):
    width, forward = shape.width, shape.forward
    yield "token_embd.weight", (vocabulary, width)
    if not shape.tied:
        yield "output.weight", (vocabulary, width)
    yield "output_norm.weight", (width,)
    kv = width // shape.heads * shape.kv_heads
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", (width,)
        yield f"blk.{layer}.ffn_norm.weight", (width,)
        for name, size in {
            "attn_q": (width, width),
            "attn_k": (kv, width),
            "attn_v": (kv, width),
            "attn_output": (width, width),
            "ffn_gate": (forward, width),
            "ffn_up": (forward, width),
            "ffn_down": (width, forward),
        }.items():
            yield f"blk.{layer}.{name}.weight", size


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantise(source, target, file_type, pure=False):
    """llama.cpp's own quantiser, without an importance matrix."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread, options.ftype, options.pure = 2, file_type, pure
    if pure:
        options.token_embedding_type = options.output_tensor_type = gguf_type_of(file_type)
    status = llama_cpp.llama_model_quantize(os.fspath(source).encode(), os.fspath(target).encode(), options)
    if status != 0:
        raise ValueError(f"llama.cpp did not quantise {source}")
    return target


def gguf_type_of(file_type):
    name = next(name for name, number in PURE.items() if number == file_type)
    return gguf.GGMLQuantizationType[name.upper()].value


def rewrite(source, target, type_of, parts=1):
    """The file again, every matrix in the type that `type_of` gives for its name, in one file or cut in several."""
    reader = gguf.GGUFReader(source)
    paths = [target] if parts == 1 else [f"{target}-{i + 1:05}-of-{parts:05}.gguf" for i in range(parts)]
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for field in reader.fields.values():
                llama.copy_field(writer, field)
        if parts > 1:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", parts)
            writer.add_int32("split.tensors.count", len(reader.tensors))
        for i, tensor in enumerate(reader.tensors):
            if i * parts // len(reader.tensors) == number:
                add_tensor(writer, tensor, type_of(tensor))
        finish(writer)
    return paths[0]


def add_tensor(writer, tensor, kind):
    data = tensor.data
    if kind != tensor.tensor_type:
        data = quantize(data, kind)
    writer.add_tensor(tensor.name, data, raw_dtype=kind)


def model_of(name, plain, folder):
    """The plain model in a type of ALL; asserts that its matrices have it."""
    kind = gguf.GGMLQuantizationType[name.upper()]
    path = os.path.join(folder, f"{name}.gguf")
    if name in PURE and not os.path.exists(path):
        quantise(plain, path, PURE[name], pure=True)
    elif not os.path.exists(path):
        rewrite(plain, path, lambda tensor: tensor.tensor_type if len(tensor.shape) == 1 else kind)
    assert matrix_types(path) == {kind}
    return path


def matrix_types(path):
    return {tensor.tensor_type for tensor in gguf.GGUFReader(path).tensors if len(tensor.shape) == 2}


def random_blocks(kind, blocks, seed):
    """Bytes of `blocks` blocks of a type, any bytes but in the halves that scale them, which are finite."""
    rng = np.random.default_rng(seed)
    size = gguf.GGML_QUANT_SIZES[kind][1]
    data = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for at in HALVES.get(kind.name, []):
        half = data[:, at : at + 2].copy().view(np.uint16)
        half[(half & 0x7C00) == 0x7C00] ^= 0x4000
        data[:, at : at + 2] = half.view(np.uint8)
    return data


# Where the halves of a block lie.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip
