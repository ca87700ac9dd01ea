#!/usr/bin/env python3
"""Makes a Q4_K_M GGUF of a shape with random weights: python bench/q4_k_m.py CACHE SHAPE -> CACHE/SHAPE-q4_k_m.gguf

The 135M model is quantised by llama.cpp. Larger ones are written as random blocks of the types that llama.cpp's mixture
gives each tensor, tensor after tensor, so that a model that would not fit the memory in f32 is never held in it.
"""

import json
import os
import subprocess
import sys

import inputs
import measure
import shapes

SPREAD = 0.02  # standard deviation of the random weights


def export_and_quantise(cache, name, target):
    """Through an F16 file, which is removed."""
    import llama_cpp

    plain = target + ".f16"
    command = [measure.HONE, "export", "--model", inputs.model_folder(cache, name), "--out", plain]
    subprocess.run([*command, "--format", "gguf", "--type", "f16"], check=True)
    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    status = llama_cpp.llama_model_quantize(plain.encode(), target.encode(), options)
    os.remove(plain)
    if status != 0:
        sys.exit(f"{target}: llama.cpp did not quantise the model")


# --- Random blocks ---


def random_blocks(blocks, size, random):
    """Words are drawn in a fifth of the time of bytes."""
    words = random.bit_generator.random_raw(-(-blocks * size // 8))
    return words.view("uint8")[: blocks * size].reshape(blocks, size)


def q4_k(blocks, random):
    """Every scale and minimum is 32, so that an element is 32 d (q - 7.5) with dmin = 7.5 d; q is uniform, 0 to 15."""
    import numpy as np

    data = random_blocks(blocks, 144, random)
    d = SPREAD / 32 / 4.61
    data[:, :4] = np.array([d, 7.5 * d], np.float16).view(np.uint8)
    data[:, 4:16] = [160] * 8 + [0] * 4
    return data


def q6_k(blocks, random):
    """Every scale is 32: an element is 32 d (q - 32), q uniform, 0 to 63."""
    import numpy as np

    data = random_blocks(blocks, 210, random)
    data[:, 192:208] = 32
    data[:, 208:] = np.array([SPREAD / 32 / 18.5], np.float16).view(np.uint8)
    return data


def more_bits(layer, layers):
    """Which layers keep attn_v and ffn_down in Q6_K (llama.cpp, src/llama-quant.cpp)."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def matrices(config):
    """Name, rows, columns and whether it is Q6_K."""
    width, ffn, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    head = config.get("head_dim", width // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "token_embd.weight", config["vocab_size"], width, True
    for layer in range(layers):
        fine = more_bits(layer, layers)
        for name, rows, columns, six in [
            ("attn_q", q, width, False),
            ("attn_k", kv, width, False),
            ("attn_v", kv, width, fine),
            ("attn_output", width, q, False),
            ("ffn_gate", ffn, width, False),
            ("ffn_up", ffn, width, False),
            ("ffn_down", width, ffn, fine),
        ]:
            yield f"blk.{layer}.{name}.weight", rows, columns, six
    if not config["tie_word_embeddings"]:
        yield "output.weight", config["vocab_size"], width, True


def write_random(cache, name, target):
    import gguf
    import numpy as np

    config = shapes.config_of(name)
    writer = gguf.GGUFWriter(target + ".partial", "llama")
    add_settings(writer, config)
    add_tokenizer(writer, inputs.tokenizer_folder(cache, name))
    norms = ["output_norm.weight"]
    norms += [f"blk.{i}.{which}_norm.weight" for i in range(config["num_hidden_layers"]) for which in ("attn", "ffn")]
    types = {True: (gguf.GGMLQuantizationType.Q6_K, q6_k, 210), False: (gguf.GGMLQuantizationType.Q4_K, q4_k, 144)}
    listed = list(matrices(config))
    for norm in norms:
        writer.add_tensor_info(norm, [config["hidden_size"]], np.dtype(np.float32), config["hidden_size"] * 4)
    for tensor, rows, columns, six in listed:
        kind, _, size = types[six]
        row = columns // 256 * size
        writer.add_tensor_info(tensor, [rows, row], np.dtype(np.uint8), rows * row, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _ in norms:
        writer.write_tensor_data(np.ones(config["hidden_size"], np.float32))
    random = np.random.default_rng(1)
    for _, rows, columns, six in listed:
        writer.write_tensor_data(types[six][1](rows * columns // 256, random))
    writer.close()
    os.rename(target + ".partial", target)


def add_settings(writer, config):
    heads = config["num_attention_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def add_tokenizer(writer, folder):
    import gguf

    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        content = json.load(file)
    ids = dict(content["model"]["vocab"])
    special = {token["content"]: token["id"] for token in content["added_tokens"]}
    ids.update(special)
    tokens = sorted(ids, key=ids.get)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(special[inputs.END])
    writer.add_add_bos_token(False)


def main():
    cache, name = sys.argv[1:3]
    target = os.path.join(cache, name + "-q4_k_m.gguf")
    if not os.path.exists(target):
        (write_random if name in shapes.RANDOM_BLOCKS else export_and_quantise)(cache, name, target)
    print(target)


if __name__ == "__main__":
    main()
