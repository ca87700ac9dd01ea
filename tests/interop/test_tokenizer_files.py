"""Tokenizers from SentencePiece models, from vocab.json with merges.txt, and from GGUF files of every kind, against
sentencepiece, transformers and llama.cpp.
"""

import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest
import sentencepiece
from protobuf import fields
from test_tokenizers import LONG, SNIPPETS, SPECIALS, random_texts
from test_tokenizers import tokenize as tokenize
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers


def rows_of(path):
    return [json.loads(row) for row in path.open(encoding="utf-8")]


# --- SentencePiece ---


@pytest.fixture
def folder(tmp_path):
    """folder(model, config): a folder with a tokenizer.model."""

    def make(model, config=None):
        (tmp_path / "tokenizer.model").write_bytes(model)
        if config is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return tmp_path

    return make


def same_as_sentencepiece(tokenize, path, processor, texts):
    wrong = []
    for text, mine in zip(texts, tokenize(path, texts, "plain"), strict=True):
        ids = processor.encode(text)
        if ids != mine["ids"]:
            wrong.append((text[:100], ids[:30], mine["ids"][:30]))
    assert not wrong, f"{len(wrong)} of {len(texts)} differ; first: {wrong[:2]}"


@pytest.mark.parametrize("name", ["unigram-2000", "unigram-t5-32000"])
def test_shared_models_same_ids(tokenize, folder, test_data, name):
    model = (test_data / f"hf-tokenizers/small/{name}.spm.model").read_bytes()
    path = folder(model)
    rows = rows_of(test_data / f"hf-tokenizers/expected/{name}.jsonl")
    got = tokenize(path, [row["text"] for row in rows], "plain")
    for row, mine in zip(rows, got, strict=True):
        assert mine["ids"] == row["ids"], row["text"]
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")
    texts = random_texts(name, 1500) + LONG + text.split("\n\n")[:800] + [text[:40_000]]
    same_as_sentencepiece(tokenize, path, processor, [t.replace("\0", "") for t in texts])


def test_stories_model_same_ids(tokenize, folder, test_data):
    model = (test_data / "stories260K/hf/tokenizer.model").read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    rows = rows_of(test_data / "hf-tokenizers/expected/stories260K.jsonl")
    texts = random_texts("stories", 1500) + [t[:3000] for t in LONG] + [row["text"] for row in rows]
    same_as_sentencepiece(tokenize, folder(model), processor, texts)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
        {"model_type": "bpe", "user_defined_symbols": ["<sep>", "ab", "  "], "remove_extra_whitespaces": False},
        {"model_type": "bpe", "add_dummy_prefix": False, "normalization_rule_name": "nfkc_cf"},
        {"model_type": "unigram", "byte_fallback": True},
        {"model_type": "unigram", "user_defined_symbols": ["<sep>", "the", " a "], "control_symbols": ["<c>"]},
        {"model_type": "unigram", "add_dummy_prefix": False, "remove_extra_whitespaces": False},
    ],
)
def test_trained_models_same_ids(tokenize, folder, root, tmp_path, options):
    words = (root / "tests/fixtures/text/harbour.txt").read_text(encoding="utf-8").split("\n")
    prefix = tmp_path / "trained"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 3),
        model_prefix=str(prefix),
        vocab_size=600 if options.get("byte_fallback") else 350,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    model = prefix.with_suffix(".model").read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    rng = random.Random(str(options))
    more = [*SNIPPETS, "<sep>", "ab", "the", " a ", "<c>", *words]
    texts = ["".join(rng.choices(more, k=rng.randrange(1, 9))).replace("\0", "") for _ in range(1500)]
    texts += [t.replace("\0", "") for t in random_texts("trained", 500)] + [t[:3000] for t in LONG]
    same_as_sentencepiece(tokenize, folder(model), processor, texts)


