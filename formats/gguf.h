/*
 * GGUF files, read by mapping. Version 3, and 2, which has the same layout; little-endian.
 *
 *     +--------+---------+-----------+--------+-------------------+------------------------+-----+------+
 *     | "GGUF" | version | tensors n | keys m | m keys and values | n tensor descriptions  | pad | data |
 *     | 4      | u32     | i64       | i64    |                   |                        |     |      |
 *     +--------+---------+-----------+--------+-------------------+------------------------+-----+------+
 *     key and value: string, u32 type, value       string: u64 length, bytes
 *     array value:   u32 type, u64 count, elements
 *     tensor:        string name, u32 n_dims, n_dims x i64 sizes (fastest first), u32 type, u64 offset in the data
 *
 * Opening checks all of it: lengths, counts and offsets against the bytes that remain, repeated keys and names, sizes
 * against block sizes, tensors one after another at the alignment. What is wrong is refused by name and place, and
 * nothing is allocated from an unchecked number. A file that opens can be read without further checks.
 *
 * Source: ggml/include/gguf.h and docs/gguf.md of ggml-org.
 */
#ifndef HONE_FORMATS_GGUF_H
#define HONE_FORMATS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct hone_gguf hone_gguf;

/* Types of metadata values; the numbers are the file's. */
typedef enum hone_gguf_kind {
    HONE_GGUF_U8 = 0,
    HONE_GGUF_I8 = 1,
    HONE_GGUF_U16 = 2,
    HONE_GGUF_I16 = 3,
    HONE_GGUF_U32 = 4,
    HONE_GGUF_I32 = 5,
    HONE_GGUF_F32 = 6,
    HONE_GGUF_BOOL = 7,
    HONE_GGUF_STRING = 8,
    HONE_GGUF_ARRAY = 9,
    HONE_GGUF_U64 = 10,
    HONE_GGUF_I64 = 11,
    HONE_GGUF_F64 = 12,
} hone_gguf_kind;

/* Bytes inside the file: not terminated, any bytes. Valid until the file is closed. */
typedef struct hone_gguf_string {
    const char *data;
    size_t length;
} hone_gguf_string;

/* Opens a file; *out is closed with hone_gguf_close. Of a model in several files (formats/gguf_split.h) it is given the
 * first, and holds the tensors of all. */
HONE_MUST_USE hone_status hone_gguf_open(hone_gguf **out, const char *path);

/* As above, over bytes in memory, all of them one file, which must outlive *out; `name` stands for the file in messages. */
HONE_MUST_USE hone_status hone_gguf_open_bytes(hone_gguf **out, const void *bytes, size_t length,
                                               const char *name);

void hone_gguf_close(hone_gguf *gguf); /* takes NULL */

/* Gives back the memory of what was read of the file; it is read again when needed. */
void hone_gguf_drop(const hone_gguf *gguf);

const char *hone_gguf_path(const hone_gguf *gguf);
uint32_t hone_gguf_version(const hone_gguf *gguf);
uint32_t hone_gguf_alignment(const hone_gguf *gguf);

/* --- Metadata --- */

/* One value as it lies in the file. Of an array, `element` is the type and `count` the number of its elements. */
typedef struct hone_gguf_value {
    hone_gguf_string key;
    hone_gguf_kind kind;
    hone_gguf_kind element;    /* = kind unless kind is HONE_GGUF_ARRAY */
    uint64_t count;            /* 1 unless kind is HONE_GGUF_ARRAY */
    const unsigned char *data; /* the elements; not aligned */
    size_t bytes;              /* of `data` */
} hone_gguf_value;

size_t hone_gguf_key_count(const hone_gguf *gguf);

/* In the file's order. */
const hone_gguf_value *hone_gguf_key_at(const hone_gguf *gguf, size_t index);

/* NULL when there is no such key. */
const hone_gguf_value *hone_gguf_find(const hone_gguf *gguf, const char *key);

/* "u32", "string", "array". */
const char *hone_gguf_kind_name(hone_gguf_kind kind);

/* Bytes of one value; 0 for strings, arrays and what is no kind. */
size_t hone_gguf_kind_bytes(hone_gguf_kind kind);

/* Required values. HONE_ERR_FORMAT names the file and the key when it is absent, of another type or out of range.
 * Integers may have any width and sign. */
