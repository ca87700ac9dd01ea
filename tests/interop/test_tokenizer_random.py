"""Seeded random tokenizer.json files, composed of every component, against the tokenizers library: ids and decoded
text, on random Unicode.
"""

import base64
import random

import pytest
from protobuf import fields
from test_tokenizers import ADDED, MORE, SNIPPETS, random_texts
from test_tokenizers import tokenize as tokenize
from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import processors

SEEDS = 336
PER_TEST = 16
MARKER = "\u2581"
# without most ideographs, Hangul syllables and surrogates
CODES = [c for c in range(1, 0x1F000) if not (0x3500 <= c < 0x9F00 or 0xAC80 <= c < 0xF900 or 0x17100 <= c < 0x18C00)]
REGEXES = [r"\s+", r"\p{L}+", r"\d{1,3}", r"[^\s\p{L}\p{N}]+", r"'(?i:s|t|re)", r"\w+|[^\w\s]+", r"(?=\p{Lu})"]
REGEXES += [r"[\r\n]+", r".", r"a|b|", r"\p{M}+", r"(?<=\s)\S", r"\s+(?!\S)|\s+", r"[a-z]+$", r"^\s*", r"\p{Han}|\p{P}"]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


@pytest.fixture(scope="session")
def charsmap(test_data):
    model = dict(fields((test_data / "hf-tokenizers/small/unigram-t5-32000.spm.model").read_bytes()))
    return dict(fields(model[3]))[2]


def coin(rng):
    return rng.random() < 0.5


def random_normalizer(rng, charsmap):
    kinds = {
        "NFC": normalizers.NFC,
        "NFD": normalizers.NFD,
        "NFKC": normalizers.NFKC,
        "NFKD": normalizers.NFKD,
        "Lowercase": normalizers.Lowercase,
        "Strip": lambda: normalizers.Strip(coin(rng), coin(rng)),
        "StripAccents": normalizers.StripAccents,
        "Prepend": lambda: normalizers.Prepend(rng.choice([MARKER, " ", "ab"])),
        "Replace": lambda: normalizers.Replace(rng.choice([" ", "a", "..", "e\u0301"]), rng.choice(["", MARKER, "xy"])),
        "Regex": lambda: normalizers.Replace(Regex(rng.choice(REGEXES)), rng.choice(["", " ", "\u00e9"])),
        "ByteLevel": normalizers.ByteLevel,
        "Nmt": normalizers.Nmt,
        "Bert": lambda: normalizers.BertNormalizer(coin(rng), coin(rng), rng.choice([None, True, False]), coin(rng)),
        "Precompiled": lambda: normalizers.Precompiled(charsmap),
    }
    return kinds[rng.choice(list(kinds))]()


def random_pre_tokenizer(rng):
    kinds = {
        "ByteLevel": lambda: pre.ByteLevel(add_prefix_space=coin(rng), use_regex=coin(rng)),
        "Split": lambda: pre.Split(rng.choice([" ", "a", "--", "\u00e9"]), rng.choice(BEHAVIORS), coin(rng)),
        "Regex": lambda: pre.Split(Regex(rng.choice(REGEXES)), rng.choice(BEHAVIORS), coin(rng)),
        "Digits": lambda: pre.Digits(coin(rng)),
        "Metaspace": lambda: pre.Metaspace(
            rng.choice([MARKER, "_"]), rng.choice(["always", "never", "first"]), split=coin(rng)
        ),
        "Punctuation": lambda: pre.Punctuation(rng.choice(BEHAVIORS)),
        "Whitespace": pre.Whitespace,
        "WhitespaceSplit": pre.WhitespaceSplit,
        "Bert": pre.BertPreTokenizer,
        "Delimiter": lambda: pre.CharDelimiterSplit(rng.choice([" ", ".", "\u00e9", MARKER])),
        "Scripts": pre.UnicodeScripts,
        "Length": lambda: pre.FixedLength(rng.randrange(1, 9)),
    }
    return kinds[rng.choice(list(kinds))]()


def random_decoder(rng):
    kinds = {
        "ByteLevel": decoders.ByteLevel,
        "ByteFallback": decoders.ByteFallback,
        "Fuse": decoders.Fuse,
        "Metaspace": lambda: decoders.Metaspace(rng.choice([MARKER, "_"]), rng.choice(["always", "never", "first"])),
        "Replace": lambda: decoders.Replace(rng.choice([MARKER, "a", "\u0120"]), rng.choice([" ", "", "b"])),
        "Regex": lambda: decoders.Replace(Regex(rng.choice(REGEXES)), rng.choice([" ", "", "b"])),
        "Strip": lambda: decoders.Strip(rng.choice([" ", "a"]), rng.randrange(3), 0),
        "WordPiece": lambda: decoders.WordPiece(rng.choice(["##", "a"]), coin(rng)),
        "BPE": lambda: decoders.BPEDecoder(rng.choice(["</w>", "a"])),
        "CTC": lambda: decoders.CTC("<pad>", rng.choice(["|", "a"]), coin(rng)),
    }
    return kinds[rng.choice(list(kinds))]()


