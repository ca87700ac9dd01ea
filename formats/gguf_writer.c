#include "formats/gguf_writer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

enum { DEFAULT_ALIGNMENT = 32 };

typedef struct entry {
    char *key;
    size_t key_length;
    hone_gguf_kind kind, element;
    uint64_t count;
    hone_buf payload; /* the elements as they stand in the file */
} entry;

typedef struct declared {
    char name[HONE_GGUF_NAME];
    uint32_t type;
    int n_dims;
    int64_t sizes[HONE_GGUF_DIMS];
    uint64_t bytes;
    uint64_t padded;
} declared;

struct hone_gguf_writer {
    entry *entries;
    size_t entry_count, entry_capacity;
    declared *tensors;
    size_t tensor_count, tensor_capacity;
    uint32_t alignment;
    bool begun;
    hone_file file;
    size_t current;   /* the tensor whose data comes next */
    uint64_t written; /* bytes of it */
};

hone_status hone_gguf_writer_new(hone_gguf_writer **out) {
    *out = hone_alloc(1, sizeof **out);
    if (!*out) return HONE_ERR_MEMORY;
    (*out)->alignment = DEFAULT_ALIGNMENT;
    return HONE_OK;
}

static void clear_entry(entry *one) {
    hone_free(one->key);
    hone_buf_free(&one->payload);
    *one = (entry){0};
}

void hone_gguf_writer_free(hone_gguf_writer *writer) {
    if (!writer) return;
    for (size_t i = 0; i < writer->entry_count; i++) clear_entry(&writer->entries[i]);
    hone_free(writer->entries);
    hone_free(writer->tensors);
    hone_file_abandon(&writer->file);
    hone_free(writer);
}

/* --- Metadata --- */

static entry *find_entry(const hone_gguf_writer *writer, const char *key, size_t length) {
    for (size_t i = 0; i < writer->entry_count; i++) {
        entry *one = &writer->entries[i];
        if (one->key_length == length && memcmp(one->key, key, length) == 0) return one;
    }
    return NULL;
}

static hone_status set_alignment(hone_gguf_writer *writer, hone_gguf_kind kind, const void *data) {
    uint32_t alignment = 0;
    if (kind == HONE_GGUF_U32) memcpy(&alignment, data, sizeof alignment);
    if (writer->tensor_count > 0 || alignment < 8 || alignment > 65536 ||
        (alignment & (alignment - 1)) != 0) {
        return hone_fail(HONE_ERR_USAGE,
                         "general.alignment must be a u32, a power of two from 8 to 65536, set "
                         "before the tensors");
    }
    writer->alignment = alignment;
    return HONE_OK;
}

/* Puts `made` in place of the entry of its key, or at the end. Takes over what it owns, also on failure. */
static hone_status keep(hone_gguf_writer *writer, entry made) {
    entry *old = find_entry(writer, made.key, made.key_length);
    if (!old) {
        hone_status status = hone_grow(&writer->entries, &writer->entry_capacity,
                                       writer->entry_count + 1, sizeof *writer->entries);
        if (status != HONE_OK) {
            clear_entry(&made);
            return status;
        }
        old = &writer->entries[writer->entry_count++];
        *old = (entry){0};
    }
    clear_entry(old);
    *old = made;
    return HONE_OK;
}

/* Sets a key to `count` elements whose file form is `bytes` bytes at `data`. */
static hone_status put(hone_gguf_writer *writer, hone_gguf_string key, hone_gguf_kind kind,
                       hone_gguf_kind element, uint64_t count, const void *data, size_t bytes) {
    if (key.length == 0) return hone_fail(HONE_ERR_USAGE, "a GGUF key cannot be empty");
    if (writer->begun) return hone_fail(HONE_ERR_USAGE, "GGUF keys are set before the data");
    if (hone_gguf_string_is(key, "general.alignment")) {
        HONE_TRY(set_alignment(writer, kind, data));
    }
    entry made = {.key_length = key.length, .kind = kind, .element = element, .count = count};
    made.key = hone_strndup(key.data, key.length);
    hone_status status = made.key ? hone_buf_append(&made.payload, data, bytes) : HONE_ERR_MEMORY;
    if (status == HONE_OK) return keep(writer, made);
    clear_entry(&made);
    return status;
}

