"""Token ids against the tokenizers library and llama.cpp: the shared texts, random Unicode, and tokenizers of many
makes. Driven by the test program tokenize_lines, which stands beside the program in the build folder.
"""

import json
import lzma
import os
import random
import subprocess
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import processors, trainers

HF = ["gpt-2/tokenizer.json", "small/llama3-style-2000.json", "small/qwen2-style-2000.json"]
HF += ["small/gemma-cropped-87.json"]
GGUF = ["gpt-2", "qwen2", "starcoder", "mpt", "llama-spm", "phi-3", "llama3/llama-bpe"]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def tokenize():
    """tokenize(file, texts, flags...): a list of {ids, spans, decoded}."""
    hone = Path(os.environ.get("HONE_BIN", Path(__file__).parents[2] / "build/release/cli/hone"))
    program = Path(os.environ.get("HONE_TOKENIZE_LINES", hone.parent.parent / "tests/tokenize_lines"))
    if not program.is_file():
        pytest.fail(f"no program at {program}: build it, or name it in HONE_TOKENIZE_LINES")

    def call(path, texts, *flags, status=0):
        lines = [t if isinstance(t, str) else {"hex": t.hex()} for t in texts]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run(
            [program, path, *flags], input=text.encode(), capture_output=True, timeout=600
        )
        assert done.returncode == status, done.stderr.decode()
        if status:
            return done.stderr.decode()
        return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]

    return call


# --- Texts ---


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)


