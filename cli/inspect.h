/*
 * The kinds of file that `inspect` reads: each gives one JSON object, from which the page for people is printed too.
 *
 *     {"path", "kind", "sha256", "bytes", "metadata": {...}, "tensors": [{"name", "dtype", "shape"}, ...]}
 *
 * A shape is slowest first, as NumPy and PyTorch show it, for GGUF too.
 */
#ifndef HONE_CLI_INSPECT_H
#define HONE_CLI_INSPECT_H

#include <jansson.h>

#include "base/status.h"

HONE_MUST_USE hone_status hone_inspect_gguf(json_t **out, const char *path);

/* A .safetensors, an index, a model's folder or a PEFT folder; config files beside them are part of the metadata. */
HONE_MUST_USE hone_status hone_inspect_safetensors(json_t **out, const char *path);

/* A data file or a checkpoint. */
HONE_MUST_USE hone_status hone_inspect_hdf5(json_t **out, const char *path);

/* Adds one tensor to object["tensors"]; `dtype` as the file says it, in lower case. */
HONE_MUST_USE hone_status hone_inspect_add_tensor(json_t *object, const char *name,
                                                  const char *dtype, int dims,
                                                  const int64_t *shape);

/* {"path", "kind", "bytes", "sha256", "metadata": {}, "tensors": []} of a file. */
HONE_MUST_USE hone_status hone_inspect_begin(json_t **out, const char *path, const char *kind,
                                             const char *file);

#endif