static hone_gguf_string text_of(const char *text) {
    return (hone_gguf_string){text, strlen(text)};
}

static hone_status put_scalar(hone_gguf_writer *writer, const char *key, hone_gguf_kind kind,
                              const void *value) {
    return put(writer, text_of(key), kind, kind, 1, value, hone_gguf_kind_bytes(kind));
}

hone_status hone_gguf_set_u32(hone_gguf_writer *writer, const char *key, uint32_t value) {
    return put_scalar(writer, key, HONE_GGUF_U32, &value);
}

hone_status hone_gguf_set_i32(hone_gguf_writer *writer, const char *key, int32_t value) {
    return put_scalar(writer, key, HONE_GGUF_I32, &value);
}

hone_status hone_gguf_set_u64(hone_gguf_writer *writer, const char *key, uint64_t value) {
    return put_scalar(writer, key, HONE_GGUF_U64, &value);
}

hone_status hone_gguf_set_f32(hone_gguf_writer *writer, const char *key, float value) {
    return put_scalar(writer, key, HONE_GGUF_F32, &value);
}

hone_status hone_gguf_set_bool(hone_gguf_writer *writer, const char *key, bool value) {
    unsigned char byte = value;
    return put_scalar(writer, key, HONE_GGUF_BOOL, &byte);
}

static hone_status append_string(hone_buf *out, hone_gguf_string text) {
    uint64_t length = text.length;
    HONE_TRY(hone_buf_append(out, &length, sizeof length));
    return hone_buf_append(out, text.data, text.length);
}

/* Strings under a key: one, or an array of `count`. */
static hone_status put_strings(hone_gguf_writer *writer, const char *key, hone_gguf_kind kind,
                               const hone_gguf_string *strings, size_t count) {
    hone_buf payload = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        status = append_string(&payload, strings[i]);
    }
    if (status == HONE_OK) {
        status =
            put(writer, text_of(key), kind, HONE_GGUF_STRING, count, payload.data, payload.length);
    }
    hone_buf_free(&payload);
    return status;
}

hone_status hone_gguf_set_string(hone_gguf_writer *writer, const char *key, const char *text,
                                 size_t length) {
    hone_gguf_string one = {text, length};
    return put_strings(writer, key, HONE_GGUF_STRING, &one, 1);
}

hone_status hone_gguf_set_strings(hone_gguf_writer *writer, const char *key,
                                  const hone_gguf_string *strings, size_t count) {
    return put_strings(writer, key, HONE_GGUF_ARRAY, strings, count);
}

hone_status hone_gguf_set_array(hone_gguf_writer *writer, const char *key, hone_gguf_kind element,
                                const void *values, size_t count) {
    size_t size = hone_gguf_kind_bytes(element);
    if (size == 0 || count > SIZE_MAX / size) {
        return hone_fail(HONE_ERR_USAGE, "GGUF key '%s': not an array of numbers", key);
    }
    return put(writer, text_of(key), HONE_GGUF_ARRAY, element, count, values, count * size);
}

hone_status hone_gguf_set_value(hone_gguf_writer *writer, const hone_gguf_value *value) {
    return put(writer, value->key, value->kind, value->element, value->count, value->data,
               value->bytes);
}

hone_status hone_gguf_set_all(hone_gguf_writer *writer, const hone_gguf *from) {
    for (size_t i = 0; i < hone_gguf_key_count(from); i++) {
        HONE_TRY(hone_gguf_set_value(writer, hone_gguf_key_at(from, i)));
    }
    return HONE_OK;
}

void hone_gguf_unset(hone_gguf_writer *writer, const char *key) {
    entry *one = find_entry(writer, key, strlen(key));
    if (!one) return;
    if (strcmp(key, "general.alignment") == 0 && writer->tensor_count == 0) {
        writer->alignment = DEFAULT_ALIGNMENT;
    }
    clear_entry(one);
    size_t behind = (size_t)(&writer->entries[writer->entry_count] - (one + 1));
    memmove(one, one + 1, behind * sizeof *one);
    writer->entry_count--;
}

