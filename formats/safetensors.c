#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"
#include "formats/json.h"

static const uint64_t LONGEST_HEADER = 100000000; /* as in the reference implementation */

/* One file. Names of tensors and the metadata are texts of its header. */
typedef struct shard {
    hone_map map; /* zero when opened over bytes */
    char *path;
    json_t *header;
} shard;

struct hone_safetensors {
    char *path;
    shard *shards;
    size_t shard_count, shard_capacity;
    hone_safetensors_tensor *tensors; /* by file, then by place */
    size_t tensor_count, tensor_capacity;
    const hone_safetensors_tensor **by_name; /* sorted */
};

/* "file: tensor 'name'", for messages; control characters are left out. */
typedef struct place {
    char text[512];
} place;

static place place_of(const char *file, const char *name) {
    place at;
    snprintf(at.text, sizeof at.text, "%s: tensor '%.200s'", file, name);
    for (char *c = at.text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    }
    return at;
}

static hone_status bad_tensor(const hone_safetensors_tensor *tensor, const char *problem) {
    return hone_fail(HONE_ERR_FORMAT, "%s: %s; the file is cut short or corrupt, get it again",
                     place_of(tensor->file, tensor->name).text, problem);
}

/* --- One tensor of a header --- */

static const struct {
    const char *name;
    unsigned bits;
} dtypes[] = {
    {"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16},    {"BF16", 16},
    {"I32", 32},    {"U32", 32}, {"F32", 32}, {"C64", 64},    {"F64", 64},
    {"I64", 64},    {"U64", 64}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

/* The bits of an element; 0 for an unknown dtype. */
static unsigned find_dtype(const char **name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, *name) != 0) continue;
        *name = dtypes[i].name;
        return dtypes[i].bits;
    }
    return 0;
}

static hone_status read_shape(hone_safetensors_tensor *tensor, uint64_t *elements,
                              const json_t *shape) {
    size_t n_dims = json_array_size(shape);
    if (n_dims > HONE_SAFETENSORS_DIMS) return bad_tensor(tensor, "more than 8 dimensions");
    tensor->n_dims = (int)n_dims;
    *elements = 1;
    for (size_t d = 0; d < HONE_SAFETENSORS_DIMS; d++) {
        tensor->shape[d] = 1;
        if (d >= n_dims) continue;
        const json_t *size = json_array_get(shape, d);
        if (!json_is_integer(size) || json_integer_value(size) < 0) {
            return bad_tensor(tensor, "a dimension that is no integer from 0 up");
        }
        tensor->shape[d] = json_integer_value(size);
        if (__builtin_mul_overflow(*elements, (uint64_t)tensor->shape[d], elements)) {
            return bad_tensor(tensor, "a shape whose product is beyond 64 bits");
        }
    }
    return HONE_OK;
}

/* Sets data and bytes from the offsets in `range`, which must lie in the `data_bytes` bytes at `data`. */
static hone_status read_range(hone_safetensors_tensor *tensor, const json_t *range,
                              const unsigned char *data, size_t data_bytes) {
    const json_t *begin = json_array_get(range, 0);
    const json_t *end = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(begin) || !json_is_integer(end)) {
        return bad_tensor(tensor, "data_offsets that are not two integers");
    }
    json_int_t from = json_integer_value(begin);
    json_int_t to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > data_bytes) {
        return bad_tensor(tensor, "data_offsets outside the file");
    }
    tensor->data = data + from;
    tensor->bytes = (uint64_t)(to - from);
    return HONE_OK;
}

static hone_status read_tensor(hone_safetensors_tensor *tensor, const json_t *entry,
                               const unsigned char *data, size_t data_bytes) {
    place at = place_of(tensor->file, tensor->name);
    const json_t *shape;
    const json_t *range;
    uint64_t elements;
    uint64_t all_bits;
    HONE_TRY(hone_json_get_string(&tensor->dtype, entry, "dtype", at.text));
    HONE_TRY(hone_json_get_array(&shape, entry, "shape", at.text));
    HONE_TRY(hone_json_get_array(&range, entry, "data_offsets", at.text));
    unsigned bits = find_dtype(&tensor->dtype);
    if (bits == 0) {
        return hone_fail(HONE_ERR_UNSUPPORTED, "%s: unknown dtype '%.32s'; save it as F32 or BF16",
                         at.text, tensor->dtype);
    }
    HONE_TRY(read_shape(tensor, &elements, shape));
    HONE_TRY(read_range(tensor, range, data, data_bytes));
    if (__builtin_mul_overflow(elements, (uint64_t)bits, &all_bits) || all_bits % 8 != 0 ||
        all_bits / 8 != tensor->bytes) {
        return bad_tensor(tensor, "data_offsets that do not fit dtype and shape");
    }
    return HONE_OK;
}