def some(rng, most, make, sequence):
    parts = [make() for _ in range(rng.choice([0, 1, 1, 2, 3][: most + 2]))]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 and coin(rng) else sequence(parts)


def outcome(call):
    """What the library says, or None where it gives up: panics are no Exception."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def pieces_of(tokenizer, texts):
    found = {"a", "b", " "}
    for text in texts:
        if tokenizer.normalizer:
            text = outcome(lambda text=text: tokenizer.normalizer.normalize_str(text)) or ""
        cut = [(text, None)]
        if tokenizer.pre_tokenizer:
            cut = outcome(lambda text=text: tokenizer.pre_tokenizer.pre_tokenize_str(text)) or []
        found.update(piece for piece, _ in cut)
    return sorted(piece.replace("\0", "") for piece in found if piece.strip("\0"))


def random_substrings(rng, pieces, count):
    found = set()
    for _ in range(count):
        piece = rng.choice(pieces)
        begin = rng.randrange(len(piece))
        found.add(piece[begin : begin + rng.choice([1, 1, 2, 2, 3, 4, 6, 9])])
    return sorted(found)


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def random_bpe(rng, pieces):
    prefix = rng.choice([None, None, None, "##"])
    suffix = rng.choice([None, None, None, "</w>"])
    words = random_substrings(rng, pieces, 300)
    # without characters now and then, so that there are unknown ones
    chars = sorted({c for word in words for c in word if rng.random() < 0.95})
    vocab = ["<unk>", "<s>", "</s>", *chars]
    merges = []
    if prefix or suffix:
        for c in chars:
            vocab += [f"{prefix or ''}{c}", f"{prefix or ''}{c}{suffix or ''}", f"{c}{suffix or ''}"]
    known = set(vocab)
    for word in words:
        last = len(word) - 1
        parts = [
            (prefix or "") * (i > 0) + c + (suffix or "") * (i == last and coin(rng)) for i, c in enumerate(word)
        ]
        if not all(part in known for part in parts):
            continue
        while len(parts) > 1:
            at = rng.randrange(len(parts) - 1)
            joined = parts[at] + parts[at + 1][len(prefix or "") :]
            merges.append((parts[at], parts[at + 1]))
            known.add(joined)
            vocab.append(joined)
            parts[at : at + 2] = [joined]
    rng.shuffle(merges)
    options = {"unk_token": rng.choice([None, "<unk>", "<unk>"]), "fuse_unk": coin(rng), "ignore_merges": coin(rng)}
    options |= {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    if coin(rng):
        vocab += BYTES
        options["byte_fallback"] = True
    vocab = {token: i for i, token in enumerate(dict.fromkeys(vocab))}
    options = {key: value for key, value in options.items() if value is not None}
    return models.BPE(vocab, list(dict.fromkeys(merges)), **options)


def random_unigram(rng, pieces):
    words = random_substrings(rng, pieces, 400)
    scores = rng.choice([[-1.0, -2.0, -3.0], [-0.5, -7.25, 1.5], None])
    vocab = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    vocab += [(word, rng.choice(scores) if scores else rng.uniform(-12, -1)) for word in words]
    fallback = coin(rng)
    if fallback:
        vocab += [(byte, -9.0) for byte in BYTES]
    return models.Unigram(vocab, 0, fallback)


def random_wordpiece(rng, pieces):
    prefix = rng.choice(["##", "", "a"])
    words = random_substrings(rng, pieces, 500)
    vocab = ["[UNK]", "<s>", "</s>", *words, *(prefix + word for word in words)]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(vocab))}
    return models.WordPiece(
        vocab, unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=rng.choice([3, 10, 100])
    )


def random_wordlevel(rng, pieces):
    vocab = ["[UNK]", "<s>", "</s>", *rng.sample(pieces, min(len(pieces), 400))]
    return models.WordLevel({token: i for i, token in enumerate(dict.fromkeys(vocab))}, "[UNK]")


def random_processor(rng):
    ends = [("<s>", 1), ("</s>", 2)]
    kinds = [
        None,
        processors.BertProcessing(ends[1], ends[0]),
        processors.RobertaProcessing(ends[1], ends[0], True, coin(rng)),
        processors.ByteLevel(trim_offsets=coin(rng)),
        processors.TemplateProcessing(single="<s> $A </s> </s>", special_tokens=ends),
        processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(single="</s> $A <s>", special_tokens=ends),
            ]
        ),
    ]
    return rng.choice(kinds)


def random_tokenizer(seed, charsmap, texts):
    rng = random.Random(f"tokenizer {seed}")
    tokenizer = Tokenizer(models.BPE())
    normalizer = some(rng, 3, lambda: random_normalizer(rng, charsmap), normalizers.Sequence)
    pre_tokenizer = some(rng, 3, lambda: random_pre_tokenizer(rng), pre.Sequence)
    decoder = some(rng, 3, lambda: random_decoder(rng), decoders.Sequence)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    pieces = pieces_of(tokenizer, texts)
    make = rng.choice([random_bpe, random_bpe, random_unigram, random_unigram, random_wordpiece, random_wordlevel])
    tokenizer.model = make(rng, pieces)
    if decoder:
        tokenizer.decoder = decoder
    if processor := random_processor(rng):
        tokenizer.post_processor = processor
    tokenizer.add_tokens(rng.sample(ADDED, rng.randrange(len(ADDED))))
    return tokenizer


@pytest.mark.parametrize("block", range(SEEDS // PER_TEST))
def test_random_parts_same_ids_and_text(tokenize, charsmap, tmp_path, root, block):
    words = (root / "tests/fixtures/text/harbour.txt").read_text(encoding="utf-8").split("\n")
    compared = 0
    for seed in range(block * PER_TEST, (block + 1) * PER_TEST):
        rng = random.Random(seed)
        texts = random_texts(f"random parts {seed}", 40) + rng.choices(words, k=20) + ["", " ", "a"]
        texts += ["".join(rng.choice(SNIPPETS + MORE) for _ in range(rng.randrange(1, 9))) for _ in range(40)]
        tokenizer = outcome(lambda s=seed, t=texts: random_tokenizer(s, charsmap, t))
        if not tokenizer:
            continue
        path = tmp_path / f"{seed}.json"
        tokenizer.save(str(path))
        tokenizer = Tokenizer.from_file(str(path))  # it reads some scores with another last bit than it wrote
        got = tokenize(path, texts, "add")
        for text, mine in zip(texts, got, strict=True):
            if (theirs := outcome(lambda text=text: tokenizer.encode(text))) is None:
                continue
            assert theirs.ids == mine["ids"], (seed, text)
            decoded = outcome(lambda ids=theirs.ids: tokenizer.decode(ids, skip_special_tokens=False))
            byte_level = not tokenizer.decoder and '"ByteLevel"' in path.read_text(encoding="utf-8")
            if decoded is not None and not byte_level:
                assert decoded == mine["decoded"], (seed, text)
            compared += 1
    print(f"{compared} texts")


def test_charsmap_is_read_from_json(tokenize, charsmap, tmp_path):
    """Every character that the table changes, alone and before a mark."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0)] + [(byte, -1.0) for byte in BYTES], 0, True))
    tokenizer.normalizer = normalizers.Precompiled(charsmap)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    assert base64.b64encode(charsmap).decode() in path.read_text(encoding="utf-8")
    texts = ["\n".join(f"{chr(c)}a{chr(c)}\u0301" for c in CODES[i : i + 64]) for i in range(0, len(CODES), 64)]
    wrong = [
        text
        for text, mine in zip(texts, tokenize(path, texts), strict=True)
        if tokenizer.encode(text).ids != mine["ids"]
    ]
    assert not wrong, f"{len(wrong)} blocks; first {wrong[0]!r}"


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.Lowercase(),
        normalizers.StripAccents(),
        normalizers.Nmt(),
        normalizers.Strip(),
        normalizers.BertNormalizer(True, False, False, False),
        normalizers.BertNormalizer(False, True, False, False),
        normalizers.BertNormalizer(False, False, True, False),
    ],
)
def test_every_character_maps_alike(tokenize, tmp_path, normalizer):
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(BYTES)}, [], byte_fallback=True))
    tokenizer.normalizer = normalizer
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    texts = [chr(c) + "x" for c in CODES if c < 0x3100] if isinstance(normalizer, normalizers.Strip) else []
    texts += ["\n".join(map(chr, CODES[i : i + 64])) for i in range(0, len(CODES), 64)]
    wrong = [
        text
        for text, mine in zip(texts, tokenize(path, texts), strict=True)
        if tokenizer.encode(text).ids != mine["ids"]
    ]
    assert not wrong, f"{len(wrong)}; first {wrong[0]!r}"