@pytest.fixture(scope="session")
def shared_texts(test_data):
    """Every string of the shared files: whole texts, their paragraphs and lines, instructions and chats."""
    texts = []
    for name in ["tinyshakespeare.txt", "sherlock-holmes.txt"]:
        text = (test_data / "text" / name).read_text(encoding="utf-8")
        texts += [text, *text.split("\n\n"), *text.splitlines(keepends=True)[:5000]]
    for path in [*sorted(test_data.glob("instruct/**/*.jsonl")), *sorted(test_data.glob("chat/*"))]:
        content = path.read_text(encoding="utf-8")
        rows = content.splitlines() if path.suffix == ".jsonl" else [content]
        for row in rows:
            texts += strings_of(json.loads(row))
    for path in sorted(test_data.glob("corpus/*.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            texts += [file.read(300_000), *file.read(200_000).split("\n")]
    return texts


SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<bos>"]
SPECIALS += ["<start_of_turn>", "<|begin_of_text|>", "<|eot_id|>", "<|user|>", "<|end|>", "<|"]
SNIPPETS = ["'s", "'RE", "'ll", "'\u017f", "\r\n", "\n\n", " ", "   ", "\t", "12345", "\u00bd", "\u0663\u0664"]
SNIPPETS += ["e\u0301", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0958", "\u0344", "\u0f73", "\u2126"]
SNIPPETS += ["\u09c7\u09be", "a\u0323\u0307", "\ufb01", "\u3000", "\u0085", "\u180e", "\u200d", "\ufeff", "\ufffd"]
SNIPPETS += ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\u2581", "x\u2581y"]
SNIPPETS += ["hello", "World", "don't", "$9.99", "...", "\u4f60\u597d", "\u043f\u0440\u0438\u0432\u0435\u0442", "_", "<0x0A>"]
SNIPPETS += ["\x00", "\x7f", "\U000e0001", "\U0010ffff", "\u05d0\u05b0", "\u0e33", "\u0301", "A\u030a"]


def random_code(rng):
    """A code point, most of them from the scripts in use."""
    limit = rng.choice([0x80, 0x300, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
    while 0xD800 <= (code := rng.randrange(limit)) < 0xE000:
        pass
    return chr(code)


def random_texts(seed, count):
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 14)):
            kind = rng.random()
            if kind < 0.35:
                parts.append(rng.choice(SNIPPETS))
            elif kind < 0.45:
                parts.append(rng.choice(SPECIALS))
            elif kind < 0.55:
                parts.append(rng.choice(" \n\t\u00a0a1.") * rng.randrange(1, 40))
            else:
                parts += [random_code(rng) for _ in range(rng.randrange(1, 8))]
        texts.append("".join(parts))
    return texts


LONG = ["a" * 20000, "ab" * 5000 + " x", " " * 5000 + "x", "\n" * 3000, "1" * 4000, "\u00e9" * 3000]
LONG += ["e\u0301" * 2000, "!" * 3000, " \n" * 2000, "\U0001f600" * 1500, "xyz " * 4000, "\u0301" * 200]


def check_same(tokenizer, got, texts, decode=True, **options):
    """Compares ids and, for texts without U+FFFD, the decoded text; prints how many were compared."""
    wrong = []
    for text, mine in zip(texts, got, strict=True):
        ids = tokenizer.encode(text, **options).ids
        if ids != mine["ids"]:
            wrong.append((text[:200], ids[:40], mine["ids"][:40]))
        elif decode and "\ufffd" not in (theirs := tokenizer.decode(ids, skip_special_tokens=False)):
            if theirs != mine["decoded"]:
                wrong.append((text[:200], theirs[:200], mine["decoded"][:200]))
    print(f"{len(texts)} texts, {len(wrong)} differ")
    assert not wrong, f"{len(wrong)} of {len(texts)} differ; first: {wrong[:3]}"


def check_spans(texts, got):
    for text, mine in zip(texts, got, strict=True):
        length = len(text.encode())
        last = 0
        for begin, end in mine["spans"]:
            assert last <= begin <= end <= length, (text, mine["spans"])
            last = begin


# --- Files against the library ---


@pytest.mark.parametrize("name", HF)
def test_shared_texts_same_ids(tokenize, test_data, shared_texts, name):
    path = test_data / "hf-tokenizers" / name
    texts = [t[:200_000] for t in shared_texts] if "gemma" in name else shared_texts
    got = tokenize(path, texts)
    check_same(Tokenizer.from_file(str(path)), got, texts, add_special_tokens=False)
    check_spans(texts, got)


@pytest.mark.parametrize("name", HF)
def test_random_unicode_same_ids(tokenize, test_data, name):
    path = test_data / "hf-tokenizers" / name
    texts = random_texts(name, 4000) + LONG
    got = tokenize(path, texts, "add")
    check_same(Tokenizer.from_file(str(path)), got, texts)
    check_spans(texts, got)


def test_stories_same_ids(tokenize, test_data, shared_texts):
    path = test_data / "stories260K/hf/tokenizer.json"
    texts = [t[:100_000] for t in shared_texts] + random_texts("stories", 4000) + LONG
    tokenizer = Tokenizer.from_file(str(path))
    check_same(tokenizer, tokenize(path, texts, "add"), texts)
    tokenizer.encode_special_tokens = True
    check_same(tokenizer, tokenize(path, texts, "plain"), texts, add_special_tokens=False)


@pytest.mark.parametrize("name", ["gpt-2", "llama3-style-2000", "qwen2-style-2000", "gemma-cropped-87"])
def test_expected_lines_same(tokenize, test_data, name):
    folder = test_data / "hf-tokenizers"
    path = folder / ("gpt-2/tokenizer.json" if name == "gpt-2" else f"small/{name}.json")
    rows = [json.loads(line) for line in (folder / f"expected/{name}.jsonl").open(encoding="utf-8")]
    got = tokenize(path, [row["text"] for row in rows])
    for row, mine in zip(rows, got, strict=True):
        assert (mine["ids"], mine["decoded"]) == (row["ids"], row["decoded"])


def test_gguf_and_json_of_gpt2_agree(tokenize, test_data, shared_texts):
    texts = shared_texts[::5] + random_texts("both", 2000)
    ours = [
        [line["ids"] for line in tokenize(test_data / name, texts)]
        for name in ["vocab/ggml-vocab-gpt-2.gguf", "hf-tokenizers/gpt-2/tokenizer.json"]
    ]
    assert ours[0] == ours[1]


def test_invalid_utf8_reads_as_replaced(tokenize, test_data):
    rng = random.Random(7)
    texts = [bytes(rng.choice(BYTES) for _ in range(rng.randrange(1, 30))) for _ in range(5000)]
    for name in [*HF[:3], "../stories260K/hf/tokenizer.json"]:
        path = test_data / "hf-tokenizers" / name
        got = tokenize(path, texts)
        replaced = [text.decode("utf-8", errors="replace") for text in texts]
        check_same(Tokenizer.from_file(str(path)), got, replaced, add_special_tokens=False)
        for text, mine in zip(texts, got, strict=True):
            assert all(0 <= a <= b <= len(text) for a, b in mine["spans"])


BYTES = [0x20, 0x61, 0x41, 0x0A, 0x80, 0xBF, 0xC0, 0xC2, 0xC3, 0xA9, 0xE0, 0xA0, 0xE2, 0x96, 0x81]
BYTES += [0xED, 0x9F, 0xEE, 0xF0, 0x9F, 0x98, 0x90, 0xF4, 0x8F, 0xF5, 0xFF, 0xCC]


def test_spans_of_plain_text_join_to_it(tokenize, test_data, shared_texts):
    texts = shared_texts[:3000:7]
    for mine, text in zip(tokenize(test_data / "hf-tokenizers" / HF[0], texts), texts, strict=True):
        data = text.encode()
        assert b"".join(data[a:b] for a, b in mine["spans"]) == data


# --- GGUF files against llama.cpp ---


@pytest.mark.parametrize("name", GGUF)
def test_gguf_same_ids_as_llama_cpp(tokenize, test_data, name):
    llama_cpp = pytest.importorskip("llama_cpp") if "CI" not in os.environ else __import__("llama_cpp")
    folder, _, last = name.rpartition("/")
    path = test_data / "vocab" / folder / f"ggml-vocab-{last}.gguf"
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    rng = random.Random(name)
    text = (test_data / "text/tinyshakespeare.txt").read_text(encoding="utf-8")
    texts = [text[i : i + 400] for i in range(0, 200_000, 397)]
    texts += ["".join(rng.choice(SNIPPETS + SPECIALS) for _ in range(rng.randrange(1, 12))) for _ in range(3000)]
    for special, flag in [(True, "add"), (False, "plain")]:
        wrong = []
        for text, mine in zip(texts, tokenize(path, texts, flag), strict=True):
            if "\x00" in text or unlike_llama_cpp(name, text):
                continue
            ids = model.tokenize(text.encode(), add_bos=special, special=special)
            if ids != mine["ids"]:
                wrong.append((text, ids, mine["ids"]))
        print(f"{len(texts)} texts, {len(wrong)} differ")
        assert not wrong, f"{len(wrong)} differ; first: {wrong[:3]}"


def unlike_llama_cpp(name, text):
    return False


# --- Tokenizers of many makes, trained here ---


def byte_level(**options):
    return pre.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **options})


FALCON = [pre.Punctuation("contiguous"), byte_level(use_regex=True), pre.Digits(individual_digits=False)]
FALCON += [pre.Split(Regex("[0-9][0-9][0-9]"), "isolated")]
SPM_MODEL = {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
WORDS = r"\s?\p{L}+"

# name: normalizer, pre-tokenizer, decoder, model options, split characters of the training alphabet
MAKES = {
    "gpt2": (None, byte_level(use_regex=True), decoders.ByteLevel(), {}),
    "gpt2-prefix": (None, pre.ByteLevel(), decoders.ByteLevel(), {}),
    "llama3": (
        None,
        pre.Sequence([pre.Split(Regex(LLAMA3), "isolated"), byte_level()]),
        decoders.ByteLevel(),
        {"ignore_merges": True},
    ),
    "smollm": (
        None,
        pre.Sequence([pre.Digits(individual_digits=True), byte_level(use_regex=True)]),
        decoders.ByteLevel(),
        {},
    ),
    "qwen2": (
        normalizers.NFC(),
        pre.Sequence([pre.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), byte_level()]),
        decoders.ByteLevel(),
        {},
    ),
    "falcon": (None, pre.Sequence(FALCON), decoders.ByteLevel(), {}),
    "nfkd": (normalizers.NFKD(), byte_level(use_regex=True), decoders.ByteLevel(), {}),
    "nfkc": (normalizers.NFKC(), byte_level(use_regex=True), decoders.ByteLevel(), {}),
    "nfd": (normalizers.NFD(), byte_level(use_regex=True), decoders.ByteLevel(), {}),
    "removed": (None, pre.Sequence([pre.Split(" ", "removed"), byte_level()]), decoders.ByteLevel(), {}),
    "contiguous": (None, pre.Sequence([pre.Split(Regex(r"\s"), "contiguous"), byte_level()]), None, {}),
    "next": (None, pre.Sequence([pre.Split(Regex(r"[\s.]"), "merged_with_next"), byte_level()]), None, {}),
    "previous": (None, pre.Sequence([pre.Split(Regex(r"[\s.]"), "merged_with_previous"), byte_level()]), None, {}),
    "inverted": (None, pre.Sequence([pre.Split(Regex(WORDS), "removed", invert=True), byte_level()]), None, {}),
    "llama2": (
        normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]),
        None,
        decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        ),
        SPM_MODEL,
    ),
    "metaspace-first": (None, pre.Metaspace(prepend_scheme="first", split=False), decoders.Metaspace(), SPM_MODEL),
    "metaspace-always": (None, pre.Metaspace(prepend_scheme="always"), decoders.Metaspace(), SPM_MODEL),
    "metaspace-never": (
        normalizers.Replace(Regex(r"\s+"), " "),
        pre.Metaspace(prepend_scheme="never"),
        decoders.Metaspace(prepend_scheme="never"),
        {"unk_token": "<unk>", "fuse_unk": False},
    ),
    "words": (None, pre.Whitespace(), None, {"unk_token": "<unk>", "fuse_unk": True}),
    "words-dropped": (None, pre.Sequence([pre.WhitespaceSplit(), pre.Punctuation()]), None, {}),
}
ADDED = [
    AddedToken("<|im_start|>", special=True, normalized=False),
    AddedToken("<|im_end|>", special=True, normalized=False, lstrip=True),
    AddedToken("<|end|>", special=True, normalized=False, rstrip=True),
    AddedToken("<|", normalized=False),
    AddedToken("hello", normalized=True, single_word=True),
    AddedToken("hello World", normalized=False),
    AddedToken("\u00e9\u00e9", normalized=True),
    AddedToken("   ", normalized=False),
    AddedToken("[mask] ", special=True, normalized=True, lstrip=True, rstrip=True),
    AddedToken("d\u00e9j\u00e0", normalized=False, single_word=True, lstrip=True),
]
MORE = ["<|im_end|>", "  <|im_end|> ", "<|end|>  \u00a0\n", "<|im_start|>", "<|", "hello", "hello World", " hello "]
MORE += ["\u00e9\u00e9", "e\u0301\u00e9", " [mask]  ", "\u2581[mask]", "d\u00e9j\u00e0", "x d\u00e9j\u00e0 vu", "    ", "123", "1234"]


