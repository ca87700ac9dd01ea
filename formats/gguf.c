#include "formats/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"
#include "formats/gguf_split.h"

enum {
    DEFAULT_ALIGNMENT = 32,
    LEAST_KEY = 8 + 1 + 4 + 1,       /* bytes of the shortest key with its value */
    LEAST_TENSOR = 8 + 1 + 4 + 4 + 8 /* bytes of the shortest tensor description */
};
static const uint64_t LONGEST = (uint64_t)1 << 30; /* of strings and arrays, as in llama.cpp */

struct hone_gguf {
    hone_map map;  /* zero when opened over bytes */
    hone_bytes in; /* the whole file; behind the descriptions once it is open */
    char *name;
    uint32_t version;
    uint32_t alignment;
    hone_gguf_value *values; /* in the file's order */
    size_t value_count;
    const hone_gguf_value **values_by_key; /* sorted */
    hone_gguf_tensor *tensors;             /* in the file's order */
    size_t tensor_count;
    const hone_gguf_tensor **tensors_by_name; /* sorted */
    hone_gguf **parts;                        /* the others of a split model; owned */
    size_t part_count;
};

/* A text of the file for a message: short, and without control characters. */
typedef struct shown {
    char text[72];
} shown;

static shown show(hone_gguf_string from) {
    shown out;
    size_t length = from.length < sizeof out.text ? from.length : sizeof out.text - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)from.data[i];
        out.text[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    out.text[length] = '\0';
    return out;
}

/* --- Order --- */

static int compare_strings(hone_gguf_string a, hone_gguf_string b) {
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int by_key(const void *a, const void *b) {
    const hone_gguf_value *const *x = a;
    const hone_gguf_value *const *y = b;
    return compare_strings((*x)->key, (*y)->key);
}

static int by_name(const void *a, const void *b) {
    const hone_gguf_tensor *const *x = a;
    const hone_gguf_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static hone_status index_keys(hone_gguf *gguf) {
    gguf->values_by_key = hone_alloc(gguf->value_count, sizeof(hone_gguf_value *));
    if (!gguf->values_by_key) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < gguf->value_count; i++) gguf->values_by_key[i] = &gguf->values[i];
    qsort(gguf->values_by_key, gguf->value_count, sizeof(hone_gguf_value *), by_key);
    for (size_t i = 1; i < gguf->value_count; i++) {
        if (by_key(&gguf->values_by_key[i - 1], &gguf->values_by_key[i]) != 0) continue;
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: key '%s' stands twice; the file is corrupt, convert the model again",
                         gguf->name, show(gguf->values_by_key[i]->key).text);
    }
    return HONE_OK;
}

static hone_status index_tensors(hone_gguf *gguf) {
    gguf->tensors_by_name = hone_alloc(gguf->tensor_count, sizeof(hone_gguf_tensor *));
    if (!gguf->tensors_by_name) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < gguf->tensor_count; i++) gguf->tensors_by_name[i] = &gguf->tensors[i];
    qsort(gguf->tensors_by_name, gguf->tensor_count, sizeof(hone_gguf_tensor *), by_name);
    for (size_t i = 1; i < gguf->tensor_count; i++) {
        if (by_name(&gguf->tensors_by_name[i - 1], &gguf->tensors_by_name[i]) != 0) continue;
        return hone_fail(
            HONE_ERR_FORMAT,
            "%s: tensor '%s' stands twice; the file is corrupt, convert the model again",
            gguf->name, gguf->tensors_by_name[i]->name);
    }
    return HONE_OK;
}

/* --- Header --- */

static hone_status check_version(const hone_gguf *gguf) {
    const char *name = gguf->name;
    uint32_t version = gguf->version;
    if (version == 2 || version == 3) return HONE_OK;
    if (version != 0 && (version & 0xffffu) == 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: a big-endian GGUF file; hone reads little-endian ones, convert it",
                         name);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: GGUF version %u; hone reads versions 2 and 3, convert the model again",
                     name, version);
}

