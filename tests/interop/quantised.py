"""Small Llama models in every tensor type, quantised by llama.cpp, and by the gguf package where that cannot."""

import os

import gguf
import llama
import llama_cpp
import numpy as np
from gguf.quants import quantize

WIDTH, FORWARD, LAYERS, HEADS, KV_HEADS, CONTEXT = 256, 512, 2, 4, 2, 1024

# File types of llama.cpp's quantiser under which every matrix gets the type of the name.
PURE = {
    "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "q8_0": 7, "q2_k": 10, "q3_k": 12, "q4_k": 15, "q5_k": 17, "q6_k": 18,
    "iq4_nl": 25, "iq4_xs": 30,
}  # fmt: skip
TYPES = [*PURE, "mxfp4"]


def write_plain(path, vocabulary_from, seed=0):
    """An F32 model with random weights and the vocabulary of another file; its head is its embedding."""
    reader = gguf.GGUFReader(vocabulary_from)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            llama.copy_field(writer, field)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    rng = np.random.default_rng(seed)
    for name, shape in shapes(vocabulary):
        values = np.ones(shape) if len(shape) == 1 else rng.standard_normal(shape) * shape[1] ** -0.5
        writer.add_tensor(name, values.astype(np.float32))
    finish(writer)
    return path


def shapes(vocabulary):
    yield "token_embd.weight", (vocabulary, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    kv = WIDTH // HEADS * KV_HEADS
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", (WIDTH,)
        yield f"blk.{layer}.ffn_norm.weight", (WIDTH,)
        for name, shape in {
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (kv, WIDTH),
            "attn_v": (kv, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (FORWARD, WIDTH),
            "ffn_up": (FORWARD, WIDTH),
            "ffn_down": (WIDTH, FORWARD),
        }.items():
            yield f"blk.{layer}.{name}.weight", shape


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
    assert status == 0, f"llama.cpp did not quantise {source}"
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
    """The plain model in a type of TYPES; asserts that its matrices have it."""
    kind = gguf.GGMLQuantizationType[name.upper()]
    path = os.path.join(folder, f"{name}.gguf")
    if name in PURE:
        quantise(plain, path, PURE[name], pure=True)
    else:
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
