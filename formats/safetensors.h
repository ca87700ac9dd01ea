/*
 * safetensors files, read by mapping; one file or the shards of an index.
 *
 *     +----------+------------------------------------------------------------------+----------------+
 *     | u64 n    | n bytes of JSON: {"name": {"dtype": "F32", "shape": [rows, cols], | the tensors,   |
 *     |          |  "data_offsets": [begin, end]}, ..., "__metadata__": {...}}      | without gaps   |
 *     +----------+------------------------------------------------------------------+----------------+
 *     offsets count from the end of the JSON; numbers are little-endian; a matrix is row-major
 *
 * Opening checks the header's length, its JSON, every dtype, shape and range, that the ranges cover the data without
 * gaps or overlaps, and that no name stands twice, in one file or in two shards. What is wrong is refused by name.
 *
 * Source: README.md of huggingface/safetensors, section "Format".
 */
#ifndef HONE_FORMATS_SAFETENSORS_H
#define HONE_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

enum { HONE_SAFETENSORS_DIMS = 8 };

typedef struct hone_safetensors hone_safetensors;

typedef struct hone_safetensors_tensor {
    const char *name;  /* terminated */
    const char *dtype; /* as in the file: "F32", "I64" */
    const char *file;  /* the file it lies in */
    int n_dims;
    int64_t shape[HONE_SAFETENSORS_DIMS]; /* slowest first; 1 beyond n_dims */
    const unsigned char
        *data; /* in the mapping. The format promises no alignment: copy when it matters */
    uint64_t bytes;
} hone_safetensors_tensor;

/* Opens a .safetensors file; an index (.json) with its shards; or a folder, where model.safetensors or else
 * model.safetensors.index.json is looked for. Tensors and texts are valid until it is closed. */
HONE_MUST_USE hone_status hone_safetensors_open(hone_safetensors **out, const char *path);

/* Over the bytes of one file in memory, which must outlive *out; `name` stands for the file in messages. */
HONE_MUST_USE hone_status hone_safetensors_open_bytes(hone_safetensors **out, const void *bytes,
                                                      size_t length, const char *name);

void hone_safetensors_close(hone_safetensors *tensors); /* takes NULL */

/* Gives back the memory of what was read of the files; they are read again when needed. */
void hone_safetensors_drop(const hone_safetensors *tensors);

/* The path that was opened: of a folder, the file in it. */
const char *hone_safetensors_path(const hone_safetensors *tensors);

/* Files read: 1, or the number of shards; and their paths. */
size_t hone_safetensors_file_count(const hone_safetensors *tensors);
const char *hone_safetensors_file_at(const hone_safetensors *tensors, size_t index);

/* Tensors in the order of their data, file after file. */
size_t hone_safetensors_count(const hone_safetensors *tensors);
const hone_safetensors_tensor *hone_safetensors_at(const hone_safetensors *tensors, size_t index);

/* NULL when there is no such tensor. */
const hone_safetensors_tensor *hone_safetensors_find(const hone_safetensors *tensors,
                                                     const char *name);

/* The dtype hone computes with (F32, F16, BF16); HONE_ERR_UNSUPPORTED names file, tensor, dtype and the supported ones
 * otherwise. */
HONE_MUST_USE hone_status hone_safetensors_dtype(hone_dtype *out,
                                                 const hone_safetensors_tensor *tensor);

/* The text under `key` of __metadata__ of the first file; NULL when absent. */
const char *hone_safetensors_metadata(const hone_safetensors *tensors, const char *key);

/* All of __metadata__ of the first file, one entry a call, from *cursor = 0; false at the end. */
bool hone_safetensors_metadata_next(const char **key, const char **value,
                                    const hone_safetensors *tensors, size_t *cursor);

#endif