/* A count of things that take at least `least` bytes each in what remains of the file. */
static hone_status read_count(size_t *out, hone_bytes *in, size_t least, const char *what) {
    int64_t count;
    HONE_TRY(hone_bytes_read(&count, in, sizeof count, what));
    if (count < 0 || (uint64_t)count > (in->length - in->at) / least) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: byte %zu: %s is %lld, more than the file can hold; it is cut short "
                         "or corrupt, get it again",
                         in->file, in->at - sizeof count, what, (long long)count);
    }
    *out = (size_t)count;
    return HONE_OK;
}

static hone_status read_header(hone_gguf *gguf) {
    hone_bytes *in = &gguf->in;
    const void *magic;
    if (in->length < 4 || memcmp(in->data, "GGUF", 4) != 0) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: not a GGUF file (it does not begin with 'GGUF'); give a .gguf model",
                         gguf->name);
    }
    HONE_TRY(hone_bytes_take(&magic, in, 4, "the magic"));
    HONE_TRY(hone_bytes_read(&gguf->version, in, 4, "the version"));
    HONE_TRY(check_version(gguf));
    HONE_TRY(read_count(&gguf->tensor_count, in, LEAST_TENSOR, "the number of tensors"));
    return read_count(&gguf->value_count, in, LEAST_KEY, "the number of keys");
}

/* --- Metadata --- */

static hone_status read_string(hone_gguf_string *out, hone_bytes *in, const char *what) {
    uint64_t length;
    const void *text;
    HONE_TRY(hone_bytes_read(&length, in, sizeof length, what));
    if (length > LONGEST) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: byte %zu: %s has %llu bytes, more than 2^30; the file is corrupt, "
                         "get it again",
                         in->file, in->at - sizeof length, what, (unsigned long long)length);
    }
    HONE_TRY(hone_bytes_take(&text, in, length, what));
    *out = (hone_gguf_string){text, (size_t)length};
    return HONE_OK;
}

static hone_status bad_value(const hone_bytes *in, const hone_gguf_value *value,
                             const char *problem) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: byte %zu: key '%s': %s; the file is corrupt, convert the model again",
                     in->file, in->at, show(value->key).text, problem);
}

/* The element type and count of an array. */
static hone_status read_array_head(hone_gguf_value *value, hone_bytes *in) {
    uint32_t element;
    HONE_TRY(hone_bytes_read(&element, in, 4, "the type of an array"));
    HONE_TRY(hone_bytes_read(&value->count, in, 8, "the length of an array"));
    value->element = (hone_gguf_kind)element;
    if (element == HONE_GGUF_ARRAY) return bad_value(in, value, "an array of arrays");
    if (element > HONE_GGUF_F64) return bad_value(in, value, "an array of an unknown type");
    if (value->count > LONGEST) return bad_value(in, value, "an array of more than 2^30 elements");
    return HONE_OK;
}

/* Steps over the elements, checking each. */
static hone_status read_elements(hone_gguf_value *value, hone_bytes *in) {
    size_t begin = in->at;
    const void *data;
    value->data = in->data + begin;
    if (value->element == HONE_GGUF_STRING) {
        for (uint64_t i = 0; i < value->count; i++) {
            hone_gguf_string text;
            HONE_TRY(read_string(&text, in, "a string of the metadata"));
        }
    } else {
        /* At most 2^30 elements of 8 bytes: no overflow. */
        uint64_t bytes = value->count * hone_gguf_kind_bytes(value->element);
        HONE_TRY(hone_bytes_take(&data, in, bytes, "a value of the metadata"));
    }
    value->bytes = in->at - begin;
    if (value->element != HONE_GGUF_BOOL) return HONE_OK;
    for (size_t i = 0; i < value->bytes; i++) {
        if (value->data[i] > 1) return bad_value(in, value, "a bool that is neither 0 nor 1");
    }
    return HONE_OK;
}

static hone_status read_value(hone_gguf_value *value, hone_bytes *in) {
    uint32_t kind;
    HONE_TRY(read_string(&value->key, in, "a key"));
    if (value->key.length == 0) return bad_value(in, value, "an empty key");
    HONE_TRY(hone_bytes_read(&kind, in, 4, "the type of a value"));
    if (kind > HONE_GGUF_F64) return bad_value(in, value, "a value of an unknown type");
    value->kind = value->element = (hone_gguf_kind)kind;
    value->count = 1;
    if (value->kind == HONE_GGUF_ARRAY) HONE_TRY(read_array_head(value, in));
    return read_elements(value, in);
}

