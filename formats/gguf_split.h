/*
 * Models in several GGUF files, as gguf-split cuts them: NAME-00001-of-00003.gguf and on. Each part is a whole GGUF file
 * with some of the tensors; the first holds the metadata. Keys of every part:
 *
 *     split.no               which part it is, from 0
 *     split.count            how many there are; 0 or 1, or no such key: not split
 *     split.tensors.count    tensors of all parts together
 *
 * Source: llama.cpp, tools/gguf-split.
 */
#ifndef HONE_FORMATS_GGUF_SPLIT_H
#define HONE_FORMATS_GGUF_SPLIT_H

#include "formats/gguf.h"

/* Opens one file by itself, a part or not. */
HONE_MUST_USE hone_status hone_gguf_open_one(hone_gguf **out, const char *path);

/* The parts after the first: `parts` becomes an array of `count` open files, both owned by the caller (also when it
 * fails: then it holds those opened so far, and NULL after them); NULL and 0 when `first` is not split. A missing or foreign part, one
 * that is opened in the place of the first, and tensors missing or too many are errors that name the file. */
HONE_MUST_USE hone_status hone_gguf_open_parts(hone_gguf ***parts, size_t *count,
                                               const hone_gguf *first);

#endif
