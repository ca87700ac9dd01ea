/*
 * Writing GGUF files (version 3): metadata first, then the tensors' descriptions, then their data in the same order.
 *
 *     hone_gguf_writer *writer;
 *     hone_gguf_writer_new(&writer);
 *     hone_gguf_set_string(writer, "general.architecture", "llama", 5);      any number of keys
 *     hone_gguf_add_tensor(writer, "a.weight", HONE_F32, 2, (int64_t[]){cols, rows});
 *     hone_gguf_begin(writer, path);                                         header is written
 *     hone_gguf_data(writer, bytes, length);                                 each tensor whole, in any pieces
 *     hone_gguf_commit(writer);                                              synced and renamed
 *     hone_gguf_writer_free(writer);                                         removes what was not committed
 *
 * The file appears under its name only when commit succeeds (base/file.h).
 */
#ifndef HONE_FORMATS_GGUF_WRITER_H
#define HONE_FORMATS_GGUF_WRITER_H

#include "formats/gguf.h"

typedef struct hone_gguf_writer hone_gguf_writer;

HONE_MUST_USE hone_status hone_gguf_writer_new(hone_gguf_writer **out);
void hone_gguf_writer_free(hone_gguf_writer *writer); /* takes NULL */

/* Sets a key, in place of an earlier value of the same key. HONE_ERR_USAGE when the key is empty. Everything given is
 * copied. "general.alignment" must be a u32, a power of two from 8 to 65536 (default 32). */
HONE_MUST_USE hone_status hone_gguf_set_u32(hone_gguf_writer *writer, const char *key,
                                            uint32_t value);
HONE_MUST_USE hone_status hone_gguf_set_i32(hone_gguf_writer *writer, const char *key,
                                            int32_t value);
HONE_MUST_USE hone_status hone_gguf_set_u64(hone_gguf_writer *writer, const char *key,
                                            uint64_t value);
HONE_MUST_USE hone_status hone_gguf_set_f32(hone_gguf_writer *writer, const char *key, float value);
HONE_MUST_USE hone_status hone_gguf_set_bool(hone_gguf_writer *writer, const char *key, bool value);
HONE_MUST_USE hone_status hone_gguf_set_string(hone_gguf_writer *writer, const char *key,
                                               const char *text, size_t length);

/* An array of `count` numbers of type `element`, as they lie in memory; not strings. */
HONE_MUST_USE hone_status hone_gguf_set_array(hone_gguf_writer *writer, const char *key,
                                              hone_gguf_kind element, const void *values,
                                              size_t count);
HONE_MUST_USE hone_status hone_gguf_set_strings(hone_gguf_writer *writer, const char *key,
                                                const hone_gguf_string *strings, size_t count);

/* Copies one value, or all of them in their order, from an open file; keys already set are replaced. */
HONE_MUST_USE hone_status hone_gguf_set_value(hone_gguf_writer *writer,
                                              const hone_gguf_value *value);
HONE_MUST_USE hone_status hone_gguf_set_all(hone_gguf_writer *writer, const hone_gguf *from);

/* Forgets a key; one that is absent is fine. */
void hone_gguf_unset(hone_gguf_writer *writer, const char *key);

/* Declares the next tensor. `type` is any of gguf's tensor types with a known size, `sizes` are fastest first.
 * HONE_ERR_USAGE for a repeated or too long name, or sizes that the type cannot hold. */
HONE_MUST_USE hone_status hone_gguf_add_tensor(hone_gguf_writer *writer, const char *name,
                                               uint32_t type, int n_dims, const int64_t *sizes);

/* Bytes of the whole file as declared so far. */
HONE_MUST_USE hone_status hone_gguf_file_bytes(uint64_t *out, const hone_gguf_writer *writer);

/* Creates the temporary file and writes everything before the data. Nothing can be set or declared after that. */
HONE_MUST_USE hone_status hone_gguf_begin(hone_gguf_writer *writer, const char *path);

/* The next bytes of the data, tensor after tensor; padding is put in between. A piece may not reach past the end of
 * the tensor it is for. */
HONE_MUST_USE hone_status hone_gguf_data(hone_gguf_writer *writer, const void *bytes,
                                         size_t length);

/* Fails when a tensor's data is not complete. */
HONE_MUST_USE hone_status hone_gguf_commit(hone_gguf_writer *writer);

#endif