static hone_status read_alignment(hone_gguf *gguf) {
    const hone_gguf_value *value = hone_gguf_find(gguf, "general.alignment");
    gguf->alignment = DEFAULT_ALIGNMENT;
    if (!value) return HONE_OK;
    HONE_TRY(hone_gguf_get_u32(&gguf->alignment, gguf, "general.alignment"));
    uint32_t a = gguf->alignment;
    if (a >= 8 && (a & (a - 1)) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: general.alignment is %u, not a power of two from 8 up; the file is "
                     "corrupt, convert the model again",
                     gguf->name, a);
}

static hone_status read_metadata(hone_gguf *gguf) {
    gguf->values = hone_alloc(gguf->value_count, sizeof *gguf->values);
    if (!gguf->values) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < gguf->value_count; i++) {
        HONE_TRY(read_value(&gguf->values[i], &gguf->in));
    }
    HONE_TRY(index_keys(gguf));
    return read_alignment(gguf);
}

/* --- Tensors --- */

static hone_status bad_tensor(const hone_gguf *gguf, const hone_gguf_tensor *tensor,
                              const char *problem) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: byte %zu: tensor '%s': %s; the file is cut short or corrupt, get it "
                     "again",
                     gguf->name, gguf->in.at,
                     show((hone_gguf_string){tensor->name, strlen(tensor->name)}).text, problem);
}

static hone_status read_tensor_name(hone_gguf_tensor *tensor, hone_gguf *gguf) {
    hone_gguf_string name;
    HONE_TRY(read_string(&name, &gguf->in, "the name of a tensor"));
    if (name.length == 0) return bad_tensor(gguf, tensor, "an empty name");
    size_t kept = name.length < HONE_GGUF_NAME ? name.length : HONE_GGUF_NAME - 1;
    memcpy(tensor->name, name.data, kept);
    if (kept < name.length) return bad_tensor(gguf, tensor, "a name of more than 63 bytes");
    if (memchr(name.data, 0, name.length))
        return bad_tensor(gguf, tensor, "a zero byte in the name");
    return HONE_OK;
}

static hone_status read_sizes(hone_gguf_tensor *tensor, hone_gguf *gguf) {
    uint32_t n_dims;
    HONE_TRY(hone_bytes_read(&n_dims, &gguf->in, 4, "the number of sizes of a tensor"));
    if (n_dims > HONE_GGUF_DIMS) return bad_tensor(gguf, tensor, "more than 4 sizes");
    tensor->n_dims = (int)n_dims;
    tensor->rows = 1;
    int64_t product = 1;
    for (uint32_t d = 0; d < HONE_GGUF_DIMS; d++) {
        int64_t *size = &tensor->sizes[d];
        *size = 1;
        if (d < n_dims) HONE_TRY(hone_bytes_read(size, &gguf->in, 8, "a size of a tensor"));
        if (*size < 0) return bad_tensor(gguf, tensor, "a negative size");
        if (__builtin_mul_overflow(product, *size, &product) ||
            (d > 0 && __builtin_mul_overflow(tensor->rows, *size, &tensor->rows))) {
            return bad_tensor(gguf, tensor, "sizes whose product is beyond 64 bits");
        }
    }
    tensor->cols = tensor->sizes[0];
    return HONE_OK;
}

/* The type when its size is known, else NULL. */
static const hone_dtype_info *sized_type(uint32_t type) {
    const hone_dtype_info *found = hone_gguf_type_describe(type);
    return found && found->block > 0 ? found : NULL;
}

static hone_status read_tensor(hone_gguf_tensor *tensor, hone_gguf *gguf) {
    HONE_TRY(read_tensor_name(tensor, gguf));
    HONE_TRY(read_sizes(tensor, gguf));
    HONE_TRY(hone_bytes_read(&tensor->type, &gguf->in, 4, "the type of a tensor"));
    HONE_TRY(hone_bytes_read(&tensor->offset, &gguf->in, 8, "the offset of a tensor"));
    const hone_dtype_info *type = sized_type(tensor->type);
    if (!type) return HONE_OK; /* its bytes follow from the next tensor's offset */
    if (tensor->cols % type->block != 0) {
        return bad_tensor(gguf, tensor, "a row that is no multiple of its type's block");
    }
    uint64_t row = (uint64_t)(tensor->cols / type->block);
    if (__builtin_mul_overflow(row, (uint64_t)type->bytes, &row) ||
        __builtin_mul_overflow(row, (uint64_t)tensor->rows, &tensor->bytes)) {
        return bad_tensor(gguf, tensor, "more than 2^64 bytes");
    }
    return HONE_OK;
}

