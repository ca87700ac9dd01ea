/*
 * Tokenizers from one file format to the other: a Hugging Face folder to GGUF's metadata, and back.
 *
 * What is written gives the same ids when it is read by the other runtime. Where a format cannot say what the tokenizer
 * does, that is refused by name. Some things are known not to carry over to GGUF, and are left out as llama.cpp's own
 * converter leaves them out: an NFC normaliser, white space swallowed beside added tokens (lstrip, rstrip), a long s
 * behind an apostrophe, and for the names tekken, gpt-4o and tiny_aya case and marks beyond ASCII. SentencePiece models
 * lose what their normalizer does to BPE and to spaces at the ends of a text.
 */
#ifndef HONE_TEXT_TOKENIZER_EXPORT_H
#define HONE_TEXT_TOKENIZER_EXPORT_H

#include <stdint.h>

#include "formats/gguf_writer.h"

/* Sets the tokenizer.ggml keys for the tokenizer of `folder`, of any kind that hone_tokenizer_load_folder reads, with
 * `vocabulary` tokens: ids without a token become "[PADn]". Token ids at or above `vocabulary` are an error. The chat template is not set. */
HONE_MUST_USE hone_status hone_tokenizer_to_gguf(hone_gguf_writer *writer, const char *folder,
                                                 int64_t vocabulary);

/* Writes tokenizer.json and tokenizer_config.json (with the chat template) into `folder` from the metadata of a GGUF
 * file: of BPE with bytes (gpt2) or SentencePiece's (llama); others are refused. */
HONE_MUST_USE hone_status hone_tokenizer_to_folder(const hone_gguf *gguf, const char *folder);

#endif
