#include "formats/safetensors_writer.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/json.h"
#include "formats/safetensors.h"

typedef struct declared {
    char *name;
    uint64_t bytes;
} declared;

struct hone_safetensors_writer {
    json_t *header;   /* in the order of declaration, but for __metadata__, which is put in front */
    json_t *metadata; /* borrowed from the header */
    declared *tensors;
    size_t tensor_count, tensor_capacity;
    uint64_t data_bytes;
    bool begun;
    hone_file file;
    size_t current;   /* the tensor whose data comes next */
    uint64_t written; /* bytes of it */
};

static hone_status no_memory(void) {
    return hone_fail(HONE_ERR_MEMORY, "out of memory while building a safetensors header");
}

hone_status hone_safetensors_writer_new(hone_safetensors_writer **out) {
    *out = NULL;
    hone_safetensors_writer *writer = hone_alloc(1, sizeof *writer);
    if (!writer) return HONE_ERR_MEMORY;
    writer->header = json_object();
    writer->metadata = json_object();
    /* The reference is taken over by the header, also on failure. */
    if (json_object_set_new(writer->header, "__metadata__", writer->metadata) != 0) {
        hone_safetensors_writer_free(writer);
        return no_memory();
    }
    *out = writer;
    return HONE_OK;
}

void hone_safetensors_writer_free(hone_safetensors_writer *writer) {
    if (!writer) return;
    json_decref(writer->header);
    for (size_t i = 0; i < writer->tensor_count; i++) hone_free(writer->tensors[i].name);
    hone_free(writer->tensors);
    hone_file_abandon(&writer->file);
    hone_free(writer);
}

hone_status hone_safetensors_set_metadata(hone_safetensors_writer *writer, const char *key,
                                          const char *value) {
    json_t *text = json_string(value);
    if (text && json_object_set_new(writer->metadata, key, text) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "safetensors metadata '%s' is not UTF-8", key);
}

/* --- Declaring --- */

static hone_status refuse(const char *name, const char *problem) {
    return hone_fail(HONE_ERR_USAGE, "safetensors tensor '%s': %s", name, problem);
}

static const char *name_of(hone_dtype dtype) {
    return dtype == HONE_F32    ? "F32"
           : dtype == HONE_F16  ? "F16"
           : dtype == HONE_BF16 ? "BF16"
                                : NULL;
}

static hone_status measure(uint64_t *bytes, const char *name, hone_dtype dtype, int n_dims,
                           const int64_t *shape) {
    if (n_dims < 0 || n_dims > HONE_SAFETENSORS_DIMS) return refuse(name, "not 0 to 8 dimensions");
    *bytes = dtype == HONE_F32 ? 4 : 2;
    for (int d = 0; d < n_dims; d++) {
        if (shape[d] < 0 || __builtin_mul_overflow(*bytes, (uint64_t)shape[d], bytes) ||
            *bytes > INT64_MAX) {
            return refuse(name, "an impossible shape");
        }
    }
    return HONE_OK;
}

static hone_status keep(hone_safetensors_writer *writer, const char *name, uint64_t bytes) {
    HONE_TRY(hone_grow(&writer->tensors, &writer->tensor_capacity, writer->tensor_count + 1,
                       sizeof *writer->tensors));
    char *copy = hone_strdup(name);
    if (!copy) return HONE_ERR_MEMORY;
    writer->tensors[writer->tensor_count++] = (declared){copy, bytes};
    return HONE_OK;
}