@pytest.mark.parametrize("pre_tokenizer", [pre.UnicodeScripts(), pre.BertPreTokenizer(), pre.Digits(), pre.Whitespace()])
def test_every_character_cuts_alike(tokenize, tmp_path, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    vocab = {"<unk>": 0, "a": 1, "\u4e00": 2}
    tokenizer = Tokenizer(models.WordLevel(vocab, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    texts = ["a \u4e00".join(map(chr, CODES[i : i + 64])) for i in range(0, len(CODES), 64)]
    got = tokenize(path, texts)
    wrong = [t for t, mine in zip(texts, got, strict=True) if tokenizer.encode(t).ids != mine["ids"]]
    assert not wrong, f"{len(wrong)}; first {wrong[0]!r}"


# --- Regular expressions ---

ATOMS = ["a", "b", "k", " ", "\\s", "\\S", "\\d", "\\D", "\\w", "\\W", "\\h", "\\H", ".", "\\p{L}", "\\P{L}", "\\p{^Nd}"]
ATOMS += ["\\p{Lu}", "\\p{Han}", "\\p{Punct}", "\\p{alpha}", "\\p{Lowercase_Letter}", "\\R", "\\N", "\\O", "\\x41", "\\x{e9}"]
ATOMS += ["\\u0301", "\\n", "\\v", "\\.", "\\-", "'", "\u00e9", "\u4f60", "1", "x", "-", "]", "}"]
ASSERTIONS = ["\\b", "\\B", "^", "$", "\\A", "\\z", "\\Z", "(?=a|\\s)", "(?!\\S)", "(?<=\\p{L})", "(?<! )"]
REPEATS = ["?", "*", "+", "??", "*?", "+?", "?+", "*+", "++", "{2}", "{1,3}", "{,2}", "{2,}", "{1,2}?", "{1,3}+", "{2}?", "{", "{a}"]
IN_BRACKETS = ["a", "a-z", "0-9", "\\s", "\\w", "\\W", "\\d", "\\S", "\\p{L}", "\\P{Lu}", "[:alpha:]", "[:^digit:]", "[:punct:]"]
IN_BRACKETS += ["\\n\\r", "\\-", "\u00e9", "[a-f]", "[^\\p{P}]", "\\x{4e00}-\\x{9fff}", "\\]", " ", "\\h", "\\H", "."]


def random_brackets(rng):
    terms = ["".join(rng.choices(IN_BRACKETS, k=rng.randrange(1, 4))) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    return f"[{rng.choice(['', '', '^'])}{'&&'.join(terms)}]"


def random_regex(rng, depth=0):
    branches = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        parts = []
        for _ in range(rng.randrange(1, 4)):
            kind = rng.random()
            if kind < 0.15:
                parts.append(rng.choice(ASSERTIONS))
                continue
            if kind < 0.3 and depth < 2:
                opening = rng.choice(["(", "(?:", "(?i:", "(?m:", "(?>", "(?<n>", "(?-i:", "(?:(?i)", "(?#x)("])
                part = opening + random_regex(rng, depth + 1) + ")"
            elif kind < 0.5:
                part = random_brackets(rng)
            else:
                part = rng.choice(ATOMS)
            parts.append(part + (rng.choice(REPEATS) if rng.random() < 0.4 else ""))
        branches.append("".join(parts))
    return "|".join(branches)


def test_random_regexes_match_alike(tokenize, tmp_path):
    """What is accepted cuts as the library cuts; what is refused is refused by name."""
    rng = random.Random("regexes")
    letters = ["a", "b", "A", "B", "k", "\u212a", "\u017f", " ", "\n", "\r\n", "1", "\u0663", "\u00bd", "\u00e9", "e\u0301", "\u4f60", "."]
    letters += ["'", "-", "]", "}", "{", "x", "_", "\t", "\u0085", "\u2028", "\x0b", "$", "f"]
    texts = ["".join(rng.choices(letters, k=rng.randrange(1, 24))) for _ in range(40)]
    compared, refused = 0, []
    for number in range(700):
        pattern = random_regex(rng)
        split = outcome(lambda p=pattern: pre.Split(Regex(p), "isolated"))
        if split is None:
            continue
        pieces = outcome(lambda s=split: sorted({p for t in texts for p, _ in s.pre_tokenize_str(t)}))
        if pieces is None:  # the engine gives up after too many tries
            continue
        tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, **{p: i for i, p in enumerate(pieces, 1)}}, "<unk>"))
        tokenizer.pre_tokenizer = split
        path = tmp_path / f"{number}.json"
        tokenizer.save(str(path))
        try:
            got = tokenize(path, texts)
        except AssertionError as error:
            assert "regular expression" in str(error), (pattern, error)
            refused.append(pattern)
            continue
        for text, mine in zip(texts, got, strict=True):
            assert tokenizer.encode(text).ids == mine["ids"], (pattern, text, split.pre_tokenize_str(text))
        compared += 1
    print(f"{compared} compared, {len(refused)} refused")
    assert compared > 600 and len(refused) < 60