/* --- Tensors --- */

static hone_status refuse(const char *name, const char *problem) {
    return hone_fail(HONE_ERR_USAGE, "GGUF tensor '%s': %s", name, problem);
}

static hone_status measure(declared *tensor, uint32_t alignment) {
    const hone_dtype_info *type = hone_gguf_type_describe(tensor->type);
    if (!type || type->block == 0) return refuse(tensor->name, "a type without known size");
    if (tensor->sizes[0] % type->block != 0) {
        return refuse(tensor->name, "a row that is no multiple of its type's block");
    }
    uint64_t bytes = (uint64_t)type->bytes;
    for (int d = 0; d < HONE_GGUF_DIMS; d++) {
        int64_t size = tensor->sizes[d];
        if (size < 0) return refuse(tensor->name, "a negative size");
        uint64_t factor = (uint64_t)(d == 0 ? size / type->block : size);
        if (__builtin_mul_overflow(bytes, factor, &bytes) || bytes > INT64_MAX) {
            return refuse(tensor->name, "sizes whose product is beyond 64 bits");
        }
    }
    uint64_t mask = alignment - 1;
    tensor->bytes = bytes;
    tensor->padded = (bytes + mask) & ~mask;
    return HONE_OK;
}

hone_status hone_gguf_add_tensor(hone_gguf_writer *writer, const char *name, uint32_t type,
                                 int n_dims, const int64_t *sizes) {
    if (writer->begun) return refuse(name, "declared after the data began");
    size_t length = strlen(name);
    if (length == 0 || length >= HONE_GGUF_NAME) return refuse(name, "a name is 1 to 63 bytes");
    if (n_dims < 0 || n_dims > HONE_GGUF_DIMS) return refuse(name, "not 0 to 4 sizes");
    for (size_t i = 0; i < writer->tensor_count; i++) {
        if (strcmp(writer->tensors[i].name, name) == 0) return refuse(name, "declared twice");
    }
    declared tensor = {.type = type, .n_dims = n_dims, .sizes = {1, 1, 1, 1}};
    memcpy(tensor.name, name, length);
    for (int d = 0; d < n_dims; d++) tensor.sizes[d] = sizes[d];
    HONE_TRY(measure(&tensor, writer->alignment));
    HONE_TRY(hone_grow(&writer->tensors, &writer->tensor_capacity, writer->tensor_count + 1,
                       sizeof *writer->tensors));
    writer->tensors[writer->tensor_count++] = tensor;
    return HONE_OK;
}

/* --- Writing --- */

static hone_status append_u32(hone_buf *out, uint32_t value) {
    return hone_buf_append(out, &value, sizeof value);
}

static hone_status append_u64(hone_buf *out, uint64_t value) {
    return hone_buf_append(out, &value, sizeof value);
}

static hone_status append_entry(hone_buf *out, const entry *one) {
    HONE_TRY(append_string(out, (hone_gguf_string){one->key, one->key_length}));
    HONE_TRY(append_u32(out, (uint32_t)one->kind));
    if (one->kind == HONE_GGUF_ARRAY) {
        HONE_TRY(append_u32(out, (uint32_t)one->element));
        HONE_TRY(append_u64(out, one->count));
    }
    return hone_buf_append(out, one->payload.data, one->payload.length);
}

static hone_status append_tensor(hone_buf *out, const declared *tensor, uint64_t offset) {
    HONE_TRY(append_string(out, text_of(tensor->name)));
    HONE_TRY(append_u32(out, (uint32_t)tensor->n_dims));
    HONE_TRY(hone_buf_append(out, tensor->sizes, (size_t)tensor->n_dims * sizeof(int64_t)));
    HONE_TRY(append_u32(out, tensor->type));
    return append_u64(out, offset);
}

static hone_status append_padding(hone_buf *out, uint32_t alignment) {
    static const char zero;
    while (out->length % alignment != 0) HONE_TRY(hone_buf_append(out, &zero, 1));
    return HONE_OK;
}

