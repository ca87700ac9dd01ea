#!/usr/bin/env python3
"""Turns the corpus into what the shipped base is trained on: train.jsonl and valid.jsonl for `hone data add`.

    python tools/base/make_corpus.py CORPUS_FOLDER TARGET_FOLDER

Every record fits into 1,024 tokens of configs/base/tokenizer.json and is {"text"} or {"messages"}:
    stories               whole where they fit, else cut at paragraph borders; some as answers to a request for them
    books                 passages of at most 480 tokens, the plainest 45 % of them
    dialogues             user and assistant; chats of two people with the first speaker as user
    problems (GSM8K)      question and answer
    derived               see chats.py
The order follows from the content alone. valid.jsonl holds the held-out documents in the same forms, all books passages
included. Counts by kind are printed.
"""

import collections
import hashlib
import json
import os
import random
import sys

from tokenizers import Tokenizer

import chats
import corpus

LIMIT = 1000  # tokens of a record, which leaves room for the template
PASSAGE = 480  # tokens of a passage of a book
KEEP_BOOKS = 0.45
HERE = os.path.dirname(os.path.abspath(__file__))


class Counter:
    """Token counts by the base's own tokenizer."""

    def __init__(self):
        self.tokenizer = Tokenizer.from_file(os.path.join(HERE, "..", "..", "configs", "base", "tokenizer.json"))

    def __call__(self, text):
        return len(self.tokenizer.encode(text).ids)


def key_of(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def draw_for(document):
    """A generator that depends on the document only."""
    return random.Random(key_of("\n".join(document.lines)))


def passages(lines, limit, count):
    """Runs of paragraphs of at most `limit` tokens. A longer paragraph is cut at sentence ends."""
    out, size = [], 0
    for line in (piece for line in lines for piece in sentences_if_long(line, limit, count)):
        n = count(line) + 1
        if out and size + n > limit:
            yield out
            out, size = [], 0
        out.append(line)
        size += n
    if out:
        yield out


def sentences_if_long(line, limit, count):
    if count(line) < limit:
        return [line]
    pieces, piece = [], ""
    for sentence in line.replace("? ", "?\0").replace("! ", "!\0").replace(". ", ".\0").split("\0"):
        if piece and count(piece + " " + sentence) >= limit - 1:
            pieces.append(piece)
            piece = sentence
        else:
            piece = f"{piece} {sentence}".strip()
    pieces.append(piece)
    return [p for p in pieces if count(p) < limit]


def conversation(document, count):
    """A dialogue as one or more conversations that fit, each starting with the user."""
    out, size = [], 0
    for role, content in corpus.turns(document):
        n = count(content) + 6
        if role == "user" and size > LIMIT * 3 // 4:
            yield out
            out, size = [], 0
        if size + n > LIMIT:
            out = out[:-1] if out and out[-1]["role"] == "user" else out
            break
        out.append(chats.message(role, content))
        size += n
    if len(out) > 1:
        yield out if out[-1]["role"] == "assistant" else out[:-1]


def story_records(document, count):
    """A story as text or, every second time, as a conversation about it."""
    draw = draw_for(document)
    request = chats.story_request(document, draw)
    size = count("\n".join(document.lines))
    if size <= LIMIT:
        if request and size + count(request[0]["content"]) <= LIMIT and draw.random() < 0.5:
            yield "story request", request
        else:
            yield "story", "\n".join(document.lines)
    else:
        for passage in passages(document.lines, PASSAGE, count):
            yield "story", "\n".join(passage)
    if draw.random() < 0.3:
        yield "hero question", chats.hero_question(document, draw)
    if draw.random() < 0.15:
        yield "repetition", repeat_of(document.lines, draw)


def repeat_of(lines, draw):
    line = draw.choice(lines)
    return chats.repetition(line, draw) if 10 <= len(line) <= 160 else None


def book_records(passage, draw):
    """A passage as text, as a story to go on with, or with a question about who spoke."""
    roll = draw.random()
    going_on = chats.continuation(passage, draw) if roll < 0.12 else None
    who_spoke = chats.speech_question(passage[:6], draw) if roll > 0.6 else None
    if going_on:
        yield "continuation", going_on
    elif who_spoke:
        yield "speech question", who_spoke
    else:
        yield "book", "\n".join(passage)


def records(documents, count, plain):
    """(kind, record) of all documents; a record is a text, a list of messages, or None when it could not be made.
    With `plain` only the plainest book passages are kept."""
    shelf = []
    for document in documents:
        if corpus.is_dialogue(document):
            for messages in conversation(document, count):
                yield "dialogue", messages
        elif corpus.is_problem(document):
            question, answer = (line.partition(": ")[2] for line in document.lines[:2])
            yield "problem", chats.exchange(question, answer)
        elif document.part == "books" or len("".join(document.lines)) > 12_000:
            shelf += [(document, passage) for passage in passages(document.lines, PASSAGE, count)]
        else:
            yield from story_records(document, count)
    for document, passage in plainest(shelf, plain) if plain else shelf:
        yield from book_records(passage, draw_for(document._replace(lines=passage)))


def plainest(shelf, vocabulary):
    scores = [corpus.plainness("\n".join(passage), vocabulary) for _, passage in shelf]
    bar = sorted(scores, reverse=True)[int(len(scores) * KEEP_BOOKS)]
    return [item for item, score in zip(shelf, scores) if score > bar]


def write(path, items, count):
    """Writes records in the order of their hashes, each once; gives records and tokens by kind."""
    unique = {}
    for kind, record in items:
        if record:
            unique.setdefault(key_of(record), (kind, record))
    totals = collections.defaultdict(lambda: [0, 0])
    with open(path, "w", encoding="utf-8") as file:
        for key in sorted(unique):
            kind, record = unique[key]
            is_text = isinstance(record, str)
            row = {"text": record} if is_text else {"messages": record}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            size = count(record) if is_text else sum(count(m["content"]) + 6 for m in record)
            assert size <= 1024, (kind, size)
            totals[kind][0] += 1
            totals[kind][1] += size
    return totals


def report(name, totals):
    for kind, (n, tokens) in sorted(totals.items()):
        print(f"{name:6} {kind:16} {n:7} records {tokens:10} tokens")
    print(f"{name:6} {'all':16} {sum(n for n, _ in totals.values()):7} records", end=" ")
    print(f"{sum(t for _, t in totals.values()):10} tokens")


def main():
    source, target = sys.argv[1:3]
    os.makedirs(target, exist_ok=True)
    count = Counter()
    training = [d for part in corpus.TRAINING for d in corpus.read(source, part)]
    plain = corpus.plain_vocabulary(training)
    small_talk = (("small talk", messages) for messages in chats.small_talk())
    items = [*records(training, count, plain), *small_talk]
    report("train", write(os.path.join(target, "train.jsonl"), items, count))
    held_out = records(corpus.read(source, "valid"), count, None)
    report("valid", write(os.path.join(target, "valid.jsonl"), held_out, count))


if __name__ == "__main__":
    main()
