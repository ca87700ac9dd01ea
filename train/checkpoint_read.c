#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/checkpoint_format.h"

enum { LONGEST_TEXT = 1 << 24 };

static hone_status damaged(const char *path, const char *part, const char *name) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: %s \"%s\" is missing or damaged; use an older checkpoint", path, part,
                     name);
}

static hone_status open_file(hid_t *out, const char *path) {
    hone_checkpoint_prepare();
    *out = -1;
    hone_map map; /* for a message that says what the system refused */
    HONE_TRY(hone_map_open(&map, path));
    hone_map_close(&map);
    hid_t access = hone_checkpoint_access();
    if (access >= 0) {
        *out = H5Fopen(path, H5F_ACC_RDONLY, access);
        H5Pclose(access);
    }
    if (*out >= 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: not an HDF5 file, or cut short; use an older checkpoint",
                     path);
}

/* The one value of a scalar attribute, as `type` in memory. */
static herr_t get_attribute(void *out, hid_t file, const char *name, hid_t type) {
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    if (attribute < 0) return -1;
    hid_t space = H5Aget_space(attribute);
    hid_t stored = H5Aget_type(attribute);
    herr_t result = -1;
    if (space >= 0 && stored >= 0 && H5Sget_simple_extent_npoints(space) == 1 &&
        H5Tget_class(stored) == H5Tget_class(type))
        result = H5Aread(attribute, type, out);
    if (stored >= 0) H5Tclose(stored);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return result;
}

/* Bytes of a fixed-length text attribute; 0 when it is something else. */
static size_t text_bytes(hid_t file, const char *name) {
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    if (attribute < 0) return 0;
    hid_t type = H5Aget_type(attribute);
    size_t bytes = 0;
    if (type >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0)
        bytes = H5Tget_size(type);
    if (type >= 0) H5Tclose(type);
    H5Aclose(attribute);
    return bytes <= LONGEST_TEXT ? bytes : 0;
}

/* A new copy of a text attribute; NULL on any failure. */
static char *get_text(hid_t file, const char *name) {
    size_t bytes = text_bytes(file, name);
    if (bytes == 0) return NULL;
    char *text = hone_alloc(bytes + 1, 1);
    hid_t type = H5Tcopy(H5T_C_S1);
    herr_t result = -1;
    if (text && type >= 0 && H5Tset_size(type, bytes) >= 0 &&
        H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        result = get_attribute(text, file, name, type);
    if (type >= 0) H5Tclose(type);
    if (result >= 0) return text;
    hone_free(text);
    return NULL;
}

static bool text_is(hid_t file, const char *name, const char *wanted) {
    char *text = get_text(file, name);
    bool same = text && strcmp(text, wanted) == 0;
    hone_free(text);
    return same;
}

static herr_t get_hash(char *out, hid_t file, const char *name) {
    char *text = get_text(file, name);
    size_t length = text ? strlen(text) : HONE_SHA256_TEXT;
    if (length < HONE_SHA256_TEXT) memcpy(out, text, length + 1);
    hone_free(text);
    return length < HONE_SHA256_TEXT ? 0 : -1;
}

static herr_t get_field(hone_checkpoint_state *state, hid_t file,
                        const hone_checkpoint_field *field) {
    void *at = (char *)state + field->offset;
    switch (field->kind) {
    case HONE_CHECKPOINT_INT:
        return get_attribute(at, file, field->name, H5T_NATIVE_INT64);
    case HONE_CHECKPOINT_BOOL: {
        int64_t value;
        herr_t result = get_attribute(&value, file, field->name, H5T_NATIVE_INT64);
        if (result >= 0) *(bool *)at = value != 0;
        return result;
    }
    case HONE_CHECKPOINT_REAL:
        return get_attribute(at, file, field->name, H5T_NATIVE_DOUBLE);
    case HONE_CHECKPOINT_TEXT: {
        char *text = get_text(file, field->name);
        *(char **)at = text;
        return text ? 0 : -1;
    }
    case HONE_CHECKPOINT_HASH:
        return get_hash(at, file, field->name);
    }
    return -1;
}

static hone_status check_format(hid_t file, const char *path) {
    if (!text_is(file, "format", HONE_CHECKPOINT_FORMAT))
        return hone_fail(HONE_ERR_FORMAT, "%s: not a checkpoint of hone", path);
    int64_t version;
    if (get_attribute(&version, file, "version", H5T_NATIVE_INT64) < 0)
        return damaged(path, "attribute", "version");
    if (version == HONE_CHECKPOINT_VERSION) return HONE_OK;
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: checkpoint format %lld; this hone reads %d: use the version that wrote it", path,
        (long long)version, HONE_CHECKPOINT_VERSION);
}