@pytest.mark.parametrize("config", [{}, {"legacy": True}, {"add_bos_token": False}, {"tokenizer_class": "GemmaTokenizer"}])
def test_classes_same_ids_as_transformers(tokenize, folder, test_data, config):
    from transformers import GemmaTokenizer, LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    model = (test_data / "stories260K/hf/tokenizer.model").read_bytes()
    pieces = [dict(fields(value))[1].decode() for number, value in fields(model) if number == 1]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    gemma = "tokenizer_class" in config
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    if gemma:
        names |= {"pad_token": "<unk>", "mask_token": "<unk>"}
    make = GemmaTokenizer if gemma else LlamaTokenizer
    theirs = make(vocab=vocab, merges=generate_merges(vocab), **names, **{k: v for k, v in config.items() if k == "legacy"})
    path = folder(model, {"tokenizer_class": "LlamaTokenizer", **names, **config})
    texts = [t for t in random_texts("classes", 1200) if "\0" not in t] + ["", " ", "a", "Hello</s>Hello", "<s>Hello"]
    backend = theirs.backend_tokenizer
    for text, mine in zip(texts, tokenize(path, texts, "add"), strict=True):
        ids = backend.encode(text, add_special_tokens=False).ids
        bos = [] if config.get("add_bos_token") is False else [1]
        assert mine["ids"] == bos + ids, text


# --- vocab.json and merges.txt ---