/* --- One file --- */

static int by_place(const void *a, const void *b) {
    const hone_safetensors_tensor *x = a;
    const hone_safetensors_tensor *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors, sorted by place, must cover the data from its begin to its end. */
static hone_status check_cover(const hone_safetensors_tensor *tensors, size_t count,
                               const char *file, const unsigned char *data, size_t data_bytes) {
    const unsigned char *expected = data;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].data < expected) {
            return bad_tensor(&tensors[i], "data that overlaps another tensor");
        }
        if (tensors[i].data > expected) {
            return bad_tensor(&tensors[i], "a gap between its data and the tensor before it");
        }
        expected += tensors[i].bytes;
    }
    if (expected == data + data_bytes) return HONE_OK;
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: %zu bytes behind the last tensor belong to none; the file is corrupt, get "
        "it again",
        file, (size_t)(data + data_bytes - expected));
}

static hone_status check_metadata(const json_t *metadata, const char *file) {
    bool right = json_is_object(metadata);
    const char *key;
    json_t *value;
    json_t *object = (json_t *)(uintptr_t)metadata; /* Jansson iterates over non-const ones only */
    json_object_foreach(object, key, value) right = right && json_is_string(value);
    if (right) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: __metadata__ is not an object of strings; the file is corrupt, get it "
                     "again",
                     file);
}

static hone_status add_tensors(hone_safetensors *all, const shard *from, const unsigned char *data,
                               size_t data_bytes) {
    size_t first = all->tensor_count;
    for (void *at = json_object_iter(from->header); at;
         at = json_object_iter_next(from->header, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *entry = json_object_iter_value(at);
        if (strcmp(name, "__metadata__") == 0) {
            HONE_TRY(check_metadata(entry, from->path));
            continue;
        }
        HONE_TRY(hone_grow(&all->tensors, &all->tensor_capacity, all->tensor_count + 1,
                           sizeof *all->tensors));
        hone_safetensors_tensor *tensor = &all->tensors[all->tensor_count++];
        *tensor = (hone_safetensors_tensor){.name = name, .file = from->path};
        if (strlen(name) != json_object_iter_key_len(at)) {
            return bad_tensor(tensor, "a zero byte in the name");
        }
        HONE_TRY(read_tensor(tensor, entry, data, data_bytes));
    }
    size_t count = all->tensor_count - first;
    hone_safetensors_tensor *added = count ? &all->tensors[first] : NULL;
    if (count > 1) qsort(added, count, sizeof *added, by_place);
    return check_cover(added, count, from->path, data, data_bytes);
}

/* The JSON between the length and the data. */
static hone_status read_header(json_t **out, hone_bytes *in) {
    uint64_t length;
    const void *text;
    HONE_TRY(hone_bytes_read(&length, in, sizeof length, "the header's length"));
    if (length > LONGEST_HEADER || length > in->length - in->at) {
        return hone_fail(
            HONE_ERR_FORMAT,
            "%s: byte 0: a header of %llu bytes in a file of %zu; it is no safetensors "
            "file, or cut short: get it again",
            in->file, (unsigned long long)length, in->length);
    }
    HONE_TRY(hone_bytes_take(&text, in, length, "the header"));
    if (length == 0 || *(const char *)text != '{') {
        return hone_fail(
            HONE_ERR_FORMAT,
            "%s: byte 8: the header does not begin with '{'; it is no safetensors file", in->file);
    }
    return hone_json_parse(out, text, (size_t)length, in->file);
}

/* Adds a file of `length` bytes; takes over `map` (which may be zero). */
static hone_status add_file(hone_safetensors *all, hone_map *map, const void *bytes, size_t length,
                            const char *path) {
    hone_status status =
        hone_grow(&all->shards, &all->shard_capacity, all->shard_count + 1, sizeof *all->shards);
    if (status != HONE_OK) {
        hone_map_close(map);
        return status;
    }
    shard *added = &all->shards[all->shard_count++];
    *added = (shard){.map = *map, .path = hone_strdup(path)};
    if (!added->path) return HONE_ERR_MEMORY;
    hone_bytes in = {.data = bytes, .length = length, .file = added->path};
    HONE_TRY(read_header(&added->header, &in));
    return add_tensors(all, added, in.data + in.at, in.length - in.at);
}

static hone_status map_file(hone_safetensors *all, const char *path) {
    hone_map map;
    HONE_TRY(hone_map_open(&map, path));
    return add_file(all, &map, map.data, map.length, path);
}

/* --- Names --- */

static int by_name(const void *a, const void *b) {
    const hone_safetensors_tensor *const *x = a;
    const hone_safetensors_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static hone_status index_names(hone_safetensors *all) {
    size_t count = all->tensor_count;
    all->by_name = hone_alloc(count, sizeof *all->by_name);
    if (!all->by_name) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) all->by_name[i] = &all->tensors[i];
    qsort(all->by_name, count, sizeof *all->by_name, by_name);
    for (size_t i = 1; i < count; i++) {
        if (by_name(&all->by_name[i - 1], &all->by_name[i]) == 0) {
            return bad_tensor(all->by_name[i], "a name that stands in two files");
        }
    }
    return HONE_OK;
}

/* --- Shards --- */

/* A plain file name: shards lie beside their index. */
static hone_status check_shard_name(const char *name, const char *index) {
    if (name[0] && name[0] != '.' && !strchr(name, '/')) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: shard '%.100s' is not a file name in the index's own folder; get the "
                     "index again",
                     index, name);
}

