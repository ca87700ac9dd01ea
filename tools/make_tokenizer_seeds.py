#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/tokenizer: small tokenizers of every kind of part, seeds of the fuzz target and fixtures of
tests/test_tokenizer.c. Needs the gguf package. Usage: make_tokenizer_seeds.py FOLDER
"""

import json
import sys
from pathlib import Path

import gguf

SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
SPLIT = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MARKER = "\u2581"


def alphabet():
    """The 256 characters of byte-level BPE."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in plain]
    return [chr(byte if byte in plain else 256 + moved.index(byte)) for byte in range(256)]


MERGES = ["h e", "l l", "he ll", "hell o", "\u0120 w", "o r", "\u0120w or", "\u00c3 \u00a9", "1 2"]


def byte_vocab():
    tokens = alphabet() + [merge.replace(" ", "") for merge in MERGES]
    return {token: index for index, token in enumerate(tokens)}


def byte_level(**more):
    vocab = byte_vocab()
    added = [
        {"id": len(vocab), "content": "<|end|>", **SPECIAL},
        {"id": len(vocab) + 1, "content": "<|strip|>", **SPECIAL, "lstrip": True, "rstrip": True},
        {"id": len(vocab) + 2, "content": "<user>", **SPECIAL, "special": False},
        {"id": len(vocab) + 3, "content": "word", **SPECIAL, "special": False, "normalized": True, "single_word": True},
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [len(vocab)], "tokens": ["<|end|>"]}},
    }
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": {"type": "Sequence", "processors": [level, template]},
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": MERGES, **more},
    }


SPM_TOKENS = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
SPM_TOKENS += [MARKER, "h", "e", "l", "o", "he", "ll", "hell", "hello", MARKER + "hello", "w", "or", "r", MARKER + "w"]


def sentencepiece():
    vocab = {token: index for index, token in enumerate(SPM_TOKENS)}
    merges = ["h e", "l l", "he ll", "hell o", f"{MARKER} hello", f"{MARKER} w", "o r"]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": MARKER}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    back = {"type": "Replace", "pattern": {"String": MARKER}, "content": " "}
    return {
        "added_tokens": [{"id": i, "content": SPM_TOKENS[i], **SPECIAL} for i in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARKER}, space]},
        "pre_tokenizer": None,
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]},
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]},
        "model": {
            "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
        },
    }  # fmt: skip


def parts():
    """The components the others do not have."""
    vocab = {token: i for i, token in enumerate(["<unk>", MARKER, "a", "b", "1", ".", MARKER + "a", "ab", "e\u0301"])}
    steps = [
        {"type": "Metaspace", "replacement": MARKER, "prepend_scheme": "first", "split": True},
        {"type": "Digits", "individual_digits": False},
        {"type": "Punctuation", "behavior": "Contiguous"},
        {"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithPrevious", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"\s"}, "behavior": "MergedWithNext", "invert": True},
        {"type": "Whitespace"},
        {"type": "WhitespaceSplit"},
    ]
    return {
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": form} for form in ["NFKD", "NFD", "NFKC"]]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": MARKER, "prepend_scheme": "always", "split": True},
        "model": {
            "type": "BPE", "vocab": vocab, "merges": [[MARKER, "a"], ["a", "b"]], "unk_token": "<unk>", "fuse_unk": False,
        },
    }  # fmt: skip


def write_gguf(path, model, pre, tokens, types, scores=None, merges=None, **more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    if scores:
        writer.add_token_scores(scores)
    writer.add_token_types(types)
    if merges:
        writer.add_token_merges(merges)
    for key, value in more.items():
        getattr(writer, key)(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main():
    folder = Path(sys.argv[1])
    files = {
        "byte-level.json": byte_level(),
        "ignore-merges.json": byte_level(ignore_merges=True),
        "sentencepiece.json": sentencepiece(),
        "parts.json": parts(),
    }
    for name, content in files.items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / name).write_text(text, encoding="utf-8")
    tokens = [*byte_vocab(), "<|im_end|>", "<user>"]
    types = [1] * (len(tokens) - 2) + [3, 4]
    ids = {"add_eos_token_id": len(tokens) - 2}
    write_gguf(folder / "byte-level.gguf", "gpt2", "qwen2", tokens, types, merges=MERGES, **ids)
    scores = [0.0] * 259 + [-float(i) for i in range(len(SPM_TOKENS) - 259)]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(SPM_TOKENS) - 259)
    more = {"add_bos_token_id": 1, "add_eos_token_id": 2, "add_unk_token_id": 0, "add_add_bos_token": True}
    write_gguf(folder / "sentencepiece.gguf", "llama", "default", SPM_TOKENS, types, scores=scores, **more)


if __name__ == "__main__":
    main()
