/*
 * Writing one safetensors file: the header first, then the tensors' data in the order they were declared.
 *
 *     hone_safetensors_writer *writer;
 *     hone_safetensors_writer_new(&writer);
 *     hone_safetensors_set_metadata(writer, "format", "pt");
 *     hone_safetensors_add_tensor(writer, "a.weight", HONE_F32, 2, (int64_t[]){rows, cols});
 *     hone_safetensors_begin(writer, path);
 *     hone_safetensors_data(writer, bytes, length);      each tensor whole, in any pieces
 *     hone_safetensors_commit(writer);                   synced and renamed
 *     hone_safetensors_writer_free(writer);              removes what was not committed
 *
 * The header is padded so that the data begins at a multiple of 8. Declare wide dtypes before narrow ones to keep all
 * tensors aligned to their elements: the format allows no padding between them.
 */
#ifndef HONE_FORMATS_SAFETENSORS_WRITER_H
#define HONE_FORMATS_SAFETENSORS_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct hone_safetensors_writer hone_safetensors_writer;

HONE_MUST_USE hone_status hone_safetensors_writer_new(hone_safetensors_writer **out);
void hone_safetensors_writer_free(hone_safetensors_writer *writer); /* takes NULL */

/* One entry of __metadata__, in place of an earlier one of the same key. Both texts are UTF-8. */
HONE_MUST_USE hone_status hone_safetensors_set_metadata(hone_safetensors_writer *writer,
                                                        const char *key, const char *value);

/* Declares the next tensor: F32, F16 or BF16 (HONE_ERR_UNSUPPORTED otherwise), `shape` slowest first.
 * HONE_ERR_USAGE for a repeated name or an impossible shape. */
HONE_MUST_USE hone_status hone_safetensors_add_tensor(hone_safetensors_writer *writer,
                                                      const char *name, hone_dtype dtype,
                                                      int n_dims, const int64_t *shape);

/* Creates the temporary file and writes the header. Nothing can be declared after that. */
HONE_MUST_USE hone_status hone_safetensors_begin(hone_safetensors_writer *writer, const char *path);

/* The next bytes of the data, tensor after tensor. A piece may not reach past the end of the tensor it is for. */
HONE_MUST_USE hone_status hone_safetensors_data(hone_safetensors_writer *writer, const void *bytes,
                                                size_t length);

/* Fails when a tensor's data is not complete. */
HONE_MUST_USE hone_status hone_safetensors_commit(hone_safetensors_writer *writer);

#endif