static hone_status shard_path(char **out, const char *index, const char *name) {
    HONE_TRY(check_shard_name(name, index));
    const char *slash = strrchr(index, '/');
    hone_buf path = {0};
    hone_status status =
        slash ? hone_buf_append(&path, index, (size_t)(slash + 1 - index)) : HONE_OK;
    if (status == HONE_OK) status = hone_buf_puts(&path, name);
    if (status != HONE_OK) hone_buf_free(&path);
    *out = path.data;
    return status;
}

static bool has_file(const hone_safetensors *all, const char *path) {
    for (size_t i = 0; i < all->shard_count; i++) {
        if (strcmp(all->shards[i].path, path) == 0) return true;
    }
    return false;
}

/* Maps the file of one entry of the index, unless it is already. */
static hone_status open_shard(hone_safetensors *all, const json_t *file, const char *index) {
    char *path;
    if (!json_is_string(file)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: \"weight_map\" holds %s where a file name is wanted",
                         index, hone_json_kind(file));
    }
    HONE_TRY(shard_path(&path, index, json_string_value(file)));
    hone_status status = has_file(all, path) ? HONE_OK : map_file(all, path);
    hone_free(path);
    return status;
}

/* Whether the shard that the index names for a tensor holds it. */
static hone_status check_entry(const hone_safetensors *all, const char *name, const char *file) {
    const hone_safetensors_tensor *tensor = hone_safetensors_find(all, name);
    const char *slash = tensor ? strrchr(tensor->file, '/') : NULL;
    if (tensor && strcmp(slash ? slash + 1 : tensor->file, file) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s is not in '%.100s', where the index says; get both again",
                     place_of(all->path, name).text, file);
}

static hone_status read_shards(hone_safetensors *all, const json_t *index) {
    const json_t *weights;
    HONE_TRY(hone_json_get_object(&weights, index, "weight_map", all->path));
    json_t *map = (json_t *)(uintptr_t)weights; /* Jansson iterates over non-const ones only */
    const char *name;
    json_t *file;
    json_object_foreach(map, name, file) HONE_TRY(open_shard(all, file, all->path));
    HONE_TRY(index_names(all));
    json_object_foreach(map, name, file) {
        HONE_TRY(check_entry(all, name, json_string_value(file)));
    }
    return HONE_OK;
}

static hone_status read_index(hone_safetensors *all) {
    json_t *index;
    HONE_TRY(hone_json_load(&index, all->path));
    hone_status status = read_shards(all, index);
    json_decref(index);
    return status;
}

/* --- Opening --- */

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text);
    size_t end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* The file that `path` stands for; newly allocated. */
static hone_status resolve(char **out, const char *path) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    *out = NULL;
    if (!hone_path_is_dir(path)) {
        *out = hone_strdup(path);
        return *out ? HONE_OK : HONE_ERR_MEMORY;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *file = hone_path_join(path, names[i]);
        if (!file) return HONE_ERR_MEMORY;
        if (hone_path_exists(file)) {
            *out = file;
            return HONE_OK;
        }
        hone_free(file);
    }
    return hone_fail(HONE_ERR_IO,
                     "%s: neither model.safetensors nor model.safetensors.index.json is in this "
                     "folder; give a model folder that holds safetensors files",
                     path);
}

static hone_status read_path(hone_safetensors *all, const char *path) {
    HONE_TRY(resolve(&all->path, path));
    if (ends_with(all->path, ".json")) return read_index(all);
    HONE_TRY(map_file(all, all->path));
    return index_names(all);
}

