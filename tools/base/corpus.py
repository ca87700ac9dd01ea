"""Reading of the training corpus: documents of the .txt.xz files, and what they say about themselves.

A document starts with a marker line `<|doc|> TAB source TAB title TAB author`; each further line is a paragraph, or a
turn of a dialogue (`A: `, `B: `, `User: `, `Assistant: `), or a GSM8K `Question: ` or `Answer: `. The share-alike file
(dialogues-sa) is left out, so that the model owes nothing to its licence.
"""

import collections
import lzma
import os
import re

MARKER = "<|doc|>\t"
TRAINING = ["short-modern", "tinystories", "dialogues", "books"]
MODERN = ["short-modern", "tinystories", "dialogues"]
SPEAKERS = {"A": "user", "B": "assistant", "User": "user", "Assistant": "assistant"}
PLAIN_WORDS = 4000

Document = collections.namedtuple("Document", "part source title lines")


def read(folder, part):
    """The documents of one file, in its order."""
    document = None
    with lzma.open(os.path.join(folder, part + ".txt.xz"), "rt", encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith(MARKER):
                if document and document.lines:
                    yield document
                _, source, title, _ = (line + "\t\t\t").split("\t")[:4]
                document = Document(part, source, title, [])
            elif line:
                document.lines.append(line)
    if document and document.lines:
        yield document


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def plain_vocabulary(documents):
    """The commonest words of the modern parts: what counts as plain English."""
    counts = collections.Counter()
    for document in documents:
        if document.part in MODERN:
            for line in document.lines:
                counts.update(words(line))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return frozenset(ranked[:PLAIN_WORDS])


def plainness(text, vocabulary):
    """Share of the words of `text` that are plain."""
    found = words(text)
    return sum(word in vocabulary for word in found) / max(1, len(found))


def is_dialogue(document):
    return document.part.startswith("dialogues") or (
        document.part == "valid" and document.lines[0].split(":")[0] in SPEAKERS
    )


def is_problem(document):
    return document.source.startswith("GSM8K")


def turns(document):
    """[(role, content)] of a dialogue: neighbouring turns of one speaker joined, an opening of the assistant dropped."""
    out = []
    for line in document.lines:
        speaker, _, content = line.partition(": ")
        role, content = SPEAKERS.get(speaker), content.strip()
        if role is None or not content:
            continue
        if out and out[-1][0] == role:
            out[-1] = (role, out[-1][1] + " " + content)
        elif out or role == "user":
            out.append((role, content))
    if out and out[-1][0] == "user":
        out.pop()
    return out
