#!/usr/bin/env python3
"""Makes what a measurement needs in a cache folder: a model with random weights and a tokenizer, and records.

    python bench/inputs.py CACHE SHAPE            the Hugging Face folder CACHE/SHAPE
    python bench/inputs.py CACHE SHAPE full 512   CACHE/SHAPE-full-512.jsonl: texts of exactly 512 tokens
    python bench/inputs.py CACHE SHAPE gsm8k      CACHE/SHAPE-gsm8k.jsonl: short real records ($HONE_TEST_DATA)

Beside each X.jsonl of records stands X.samples.jsonl with the token ids and the loss mask that the plain template gives,
for the peer. The tokenizer is byte-level BPE trained on the text at hand, filled up with unused entries.
"""

import json
import lzma
import os
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import shapes

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
END = "<|endoftext|>"
RECORDS = 64  # texts of full length


def training_texts():
    data = os.environ.get("HONE_TEST_DATA")
    if not data:
        with open(os.path.join(ROOT, "tests", "fixtures", "text", "harbour.txt"), encoding="utf-8") as file:
            yield file.read()
        return
    for name in ["short-modern", "books"]:
        with lzma.open(os.path.join(data, "corpus", name + ".txt.xz"), "rt", encoding="utf-8") as file:
            yield from (line for line in file if not line.startswith("<|doc|>"))


def make_tokenizer(folder, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    end = AddedToken(END, special=True, normalized=False)
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 49152),
        special_tokens=[end],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    missing = vocabulary - tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(f"<|unused_{i}|>", special=True) for i in range(missing)])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    write_json(os.path.join(folder, "tokenizer_config.json"), config)


def make_model(folder, name):
    import torch  # which takes seconds, for nothing where the model is there
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = shapes.config_of(name)
    write_json(os.path.join(folder, "config.json"), config)
    torch.manual_seed(1)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=getattr(torch, config["dtype"]))
    tensors = {key: value.cpu() for key, value in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    path = os.path.join(folder, "model.safetensors")
    save_file(tensors, path + ".partial", metadata={"format": "pt"})
    os.rename(path + ".partial", path)


def full_records(tokenizer, length):
    """Texts of `length` tokens with their end token: words that are one token each, so that they come back as drawn."""
    draw = random.Random(7)
    words = sorted(token[1:] for token in tokenizer.get_vocab() if token[:1] == "Ġ" and token[1:].isascii() and token[1:].isalpha())
    for _ in range(RECORDS):
        text = ""
        size = 0
        while size < length - 1:
            text += " " + draw.choice(words)
            size += 1
        ids = tokenizer.encode(text).ids
        assert len(ids) == length - 1, "a word was cut into several tokens"
        yield {"text": text}, {"ids": ids + [tokenizer.token_to_id(END)], "mask": [1] * length}


def gsm8k_records(tokenizer):
    path = os.path.join(os.environ["HONE_TEST_DATA"], "instruct", "gsm8k-test.jsonl")
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    end = tokenizer.token_to_id(END)
    for row in rows:
        question = tokenizer.encode(row["question"] + "\n").ids
        answer = tokenizer.encode(row["answer"]).ids + [end]
        yield row, {"ids": question + answer, "mask": [0] * len(question) + [1] * len(answer)}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)


def write_records(stem, pairs):
    with open(stem + ".jsonl", "w", encoding="utf-8") as records, open(stem + ".samples.jsonl", "w") as samples:
        for record, sample in pairs:
            records.write(json.dumps(record, ensure_ascii=False) + "\n")
            samples.write(json.dumps(sample) + "\n")
    return stem


def tokenizer_folder(cache, name):
    """The folder of the model with its tokenizer, made when it is not there."""
    folder = os.path.join(cache, name)
    if not os.path.exists(os.path.join(folder, "tokenizer_config.json")):
        os.makedirs(folder, exist_ok=True)
        make_tokenizer(folder, shapes.SHAPES[name]["vocab_size"])
    return folder


def model_folder(cache, name):
    """The folder of the random model, made when it is not there."""
    folder = tokenizer_folder(cache, name)
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        make_model(folder, name)
    return folder


def records(cache, name, kind, length=0):
    """Path of the records without its ending, made when they are not there."""
    stem = os.path.join(cache, f"{name}-{kind}" + (f"-{length}" if kind == "full" else ""))
    if not os.path.exists(stem + ".samples.jsonl"):
        folder = os.path.join(cache, name) if name in shapes.GENERATED else model_folder(cache, name)
        tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        write_records(stem, full_records(tokenizer, length) if kind == "full" else gsm8k_records(tokenizer))
    return stem


def main():
    cache, name = sys.argv[1:3]
    if name not in shapes.GENERATED:
        print(model_folder(cache, name))
    if len(sys.argv) > 3:
        print(records(cache, name, sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 0))


if __name__ == "__main__":
    main()