/* All that comes before the data, and the bytes of the data. */
static hone_status append_head(hone_buf *out, uint64_t *data_bytes,
                               const hone_gguf_writer *writer) {
    HONE_TRY(hone_buf_append(out, "GGUF", 4));
    HONE_TRY(append_u32(out, 3));
    HONE_TRY(append_u64(out, writer->tensor_count));
    HONE_TRY(append_u64(out, writer->entry_count));
    for (size_t i = 0; i < writer->entry_count; i++) {
        HONE_TRY(append_entry(out, &writer->entries[i]));
    }
    *data_bytes = 0;
    for (size_t i = 0; i < writer->tensor_count; i++) {
        HONE_TRY(append_tensor(out, &writer->tensors[i], *data_bytes));
        if (__builtin_add_overflow(*data_bytes, writer->tensors[i].padded, data_bytes)) {
            return refuse(writer->tensors[i].name, "more than 2^64 bytes in one file");
        }
    }
    return append_padding(out, writer->alignment);
}

hone_status hone_gguf_file_bytes(uint64_t *out, const hone_gguf_writer *writer) {
    hone_buf head = {0};
    uint64_t data_bytes = 0;
    hone_status status = append_head(&head, &data_bytes, writer);
    *out = head.length + data_bytes;
    hone_buf_free(&head);
    return status;
}

static hone_status write_padding(hone_gguf_writer *writer, uint64_t length) {
    static const char zeros[4096];
    while (length > 0) {
        size_t piece = length < sizeof zeros ? (size_t)length : sizeof zeros;
        HONE_TRY(hone_file_write(&writer->file, zeros, piece));
        length -= piece;
    }
    return HONE_OK;
}

/* Pads what is complete and steps to the next tensor that wants data. */
static hone_status step(hone_gguf_writer *writer) {
    while (writer->current < writer->tensor_count) {
        const declared *tensor = &writer->tensors[writer->current];
        if (writer->written < tensor->bytes) return HONE_OK;
        HONE_TRY(write_padding(writer, tensor->padded - tensor->bytes));
        writer->current++;
        writer->written = 0;
    }
    return HONE_OK;
}

hone_status hone_gguf_begin(hone_gguf_writer *writer, const char *path) {
    if (writer->begun) return hone_fail(HONE_ERR_USAGE, "%s: already begun", path);
    hone_buf head = {0};
    uint64_t data_bytes;
    hone_status status = append_head(&head, &data_bytes, writer);
    if (status == HONE_OK) status = hone_file_create(&writer->file, path);
    if (status == HONE_OK) {
        writer->begun = true;
        status = hone_file_write(&writer->file, head.data, head.length);
    }
    hone_buf_free(&head);
    return status == HONE_OK ? step(writer) : status;
}

hone_status hone_gguf_data(hone_gguf_writer *writer, const void *bytes, size_t length) {
    if (length == 0) return HONE_OK;
    if (!writer->begun) return hone_fail(HONE_ERR_USAGE, "GGUF data before the header");
    if (writer->current == writer->tensor_count) {
        return hone_fail(HONE_ERR_USAGE, "GGUF data beyond the declared tensors");
    }
    const declared *tensor = &writer->tensors[writer->current];
    if (length > tensor->bytes - writer->written) {
        return hone_fail(HONE_ERR_USAGE, "%s: tensor '%s' has %llu bytes and is given more",
                         writer->file.path, tensor->name, (unsigned long long)tensor->bytes);
    }
    HONE_TRY(hone_file_write(&writer->file, bytes, length));
    writer->written += length;
    return step(writer);
}

hone_status hone_gguf_commit(hone_gguf_writer *writer) {
    if (!writer->begun) return hone_fail(HONE_ERR_USAGE, "GGUF commit before the header");
    if (writer->current < writer->tensor_count) {
        return hone_fail(HONE_ERR_USAGE, "%s: the data of tensor '%s' is not complete",
                         writer->file.path, writer->tensors[writer->current].name);
    }
    return hone_file_commit(&writer->file);
}