HONE_MUST_USE hone_status hone_gguf_get_int(int64_t *out, const hone_gguf *gguf, const char *key,
                                            int64_t min, int64_t max);
HONE_MUST_USE hone_status hone_gguf_get_u32(uint32_t *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_get_f32(float *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_get_bool(bool *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_get_string(hone_gguf_string *out, const hone_gguf *gguf,
                                               const char *key);

/* Optional values: an absent key leaves *out as the caller set it (its default); all else as above. */
HONE_MUST_USE hone_status hone_gguf_opt_int(int64_t *out, const hone_gguf *gguf, const char *key,
                                            int64_t min, int64_t max);
HONE_MUST_USE hone_status hone_gguf_opt_u32(uint32_t *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_opt_f32(float *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_opt_bool(bool *out, const hone_gguf *gguf, const char *key);
HONE_MUST_USE hone_status hone_gguf_opt_string(hone_gguf_string *out, const hone_gguf *gguf,
                                               const char *key);

/* Whether `text` is exactly `other` (terminated). */
bool hone_gguf_string_is(hone_gguf_string text, const char *other);

/* The array under `key`, which must hold elements of type `element`. */
HONE_MUST_USE hone_status hone_gguf_get_array(const hone_gguf_value **out, const hone_gguf *gguf,
                                              const char *key, hone_gguf_kind element);

/* Element `index` < array->count of an array of f32; of u32 or i32 or any other integer. The programmer answers for
 * the type: it was asked for in hone_gguf_get_array. */
float hone_gguf_array_f32(const hone_gguf_value *array, uint64_t index);
uint32_t hone_gguf_array_u32(const hone_gguf_value *array, uint64_t index);
int32_t hone_gguf_array_i32(const hone_gguf_value *array, uint64_t index);

/* An integer per layer, say: *out when the key holds one integer (for every index) or an array of integers of any
 * width with more than `index` elements. */
HONE_MUST_USE hone_status hone_gguf_get_int_of(int64_t *out, const hone_gguf *gguf, const char *key,
                                               uint64_t index, int64_t min, int64_t max);

/* Walks an array of strings without copying:
 *     for (hone_gguf_strings it = hone_gguf_strings_of(array); hone_gguf_next(&text, &it);) ... */
typedef struct hone_gguf_strings {
    const unsigned char *at;
    uint64_t left;
} hone_gguf_strings;

hone_gguf_strings hone_gguf_strings_of(const hone_gguf_value *array);
bool hone_gguf_next(hone_gguf_string *out, hone_gguf_strings *strings);

/* --- Tensors --- */

enum { HONE_GGUF_DIMS = 4, HONE_GGUF_NAME = 64 };

typedef struct hone_gguf_tensor {
    char name[HONE_GGUF_NAME];     /* terminated */
    uint32_t type;                 /* the file's type word; a hone_dtype where hone knows it */
    int n_dims;                    /* as written; 0 to 4 */
    int64_t sizes[HONE_GGUF_DIMS]; /* fastest first, 1 where missing */
    int64_t rows, cols;            /* as a row-major matrix: cols = sizes[0], rows = all others */
    uint64_t offset;               /* in the data section */
    const unsigned char *data;     /* inside the mapping, at the file's alignment */
    uint64_t bytes;                /* of a type without known size: up to the next tensor */
} hone_gguf_tensor;

size_t hone_gguf_tensor_count(const hone_gguf *gguf);

/* In the file's order. */
const hone_gguf_tensor *hone_gguf_tensor_at(const hone_gguf *gguf, size_t index);

/* NULL when there is no such tensor. */
const hone_gguf_tensor *hone_gguf_tensor_find(const hone_gguf *gguf, const char *name);

/* The dtype hone computes with; HONE_ERR_UNSUPPORTED names tensor, type and the supported ones otherwise. */
HONE_MUST_USE hone_status hone_gguf_tensor_dtype(hone_dtype *out, const hone_gguf *gguf,
                                                 const hone_gguf_tensor *tensor);

/* A tensor type of the format, computable here or not; NULL for one that is not in the table. `type` is the file's number,
 * and `block` is 0 when programs differ about its size. */
const hone_dtype_info *hone_gguf_type_describe(uint32_t type);

#endif