static hone_status read_state(hone_checkpoint_state *out, hid_t file, const char *path) {
    *out = (hone_checkpoint_state){0};
    size_t count;
    const hone_checkpoint_field *fields = hone_checkpoint_fields(&count);
    for (size_t i = 0; i < count; i++) {
        if (get_field(out, file, &fields[i]) >= 0) continue;
        hone_checkpoint_state_free(out);
        return damaged(path, "attribute", fields[i].name);
    }
    return HONE_OK;
}

hone_status hone_checkpoint_read_state(hone_checkpoint_state *out, const char *path) {
    *out = (hone_checkpoint_state){0};
    hid_t file;
    HONE_TRY(open_file(&file, path));
    hone_status status = check_format(file, path);
    if (status == HONE_OK) status = read_state(out, file, path);
    H5Fclose(file);
    return status;
}

/* --- Tensors --- */

/* One dataset as it is met on the walk. */
typedef struct dataset {
    const char *name; /* below /tensors */
    hid_t id;
    int dims;
    hsize_t shape[4];
} dataset;

typedef struct walk walk;
typedef hone_status (*dataset_fn)(walk *at, const dataset *set);

struct walk {
    const char *path;
    hsize_t file_bytes;
    dataset_fn visit;
    hone_status status;
    /* of reading: */
    hone_checkpoint_tensor **sorted; /* [count], by name */
    size_t count, found;
    bool some; /* others may be there too */
    /* of verifying: */
    float *rows;
    size_t row_capacity;
    /* of listing: */
    hone_checkpoint_visit list;
    void *context;
};

/* Shape and type; nothing is believed that the file is too small for. */
static hone_status describe(dataset *set, const walk *at) {
    hid_t space = H5Dget_space(set->id);
    hid_t type = H5Dget_type(set->id);
    bool good = space >= 0 && type >= 0 && H5Tequal(type, H5T_IEEE_F32LE) > 0;
    set->dims = good ? H5Sget_simple_extent_ndims(space) : 0;
    good = set->dims >= 1 && set->dims <= 4 &&
           H5Sget_simple_extent_dims(space, set->shape, NULL) == set->dims;
    hsize_t room = at->file_bytes / sizeof(float);
    for (int i = 0; i < set->dims && good; i++) {
        good = set->shape[i] >= 1 && set->shape[i] <= room;
        if (good) room /= set->shape[i];
    }
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return good ? HONE_OK : damaged(at->path, "tensor", set->name);
}

static herr_t visit_object(hid_t group, const char *name, const H5O_info_t *info, void *context) {
    walk *at = context;
    if (info->type == H5O_TYPE_GROUP) return 0;
    dataset set = {.name = name, .id = -1};
    if (info->type == H5O_TYPE_DATASET) set.id = H5Dopen2(group, name, H5P_DEFAULT);
    at->status = set.id >= 0 ? describe(&set, at) : damaged(at->path, "tensor", name);
    if (at->status == HONE_OK) at->status = at->visit(at, &set);
    if (set.id >= 0) H5Dclose(set.id);
    return at->status == HONE_OK ? 0 : 1; /* 1 ends the walk */
}

static hone_status walk_tensors(walk *at, hid_t file) {
    hsize_t bytes;
    if (H5Fget_filesize(file, &bytes) < 0) return damaged(at->path, "the", "file");
    at->file_bytes = bytes;
    at->status = HONE_OK;
    herr_t result = H5Ovisit_by_name2(file, HONE_CHECKPOINT_TENSORS, H5_INDEX_NAME, H5_ITER_INC,
                                      visit_object, at, H5O_INFO_BASIC, H5P_DEFAULT);
    if (result < 0) return damaged(at->path, "group", HONE_CHECKPOINT_TENSORS);
    return at->status;
}

static hone_status open_and_walk(walk *at) {
    hid_t file;
    HONE_TRY(open_file(&file, at->path));
    hone_status status = check_format(file, at->path);
    if (status == HONE_OK) status = walk_tensors(at, file);
    H5Fclose(file);
    return status;
}

static int by_name(const void *a, const void *b) {
    const hone_checkpoint_tensor *x = *(hone_checkpoint_tensor *const *)a;
    const hone_checkpoint_tensor *y = *(hone_checkpoint_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static bool same_shape(const hone_checkpoint_tensor *tensor, const dataset *set) {
    bool same = tensor->dims == set->dims;
    for (int i = 0; i < set->dims && same; i++) same = (hsize_t)tensor->shape[i] == set->shape[i];
    return same;
}

static hone_status fill_tensor(walk *at, const dataset *set) {
    hone_checkpoint_tensor key = {.name = set->name};
    hone_checkpoint_tensor *wanted = &key;
    hone_checkpoint_tensor **hit =
        bsearch(&wanted, at->sorted, at->count, sizeof *at->sorted, by_name);
    if (!hit && at->some) return HONE_OK;
    if (!hit)
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: tensor \"%s\" has no place in this run: the checkpoint is of another "
                         "model or other targets",
                         at->path, set->name);
    if (!same_shape(*hit, set))
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: tensor \"%s\" has another shape than in this run: the checkpoint is "
                         "of another model or rank",
                         at->path, set->name);
    at->found++;
    if (H5Dread(set->id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, (*hit)->data) < 0)
        return damaged(at->path, "tensor", set->name);
    return HONE_OK;
}