static hone_status read_bytes(hone_safetensors *all, const void *bytes, size_t length,
                              const char *name) {
    hone_map none = {0};
    all->path = hone_strdup(name);
    if (!all->path) return HONE_ERR_MEMORY;
    HONE_TRY(add_file(all, &none, bytes, length, name));
    return index_names(all);
}

/* Gives `all` away when it was read well. */
static hone_status finish(hone_safetensors **out, hone_safetensors *all, hone_status status) {
    if (status == HONE_OK) {
        *out = all;
    } else {
        hone_safetensors_close(all);
    }
    return status;
}

hone_status hone_safetensors_open(hone_safetensors **out, const char *path) {
    *out = NULL;
    hone_safetensors *all = hone_alloc(1, sizeof *all);
    return all ? finish(out, all, read_path(all, path)) : HONE_ERR_MEMORY;
}

hone_status hone_safetensors_open_bytes(hone_safetensors **out, const void *bytes, size_t length,
                                        const char *name) {
    *out = NULL;
    hone_safetensors *all = hone_alloc(1, sizeof *all);
    return all ? finish(out, all, read_bytes(all, bytes, length, name)) : HONE_ERR_MEMORY;
}

void hone_safetensors_drop(const hone_safetensors *tensors) {
    for (size_t i = 0; i < tensors->shard_count; i++) hone_map_drop(&tensors->shards[i].map);
}

void hone_safetensors_close(hone_safetensors *tensors) {
    if (!tensors) return;
    for (size_t i = 0; i < tensors->shard_count; i++) {
        json_decref(tensors->shards[i].header);
        hone_map_close(&tensors->shards[i].map);
        hone_free(tensors->shards[i].path);
    }
    hone_free(tensors->shards);
    hone_free(tensors->tensors);
    hone_free(tensors->by_name);
    hone_free(tensors->path);
    hone_free(tensors);
}

/* --- Looking --- */

const char *hone_safetensors_path(const hone_safetensors *tensors) {
    return tensors->path;
}

size_t hone_safetensors_file_count(const hone_safetensors *tensors) {
    return tensors->shard_count;
}

const char *hone_safetensors_file_at(const hone_safetensors *tensors, size_t index) {
    return tensors->shards[index].path;
}

size_t hone_safetensors_count(const hone_safetensors *tensors) {
    return tensors->tensor_count;
}

const hone_safetensors_tensor *hone_safetensors_at(const hone_safetensors *tensors, size_t index) {
    return &tensors->tensors[index];
}

static int name_order(const void *key, const void *entry) {
    const hone_safetensors_tensor *const *tensor = entry;
    return strcmp(key, (*tensor)->name);
}

const hone_safetensors_tensor *hone_safetensors_find(const hone_safetensors *tensors,
                                                     const char *name) {
    const hone_safetensors_tensor **found =
        bsearch(name, tensors->by_name, tensors->tensor_count, sizeof *found, name_order);
    return found ? *found : NULL;
}

hone_status hone_safetensors_dtype(hone_dtype *out, const hone_safetensors_tensor *tensor) {
    static const hone_dtype usable[] = {HONE_F32, HONE_F16, HONE_BF16};
    for (size_t i = 0; i < sizeof usable / sizeof usable[0]; i++) {
        hone_dtype named;
        if (!hone_dtype_parse(&named, tensor->dtype) || named != usable[i]) continue;
        *out = named;
        return HONE_OK;
    }
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s has dtype %s; hone computes with F32, F16 and BF16, save it as one of those",
        place_of(tensor->file, tensor->name).text, tensor->dtype);
}

static const json_t *metadata_of(const hone_safetensors *tensors) {
    return tensors->shard_count ? json_object_get(tensors->shards[0].header, "__metadata__") : NULL;
}

const char *hone_safetensors_metadata(const hone_safetensors *tensors, const char *key) {
    return json_string_value(json_object_get(metadata_of(tensors), key));
}

bool hone_safetensors_metadata_next(const char **key, const char **value,
                                    const hone_safetensors *tensors, size_t *cursor) {
    json_t *metadata = (json_t *)(uintptr_t)metadata_of(tensors);
    void *at = json_object_iter(metadata);
    for (size_t i = 0; at && i < *cursor; i++) at = json_object_iter_next(metadata, at);
    if (!at) return false;
    *key = json_object_iter_key(at);
    *value = json_string_value(json_object_iter_value(at));
    (*cursor)++;
    return true;
}