def make(name, corpus):
    normalizer, pre_tokenizer, decoder, options = MAKES[name]
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    specials = ["<unk>", "<s>", "</s>"]
    if options.get("byte_fallback"):
        specials += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=specials, show_progress=False, limit_alphabet=200
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    tokenizer.add_tokens(ADDED)
    return tokenizer


@pytest.mark.parametrize("name", list(MAKES))
def test_makes_same_ids(tokenize, root, tmp_path, name):
    words = (root / "tests/fixtures/text/harbour.txt").read_text(encoding="utf-8")
    texts = random_texts(name, 1500)
    rng = random.Random(name)
    texts += ["".join(rng.choice(SNIPPETS + MORE) for _ in range(rng.randrange(1, 9))) for _ in range(1500)]
    texts += words.split("\n") + [text[:3000] for text in LONG]
    learnt = [text.replace("\0", "") for text in texts[:300]]  # no NUL in keys: Jansson cannot hold it
    tokenizer = make(name, words.split("\n") * 2 + learnt)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    decode = MAKES[name][2] is not None
    check_same(tokenizer, tokenize(path, texts, "add"), texts, decode)
    tokenizer.encode_special_tokens = True
    got = tokenize(path, texts, "plain")
    check_same(tokenizer, got, texts, decode, add_special_tokens=False)
    check_spans(texts, got)