static bool holds(hid_t file, const char *name) {
    hid_t group = H5Gopen2(file, HONE_CHECKPOINT_TENSORS, H5P_DEFAULT);
    if (group < 0) return false;
    H5O_info_t info;
    bool there = H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0;
    H5Gclose(group);
    return there;
}

/* Names one tensor of the run that the file lacks. */
static hone_status refuse_missing(const walk *at) {
    hid_t file;
    HONE_TRY(open_file(&file, at->path));
    const char *missing = "?";
    for (size_t i = 0; i < at->count; i++) {
        if (holds(file, at->sorted[i]->name)) continue;
        missing = at->sorted[i]->name;
        break;
    }
    H5Fclose(file);
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: tensor \"%s\" is missing (%zu of %zu are there): the checkpoint is of "
                     "another model or other targets",
                     at->path, missing, at->found, at->count);
}

static hone_status read_tensors(hone_checkpoint_tensor *tensors, size_t count, const char *path,
                                bool some) {
    walk at = {.path = path, .visit = fill_tensor, .count = count, .some = some};
    at.sorted = hone_alloc(count, sizeof(hone_checkpoint_tensor *));
    if (!at.sorted) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) at.sorted[i] = &tensors[i];
    qsort(at.sorted, count, sizeof(hone_checkpoint_tensor *), by_name);
    hone_status status = open_and_walk(&at);
    if (status == HONE_OK && at.found != count) status = refuse_missing(&at);
    hone_free(at.sorted);
    return status;
}

hone_status hone_checkpoint_read(hone_checkpoint_tensor *tensors, size_t count, const char *path) {
    return read_tensors(tensors, count, path, false);
}

hone_status hone_checkpoint_read_some(hone_checkpoint_tensor *tensors, size_t count,
                                      const char *path) {
    return read_tensors(tensors, count, path, true);
}

/* Reads all rows, a chunk at a time, so that every checksum is compared. */
static hone_status verify_tensor(walk *at, const dataset *set) {
    hsize_t inner = 1;
    for (int i = 1; i < set->dims; i++) inner *= set->shape[i];
    hsize_t step = hone_checkpoint_chunk_rows(set->shape[0], inner);
    HONE_TRY(hone_grow(&at->rows, &at->row_capacity, (size_t)(step * inner), sizeof *at->rows));
    hid_t space = H5Dget_space(set->id);
    hsize_t start[4] = {0};
    hsize_t size[4];
    memcpy(size, set->shape, sizeof size);
    herr_t result = space < 0 ? -1 : 0;
    for (; start[0] < set->shape[0] && result >= 0; start[0] += step) {
        size[0] = set->shape[0] - start[0] < step ? set->shape[0] - start[0] : step;
        hid_t memory = H5Screate_simple(set->dims, size, NULL);
        result = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL);
        if (memory < 0) result = -1;
        if (result >= 0)
            result = H5Dread(set->id, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, at->rows);
        if (memory >= 0) H5Sclose(memory);
    }
    if (space >= 0) H5Sclose(space);
    return result >= 0 ? HONE_OK : damaged(at->path, "tensor", set->name);
}

hone_status hone_checkpoint_verify(const char *path) {
    hone_checkpoint_state state;
    HONE_TRY(hone_checkpoint_read_state(&state, path));
    hone_checkpoint_state_free(&state);
    walk at = {.path = path, .visit = verify_tensor};
    hone_status status = open_and_walk(&at);
    hone_free(at.rows);
    return status;
}

static hone_status list_tensor(walk *at, const dataset *set) {
    int64_t shape[4];
    for (int i = 0; i < set->dims; i++) shape[i] = (int64_t)set->shape[i];
    return at->list(at->context, set->name, set->dims, shape);
}

hone_status hone_checkpoint_list(const char *path, hone_checkpoint_visit visit, void *context) {
    walk at = {.path = path, .visit = list_tensor, .list = visit, .context = context};
    return open_and_walk(&at);
}

bool hone_checkpoint_is(const char *path) {
    hid_t file;
    if (open_file(&file, path) != HONE_OK) return false;
    bool is = text_is(file, "format", HONE_CHECKPOINT_FORMAT);
    H5Fclose(file);
    return is;
}