/* Where the data of tensor `index` ends: by its type or, when that has no known size, where the next one begins. */
static hone_status find_end(uint64_t *end, const hone_gguf *gguf, size_t index,
                            uint64_t data_bytes) {
    hone_gguf_tensor *tensor = &gguf->tensors[index];
    if (!sized_type(tensor->type)) {
        uint64_t next =
            index + 1 < gguf->tensor_count ? gguf->tensors[index + 1].offset : data_bytes;
        if (next < tensor->offset) return bad_tensor(gguf, tensor, "data that overlaps the next");
        tensor->bytes = next - tensor->offset;
        *end = next;
        return HONE_OK;
    }
    uint64_t mask = gguf->alignment - 1;
    if (__builtin_add_overflow(tensor->offset, tensor->bytes, end) ||
        __builtin_add_overflow(*end, mask, end)) {
        return bad_tensor(gguf, tensor, "data beyond 2^64 bytes");
    }
    *end &= ~mask;
    return HONE_OK;
}

static hone_status place_tensors(hone_gguf *gguf, const unsigned char *data, uint64_t data_bytes) {
    uint64_t expected = 0;
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        hone_gguf_tensor *tensor = &gguf->tensors[i];
        if (tensor->offset % gguf->alignment != 0) {
            return bad_tensor(gguf, tensor, "an offset that is not aligned");
        }
        if (tensor->offset < expected) {
            return bad_tensor(gguf, tensor, "data that overlaps the tensor before it");
        }
        if (tensor->offset > expected) {
            return bad_tensor(gguf, tensor, "a gap between its data and the tensor before it");
        }
        HONE_TRY(find_end(&expected, gguf, i, data_bytes));
        if (expected > data_bytes) {
            return bad_tensor(gguf, tensor, "data that reaches past the end of the file");
        }
        tensor->data = data + tensor->offset;
    }
    return HONE_OK;
}

static hone_status read_tensors(hone_gguf *gguf) {
    gguf->tensors = hone_alloc(gguf->tensor_count, sizeof *gguf->tensors);
    if (!gguf->tensors) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        HONE_TRY(read_tensor(&gguf->tensors[i], gguf));
    }
    HONE_TRY(index_tensors(gguf));
    if (gguf->tensor_count == 0) return HONE_OK;
    uint64_t mask = gguf->alignment - 1;
    uint64_t begin = ((uint64_t)gguf->in.at + mask) & ~mask;
    if (begin > gguf->in.length) begin = gguf->in.length;
    return place_tensors(gguf, gguf->in.data + begin, gguf->in.length - begin);
}

/* --- Opening --- */

static hone_status read_all(hone_gguf *gguf) {
    HONE_TRY(read_header(gguf));
    HONE_TRY(read_metadata(gguf));
    return read_tensors(gguf);
}

/* Takes over the mapping. */
static hone_status open_map(hone_gguf **out, hone_map *map, const void *bytes, size_t length,
                            const char *name) {
    hone_gguf *gguf = hone_alloc(1, sizeof *gguf);
    if (!gguf) {
        hone_map_close(map);
        return HONE_ERR_MEMORY;
    }
    gguf->map = *map;
    gguf->name = hone_strdup(name);
    gguf->in = (hone_bytes){.data = bytes, .length = length, .file = gguf->name};
    hone_status status = gguf->name ? read_all(gguf) : HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        *out = gguf;
    } else {
        hone_gguf_close(gguf);
    }
    return status;
}

hone_status hone_gguf_open_one(hone_gguf **out, const char *path) {
    *out = NULL;
    hone_map map;
    HONE_TRY(hone_map_open(&map, path));
    return open_map(out, &map, map.data, map.length, path);
}