hone_status hone_safetensors_add_tensor(hone_safetensors_writer *writer, const char *name,
                                        hone_dtype dtype, int n_dims, const int64_t *shape) {
    uint64_t bytes;
    uint64_t end;
    const char *type = name_of(dtype);
    if (writer->begun) return refuse(name, "declared after the data began");
    if (!type) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "safetensors tensor '%s': %s cannot be stored; choose f32, f16 or bf16",
                         name, hone_dtype_name(dtype));
    }
    if (json_object_get(writer->header, name)) return refuse(name, "declared twice");
    HONE_TRY(measure(&bytes, name, dtype, n_dims, shape));
    if (__builtin_add_overflow(writer->data_bytes, bytes, &end) || end > INT64_MAX) {
        return refuse(name, "more than 2^63 bytes in one file");
    }
    json_t *sizes = json_array();
    for (int d = 0; d < n_dims; d++) (void)json_array_append_new(sizes, json_integer(shape[d]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", sizes, "data_offsets",
                              (json_int_t)writer->data_bytes, (json_int_t)end);
    if (!entry || json_array_size(json_object_get(entry, "shape")) != (size_t)n_dims) {
        json_decref(entry);
        return no_memory();
    }
    if (json_object_set_new(writer->header, name, entry) != 0) {
        return refuse(name, "a name that is not UTF-8");
    }
    HONE_TRY(keep(writer, name, bytes));
    writer->data_bytes = end;
    return HONE_OK;
}

/* --- Writing --- */

/* The length, the JSON, and spaces so that the data begins at a multiple of 8. */
static hone_status build_head(hone_buf *out, const hone_safetensors_writer *writer) {
    uint64_t length = 0;
    HONE_TRY(hone_buf_append(out, &length, sizeof length));
    HONE_TRY(hone_json_append(out, writer->header, 0));
    while (out->length % 8 != 0) HONE_TRY(hone_buf_append(out, " ", 1));
    length = out->length - sizeof length;
    memcpy(out->data, &length, sizeof length);
    return HONE_OK;
}

/* Steps over the tensors that are complete. */
static void step(hone_safetensors_writer *writer) {
    while (writer->current < writer->tensor_count &&
           writer->written == writer->tensors[writer->current].bytes) {
        writer->current++;
        writer->written = 0;
    }
}

hone_status hone_safetensors_begin(hone_safetensors_writer *writer, const char *path) {
    if (writer->begun) return hone_fail(HONE_ERR_USAGE, "%s: already begun", path);
    if (json_object_size(writer->metadata) == 0) {
        json_object_del(writer->header, "__metadata__");
    }
    hone_buf head = {0};
    hone_status status = build_head(&head, writer);
    if (status == HONE_OK) status = hone_file_create(&writer->file, path);
    if (status == HONE_OK) {
        writer->begun = true;
        status = hone_file_write(&writer->file, head.data, head.length);
    }
    hone_buf_free(&head);
    if (status == HONE_OK) step(writer);
    return status;
}

hone_status hone_safetensors_data(hone_safetensors_writer *writer, const void *bytes,
                                  size_t length) {
    if (length == 0) return HONE_OK;
    if (!writer->begun) return hone_fail(HONE_ERR_USAGE, "safetensors data before the header");
    if (writer->current == writer->tensor_count) {
        return hone_fail(HONE_ERR_USAGE, "safetensors data beyond the declared tensors");
    }
    const declared *tensor = &writer->tensors[writer->current];
    if (length > tensor->bytes - writer->written) {
        return hone_fail(HONE_ERR_USAGE, "%s: tensor '%s' has %llu bytes and is given more",
                         writer->file.path, tensor->name, (unsigned long long)tensor->bytes);
    }
    HONE_TRY(hone_file_write(&writer->file, bytes, length));
    writer->written += length;
    step(writer);
    return HONE_OK;
}

hone_status hone_safetensors_commit(hone_safetensors_writer *writer) {
    if (!writer->begun) return hone_fail(HONE_ERR_USAGE, "safetensors commit before the header");
    if (writer->current < writer->tensor_count) {
        return hone_fail(HONE_ERR_USAGE, "%s: the data of tensor '%s' is not complete",
                         writer->file.path, writer->tensors[writer->current].name);
    }
    return hone_file_commit(&writer->file);
}