def test_every_character_normalises_alike(tokenize, tmp_path):
    """Each character alone, after a letter, and before a mark, in the four normal forms."""
    codes = [code for code in range(0x80, 0x30000) if not 0xD800 <= code < 0xE000]
    alphabet = sorted(set(pre.ByteLevel.alphabet()))
    texts = [f"{chr(code)}e{chr(code)}\u0301\u0323" for code in codes]
    for form in [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD()]:
        tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
        tokenizer.normalizer = form
        tokenizer.pre_tokenizer = byte_level()
        path = tmp_path / "tokenizer.json"
        tokenizer.save(str(path))
        got = tokenize(path, ["\n".join(texts[i : i + 100]) for i in range(0, len(texts), 100)])
        wrong = [
            i * 100
            for i, mine in enumerate(got)
            if tokenizer.encode("\n".join(texts[i * 100 : i * 100 + 100])).ids != mine["ids"]
        ]
        print(f"{form}: {len(got)} blocks of 100 characters, {len(wrong)} differ")
        assert not wrong, f"{form}: {[hex(codes[i]) for i in wrong[:20]]}"


# --- Folders against transformers ---


@pytest.mark.parametrize("around", [{}, {"add_bos_token": False}, {"add_eos_token": True, "add_bos_token": True}])
def test_folder_same_ids_as_transformers(tokenize, test_data, tmp_path, around):
    from transformers import AutoTokenizer

    source = test_data / "stories260K/hf"
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = {str(512): {"content": "<|turn|>", "special": True, "normalized": False}}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": added, **around}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["Once upon a time", "", "a <|turn|> b</s>", *random_texts("folder", 500)]
    for text, mine in zip(texts, tokenize(tmp_path, texts, "add"), strict=True):
        assert tokenizer(text).input_ids == mine["ids"], text