/* The tensors of all parts become those of the first. */
static hone_status join_parts(hone_gguf *gguf) {
    HONE_TRY(hone_gguf_open_parts(&gguf->parts, &gguf->part_count, gguf));
    if (gguf->part_count == 0) return HONE_OK;
    size_t count = gguf->tensor_count, at = count;
    for (size_t i = 0; i < gguf->part_count; i++) count += gguf->parts[i]->tensor_count;
    hone_gguf_tensor *all = hone_alloc(count, sizeof *all);
    if (!all) return HONE_ERR_MEMORY;
    if (at > 0) memcpy(all, gguf->tensors, at * sizeof *all);
    for (size_t i = 0; i < gguf->part_count; i++) {
        const hone_gguf *part = gguf->parts[i];
        if (part->tensor_count == 0) continue;
        memcpy(all + at, part->tensors, part->tensor_count * sizeof *all);
        at += part->tensor_count;
    }
    hone_free(gguf->tensors);
    hone_free(gguf->tensors_by_name);
    gguf->tensors = all;
    gguf->tensors_by_name = NULL;
    gguf->tensor_count = count;
    return index_tensors(gguf);
}

hone_status hone_gguf_open(hone_gguf **out, const char *path) {
    HONE_TRY(hone_gguf_open_one(out, path));
    hone_status status = join_parts(*out);
    if (status == HONE_OK) return HONE_OK;
    hone_gguf_close(*out);
    *out = NULL;
    return status;
}

hone_status hone_gguf_open_bytes(hone_gguf **out, const void *bytes, size_t length,
                                 const char *name) {
    *out = NULL;
    hone_map none = {0};
    return open_map(out, &none, bytes, length, name);
}

void hone_gguf_drop(const hone_gguf *gguf) {
    for (size_t i = 0; i < gguf->part_count; i++) hone_gguf_drop(gguf->parts[i]);
    hone_map_drop(&gguf->map);
}

void hone_gguf_close(hone_gguf *gguf) {
    if (!gguf) return;
    for (size_t i = 0; i < gguf->part_count; i++) hone_gguf_close(gguf->parts[i]);
    hone_free(gguf->parts);
    hone_free(gguf->values);
    hone_free(gguf->values_by_key);
    hone_free(gguf->tensors);
    hone_free(gguf->tensors_by_name);
    hone_free(gguf->name);
    hone_map_close(&gguf->map);
    hone_free(gguf);
}

/* --- Looking --- */

const char *hone_gguf_path(const hone_gguf *gguf) {
    return gguf->name;
}

uint32_t hone_gguf_version(const hone_gguf *gguf) {
    return gguf->version;
}

uint32_t hone_gguf_alignment(const hone_gguf *gguf) {
    return gguf->alignment;
}

size_t hone_gguf_key_count(const hone_gguf *gguf) {
    return gguf->value_count;
}

const hone_gguf_value *hone_gguf_key_at(const hone_gguf *gguf, size_t index) {
    return &gguf->values[index];
}

const hone_gguf_value *hone_gguf_find(const hone_gguf *gguf, const char *key) {
    const hone_gguf_value wanted = {.key = {key, strlen(key)}};
    const hone_gguf_value *pointer = &wanted;
    const hone_gguf_value **found = bsearch(&pointer, gguf->values_by_key, gguf->value_count,
                                            sizeof(hone_gguf_value *), by_key);
    return found ? *found : NULL;
}

size_t hone_gguf_tensor_count(const hone_gguf *gguf) {
    return gguf->tensor_count;
}

const hone_gguf_tensor *hone_gguf_tensor_at(const hone_gguf *gguf, size_t index) {
    return &gguf->tensors[index];
}

static int name_order(const void *key, const void *entry) {
    const hone_gguf_tensor *const *tensor = entry;
    return strcmp(key, (*tensor)->name);
}

const hone_gguf_tensor *hone_gguf_tensor_find(const hone_gguf *gguf, const char *name) {
    const hone_gguf_tensor **found = bsearch(name, gguf->tensors_by_name, gguf->tensor_count,
                                             sizeof(hone_gguf_tensor *), name_order);
    return found ? *found : NULL;
}