def test_qwen2_folder_same_ids(tokenize, test_data, tmp_path):
    source = test_data / "hf-tokenizers/qwen2"
    rows = rows_of(test_data / "hf-tokenizers/expected/qwen2.jsonl")
    got = tokenize(source, [row["text"] for row in rows])
    for row, mine in zip(rows, got, strict=True):
        assert (mine["ids"], mine["decoded"]) == (row["ids"], row["decoded"]), row["text"]
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(source).backend_tokenizer
    texts = [t for t in random_texts("qwen2", 1500)] + ["".join(random.Random(1).choices(SNIPPETS + SPECIALS, k=400))]
    for text, mine in zip(texts, tokenize(source, texts), strict=True):
        assert theirs.encode(text, add_special_tokens=False).ids == mine["ids"], text
    # the same from added_tokens.json and special_tokens_map.json alone
    for name in ["vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"]:
        shutil.copy(source / name, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2TokenizerFast"}')
    assert [m["ids"] for m in tokenize(tmp_path, texts)] == [m["ids"] for m in tokenize(source, texts)]
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    assert "GPT2Tokenizer or Qwen2Tokenizer, not 'RobertaTokenizer'" in tokenize(tmp_path, ["a"], status=1)


def test_gpt2_folder_same_ids(tokenize, test_data, tmp_path):
    source = test_data / "hf-tokenizers/gpt-2/tokenizer.json"
    model = json.loads(source.read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    texts = random_texts("gpt2", 1000)
    assert [m["ids"] for m in tokenize(tmp_path, texts)] == [m["ids"] for m in tokenize(source, texts)]


NAMED = {"bos_token": "!!", "eos_token": {"__type": "AddedToken", "content": "hello", "lstrip": True}, "unk_token": "!!"}


@pytest.mark.parametrize("config", [{}, {"add_bos_token": True, "add_eos_token": True, **NAMED}])
@pytest.mark.parametrize("named", [{}, {"pad_token": {"content": "...", "rstrip": True}, "additional_special_tokens": ["the"]}])
def test_older_folder_names_its_special_tokens(tokenize, test_data, tmp_path, config, named):
    from transformers import AutoTokenizer

    model = json.loads((test_data / "hf-tokenizers/gpt-2/tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **config}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({**config, **named}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["", "the end", " hello hello!!!", "x... y<|endoftext|>z", *random_texts("older", 300)]
    for text, mine in zip(texts, tokenize(tmp_path, texts, "add"), strict=True):
        assert theirs.encode(text) == mine["ids"], text


# --- GGUF: every name of a pre-tokenizer ---

NAMES = """gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4 jina-v1-en
jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral
midm-2.0 lfm2 jina-v5-nano smaug-bpe dbrx glm4 chatglm-bpe qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan
solar-open grok-2 smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 falcon deepseek-llm
deepseek-coder deepseek-v3 hunyuan-dense joyai-llm youtu qwen35 bloom poro-chat gpt3-finnish viking tekken gpt-4o llama4
kanana2 talkie minimax-m2 granite-embed-multi-97m chameleon tiny_aya cohere2moe kimi-k2 superbpe bailingmoe bailingmoe2
llada-moe seed-coder afmoe laguna exaone-moe jais-2 minicpm5 gemma4 granite-embed-multi-311m sarvam-moe
default""".split()
TRICKY = ["1", "12", "123", "1234567", " 12", "  12", "a12b345678", "\u0663\u06641234", "x\r\n\r\nz", "\n\n", "\n \n", " \n"]
TRICKY += ["don't", "DON'T", "we'LL", "'s", "IMGIMGABZ", "<sentinel:12>", "HelloWorld", "helloWORLD", "\u00c9t\u00e9", "\u03a3\u03b1\u03a3"]
TRICKY += ["~", "a~b", "~a", "$x", "#tag", "\u3042\u30a2\u6f22\u5b57", "\ud55c\uad6d\uc5b4", "\u3000", "a\u0301", "\u0301a", "\u0e01\u0e33", "..", "a/b/\n"]
TRICKY += ["     ", " " * 9, "\t\t", "\u2003", "_a_", "\u4f60a\u597d", "(a)", "|x|", "\u060c\u0964", "1/2", "3.14", "\u00bd", "x ", " x"]


def letters_of(texts):
    return sorted({c for text in texts for c in text})


def write_gguf(path, pre, tokens, types, merges, model="gpt2"):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def trained_bpe(texts, byte_level):
    """A small BPE with merges across everything, so that each cut shows."""
    tokenizer = Tokenizer(models.BPE())
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    else:
        texts = [text.replace(" ", "\u2581") for text in texts]
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else letters_of(texts)
    trainer = trainers.BpeTrainer(
        vocab_size=5000,
        initial_alphabet=alphabet,
        special_tokens=["<s>", "</s>"] + ([] if byte_level else [f"<0x{i:02X}>" for i in range(256)]),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    types = [3 if t in ("<s>", "</s>") else 6 if t.startswith("<0x") else 1 for t in tokens]
    return tokens, types, [" ".join(merge) for merge in model["merges"]]


@pytest.fixture(scope="session")
def bpe_parts():
    rng = random.Random("names")
    texts = ["".join(rng.choices(TRICKY + SNIPPETS, k=rng.randrange(1, 7))).replace("\0", "") for _ in range(700)]
    plain = [text.replace("\n", "") for text in texts] + ["\n\n", "\n" * 4]
    return texts, trained_bpe(texts, True), trained_bpe(plain, False)


@pytest.mark.parametrize("pre", NAMES)
def test_pre_tokenizer_same_ids_as_llama_cpp(tokenize, bpe_parts, tmp_path, pre):
    texts, byte_level, plain = bpe_parts
    path = tmp_path / "vocab.gguf"
    is_plain = pre in ("gemma4", "granite-embed-multi-311m", "sarvam-moe")
    write_gguf(path, pre, *(plain if is_plain else byte_level), model="gemma4" if pre == "gemma4" else "gpt2")
    try:
        model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    except ValueError:
        pytest.skip(f"this llama.cpp does not know {pre}")
    wrong = []
    bos = [0] if llama_cpp.llama_vocab_get_add_bos(model._model.vocab) else []
    for text, mine in zip(texts, tokenize(path, texts, "add"), strict=True):
        ids = bos + model.tokenize(text.encode(), add_bos=False, special=True)
        if ids != mine["ids"]:
            wrong.append((text, ids, mine["ids"]))
    assert not wrong, f"{len(wrong)} of {len(texts)} differ; first: {wrong[:2]}"


# --- GGUF: Unigram ---


@pytest.mark.parametrize("prefix,squeeze", [(True, True), (True, False), (False, True), (False, False)])
def test_unigram_gguf_same_ids_as_llama_cpp(tokenize, test_data, tmp_path, prefix, squeeze):
    data = (test_data / "hf-tokenizers/small/unigram-2000.spm.model").read_bytes()
    pieces = [dict(fields(value)) for number, value in fields(data) if number == 1]
    normalizer = dict(next(value for number, value in fields(data) if number == 3 for value in [fields(value)]))
    writer = gguf.GGUFWriter(str(tmp_path / "vocab.gguf"), "t5")
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece[1] for piece in pieces])
    writer.add_token_scores([struct.unpack("<f", piece[2])[0] for piece in pieces])
    types = [piece.get(3, 1) for piece in pieces]
    user = next(i for i, piece in enumerate(pieces) if piece[1] == b"ing")
    types[user] = 4
    writer.add_token_types(types)
    writer.add_unk_token_id(next(i for i, piece in enumerate(pieces) if piece.get(3) == 2))
    writer.add_eos_token_id(1)
    writer.add_add_space_prefix(prefix)
    writer.add_remove_extra_whitespaces(squeeze)
    writer.add_precompiled_charsmap(np.frombuffer(normalizer[2], dtype=np.uint8).tobytes())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    path = tmp_path / "vocab.gguf"
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    words = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8").split("\n\n")[:300]
    texts = [t.replace("\0", "") for t in random_texts("ugm", 1200)] + words + ["singing" * 3]
    wrong = []
    for text, mine in zip(texts, tokenize(path, texts, "plain"), strict=True):
        ids = model.tokenize(text.encode(), add_bos=False, special=False)
        if ids != mine["ids"]:
            wrong.append((text, ids, mine["ids"]))
    assert not wrong, f"{len(wrong)} of {len(texts)} differ; first: {wrong[:2]}"


# --- Folders to GGUF ---


@pytest.fixture(scope="session")
def export():
    """export(folder, file): the tokenizer of a folder as a GGUF file; the message when that is refused."""
    hone = Path(os.environ.get("HONE_BIN", Path(__file__).parents[2] / "build/release/cli/hone"))

    def call(folder, path):
        program = hone.parent.parent / "tests/tokenizer_folder"
        done = subprocess.run([program, folder, path], capture_output=True, timeout=120)
        return done.stderr.decode() if done.returncode else None

    return call


def same_as_folder(tokenize, folder, path, texts):
    """hone reads folder and file alike, and llama.cpp the file as hone does."""
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    ours, exported = tokenize(folder, texts, "plain"), tokenize(path, texts, "plain")
    for text, mine, theirs in zip(texts, ours, exported, strict=True):
        assert mine["ids"] == theirs["ids"], text
        assert model.tokenize(text.encode(), add_bos=False, special=False) == mine["ids"], text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_export_same_ids(tokenize, export, folder, root, tmp_path, kind):
    words = (root / "tests/fixtures/text/harbour.txt").read_text(encoding="utf-8").split("\n")
    prefix = tmp_path / "trained"
    bpe = kind == "bpe"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 3),
        model_prefix=str(prefix),
        vocab_size=600 if bpe else 350,
        hard_vocab_limit=False,
        minloglevel=2,
        model_type=kind,
        byte_fallback=bpe,
        remove_extra_whitespaces=not bpe,
        **({"normalization_rule_name": "identity"} if bpe else {}),
    )
    path = folder(prefix.with_suffix(".model").read_bytes())
    assert export(path, tmp_path / "vocab.gguf") is None
    texts = [t for t in random_texts("export", 800) if "\0" not in t and "\u2581" not in t] + words
    texts = [t for t in texts if t.strip() == t]  # spaces at the ends: sentencepiece and llama.cpp differ
    same_as_folder(tokenize, path, tmp_path / "vocab.gguf", texts)


PATTERNS = {
    "qwen35": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        '[!"' r"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"
        "\r\n"
        r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["
        "\r\n"
        r"]*|\s*["
        "\r\n"
        r"]+|\s+(?!\S)|\s+",
    ],
    "seed-coder": [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "smollm": [r"\p{N}", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
}


@pytest.mark.parametrize("pre", list(PATTERNS))
def test_json_export_finds_the_name(tokenize, export, bpe_parts, tmp_path, pre):
    texts, (tokens, _, merges), _ = bpe_parts
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[pre]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert export(tmp_path, tmp_path / "vocab.gguf") is None
    field_of = gguf.GGUFReader(tmp_path / "vocab.gguf").fields["tokenizer.ggml.pre"]
    assert bytes(field_of.parts[field_of.data[0]]).decode() == pre
    # (?i:'s) takes the long s, too, which no name of llama.cpp does
    same_as_folder(tokenize, tmp_path, tmp_path / "vocab.gguf", [t for t in texts if "\u017f" not in t])


def test_json_export_refuses_what_has_no_name(export, bpe_parts, tmp_path):
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("x+"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert "this way to split text" in export(tmp_path, tmp_path / "vocab.gguf")
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, "a"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert "WordLevel cannot be expressed in GGUF" in export(tmp_path, tmp_path / "vocab.gguf")
