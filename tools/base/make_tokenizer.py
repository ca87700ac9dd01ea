#!/usr/bin/env python3
"""Trains the tokenizer of the shipped base: byte-level BPE, 4,096 entries, from the training corpus.

    python tools/base/make_tokenizer.py CORPUS_FOLDER [TARGET_FOLDER]      (default target: configs/base)

Digits stand alone and the rest is split as GPT-2 does, which is what runtimes know as the pre-tokenizer "smollm": with
so small a vocabulary a price is better copied digit by digit. Ids 0 to 2 are the special tokens. A document of text ends
with <|im_end|>, as a turn of a chat does, so that there is one end of generation.
"""

import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus

VOCABULARY = 4096
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BOOKS_EVERY = 4  # one book chapter of four, so that old books don't decide the vocabulary
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' "
    "+ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def texts(folder):
    """Lines as the model will see them: without speaker labels."""
    for part in corpus.TRAINING:
        for number, document in enumerate(corpus.read(folder, part)):
            if part == "books" and number % BOOKS_EVERY:
                continue
            if corpus.is_dialogue(document):
                lines = [content for _, content in corpus.turns(document)]
            elif corpus.is_problem(document):
                lines = [line.partition(": ")[2] for line in document.lines]
            else:
                lines = document.lines
            yield from (line + "\n" for line in lines)


def train(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIALS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(folder), trainer)
    return tokenizer


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    source = sys.argv[1]
    target = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", "..", "configs", "base")
    tokenizer = train(source)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(os.path.join(target, "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_eos_token": False,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "chat_template": CHATML,
    }
    with open(os.path.join(target, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
