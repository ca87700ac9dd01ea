"""llama.cpp as an oracle, through llama-cpp-python.

`exact` runs with flash attention off and the K and V cache in F32, so that an F32 file is computed in F32 throughout;
`defaults` leaves the runtime's own choices (flash attention picked by it, F16 cache), as a person would run it.
"""

import os

import gguf
import llama_cpp
import numpy as np
from gguf.quants import dequantize


class Runtime:
    """One model, with or without a LoRA adapter, of at most `context` tokens."""

    def __init__(self, path, adapter=None, context=1024, exact=True, threads=2):
        options = {}
        if exact:
            options = {
                "flash_attn": False,
                "type_k": llama_cpp.GGML_TYPE_F32,
                "type_v": llama_cpp.GGML_TYPE_F32,
            }
        self.model = llama_cpp.Llama(
            model_path=os.fspath(path),
            lora_path=os.fspath(adapter) if adapter else None,
            n_ctx=context,
            n_batch=context,
            n_ubatch=context,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            verbose=False,
            # llama.cpp's own defaults: as the file says
            yarn_attn_factor=-1.0,
            yarn_beta_fast=-1.0,
            yarn_beta_slow=-1.0,
            **options,
        )

    def close(self):
        self.model.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def logits(self, ids):
        """Logits [T, V] of every position of one text."""
        self.model.reset()
        self.model.eval([int(i) for i in ids])
        return self.model.scores[: len(ids)].copy()

    def log_probs(self, ids):
        """Natural log-probability [T, V] of every next token, in double precision."""
        return log_softmax(self.logits(ids))

    def token_nll(self, ids):
        """Negative log-likelihood [T - 1] of tokens 1 … T - 1."""
        scores = self.log_probs(ids)
        return -scores[np.arange(len(ids) - 1), np.asarray(ids[1:])]

    def greedy(self, ids, count):
        """The `count` ids that follow when the likeliest token is always taken."""
        self.model.reset()
        self.model.eval([int(i) for i in ids])
        out = []
        for _ in range(count):
            out.append(int(np.argmax(self.model.scores[self.model.n_tokens - 1])))
            self.model.eval(out[-1:])
        return out

    def tokenize(self, text, special=True, bos=False):
        return self.model.tokenize(text.encode(), add_bos=bos, special=special)


def log_softmax(logits):
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def masked_mean_nll(runtime, samples):
    """Mean over the supervised tokens of all samples, each a dict of `ids` and `mask` as `hone data show` prints."""
    total, count = 0.0, 0
    for sample in samples:
        mask = np.asarray(sample["mask"][1:], dtype=bool)
        total += float(runtime.token_nll(sample["ids"])[mask].sum())
        count += int(mask.sum())
    return total / count


def dequantize_file(source, target):
    """Writes `source` again with every tensor in F32 (by the gguf package): the numbers the file stands for."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, text_field(reader, "general.architecture"))
    for field in reader.fields.values():
        copy_field(writer, field)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        shape = [int(n) for n in reversed(tensor.shape)]
        writer.add_tensor(tensor.name, np.ascontiguousarray(values.reshape(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def copy_field(writer, field):
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        return
    value = 0 if field.name == "general.file_type" else field.contents()
    if field.types[0] == gguf.GGUFValueType.ARRAY:
        writer.add_key_value(field.name, value, field.types[0], sub_type=field.types[1])
    else:
        writer.add_key_value(field.name, value, field.types[0])


def text_field(reader, name):
    return reader.fields[name].contents()


def f32_form(path, folder):
    """The file itself when all its tensors are F32, else a dequantised copy in `folder`."""
    types = {tensor.tensor_type for tensor in gguf.GGUFReader(path).tensors}
    if types == {gguf.GGMLQuantizationType.F32}:
        return path
    return dequantize_file(path, os.path.join(folder, os.path.basename(path) + ".f32.gguf"))
