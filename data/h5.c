#include "data/h5.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"

/* Deflate makes at most 1,032 bytes of one (zlib's own bound), HDF5 adds a checksum and a header. */
enum { MOST_EXPANSION = 1100, DEFLATE_LEVEL = 4, METADATA_BYTES = 2 << 20 };

void hone_h5_quiet(void) {
    (void)H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

hid_t hone_h5_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    H5AC_cache_config_t cache = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};
    if (H5Pget_mdc_config(access, &cache) >= 0) {
        cache.set_initial_size = true;
        cache.initial_size = cache.max_size = METADATA_BYTES;
        cache.min_size = METADATA_BYTES / 2;
        H5Pset_mdc_config(access, &cache);
    }
    return access;
}

void hone_h5_divert(hid_t file) {
    int *descriptor;
    if (H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&descriptor) < 0) return;
    int memory = memfd_create("hone", MFD_CLOEXEC);
    if (memory < 0) return;
    dup3(memory, *descriptor, O_CLOEXEC);
    close(memory);
}

typedef struct cause {
    char text[512];
    int depth;
} cause;

/* Walking upwards, the first entry is where it went wrong. */
static herr_t keep_innermost(unsigned depth, const H5E_error2_t *error, void *context) {
    cause *found = context;
    if (depth == 0 && error->desc) {
        size_t length = strnlen(error->desc, sizeof found->text - 1);
        memcpy(found->text, error->desc, length);
        found->text[length] = '\0';
        for (char *end; (end = strchr(found->text, '\n'));) *end = ' '; /* a date brings one */
    }
    return 0;
}

hone_status hone_h5_fail(hone_status code, const char *path, const char *what) {
    cause found = {.text = "no cause given"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &found);
    H5Eclear2(H5E_DEFAULT);
    const char *remedy = code == HONE_ERR_FORMAT
                             ? "the file is cut short or corrupt: restore it from a copy, or make "
                               "it again from the files it came from"
                             : "is the disk full, or the folder not writable?";
    return hone_fail(code, "%s: %s: %s; %s", path, what, found.text, remedy);
}

static hone_status column_fail(const hone_h5_column *column, const char *verb) {
    char what[128];
    snprintf(what, sizeof what, "cannot %s %s", verb, column->name);
    return hone_h5_fail(column->writing ? HONE_ERR_IO : HONE_ERR_FORMAT, column->path, what);
}

/* HDF5's own cache holds one chunk: the window is the cache. */
static hid_t access_of(int64_t chunk, size_t item) {
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    if (access >= 0) H5Pset_chunk_cache(access, 11, (size_t)chunk * item, 1.0);
    return access;
}

static hone_status allocate_window(hone_h5_column *column) {
    column->window = hone_alloc((size_t)column->chunk, column->item);
    return column->window ? HONE_OK : HONE_ERR_MEMORY;
}

hone_status hone_h5_column_create(hone_h5_column *out, hid_t file, const char *name, hid_t stored,
                                  hid_t type, size_t item, int64_t chunk, const char *path) {
    *out = (hone_h5_column){.set = -1,
                            .type = type,
                            .item = item,
                            .chunk = chunk,
                            .writing = true,
                            .path = path,
                            .name = name};
    HONE_TRY(allocate_window(out));
    hsize_t none = 0;
    hsize_t most = H5S_UNLIMITED;
    hsize_t size = (hsize_t)chunk;
    hid_t space = H5Screate_simple(1, &none, &most);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    hid_t access = access_of(chunk, item);
    if (H5Pset_chunk(create, 1, &size) >= 0 && H5Pset_shuffle(create) >= 0 &&
        H5Pset_deflate(create, DEFLATE_LEVEL) >= 0 && H5Pset_fletcher32(create) >= 0) {
        out->set = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, create, access);
    }
    hone_status status = out->set < 0 ? column_fail(out, "create") : HONE_OK;
    H5Sclose(space);
    H5Pclose(create);
    H5Pclose(access);
    if (status != HONE_OK) hone_h5_column_close(out);
    return status;
}

/* Sets count and chunk of an open dataset, after checking that they can be what hone wrote. */
static hone_status check_shape(hone_h5_column *column, int64_t most_chunk) {
    hid_t space = H5Dget_space(column->set);
    hid_t create = H5Dget_create_plist(column->set);
    hsize_t size = 0;
    hsize_t chunk = 0;
    bool fits = H5Sget_simple_extent_ndims(space) == 1 && H5Pget_layout(create) == H5D_CHUNKED;
    if (fits) fits = H5Sget_simple_extent_dims(space, &size, NULL) == 1;
    if (fits) fits = H5Pget_chunk(create, 1, &chunk) == 1;
    hsize_t stored = H5Dget_storage_size(column->set);
    H5Sclose(space);
    H5Pclose(create);
    if (!fits || chunk == 0 || chunk > (hsize_t)most_chunk) {
        H5Eclear2(H5E_DEFAULT);
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s does not have the layout that hone writes; make the data file "
                         "again with hone data add",
                         column->path, column->name);
    }
    if (size / MOST_EXPANSION > stored / column->item + chunk) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: %s claims %llu items but only %llu bytes are stored; the file is cut "
                         "short or corrupt: restore it from a copy",
                         column->path, column->name, (unsigned long long)size,
                         (unsigned long long)stored);
    }
    column->count = (int64_t)size;
    column->chunk = (int64_t)chunk;
    return HONE_OK;
}

hone_status hone_h5_column_open(hone_h5_column *out, hid_t file, const char *name, hid_t type,
                                size_t item, int64_t chunk, const char *path) {
    *out = (hone_h5_column){.type = type, .item = item, .path = path, .name = name};
    hid_t access = access_of(chunk, item);
    out->set = H5Dopen2(file, name, access);
    hone_status status = out->set < 0 ? column_fail(out, "open") : check_shape(out, chunk);
    H5Pclose(access);
    if (status == HONE_OK) status = allocate_window(out);
    if (status != HONE_OK) hone_h5_column_close(out);
    return status;
}

/* Moves `count` items between memory and [begin, begin + count) of the dataset. */
static hone_status transfer(hone_h5_column *column, void *items, int64_t begin, int64_t count) {
    hsize_t from = (hsize_t)begin;
    hsize_t size = (hsize_t)count;
    hid_t file_space = H5Dget_space(column->set);
    hid_t memory_space = H5Screate_simple(1, &size, NULL);
    herr_t failed = H5Sselect_hyperslab(file_space, H5S_SELECT_SET, &from, NULL, &size, NULL);
    if (failed >= 0) {
        failed =
            column->writing
                ? H5Dwrite(column->set, column->type, memory_space, file_space, H5P_DEFAULT, items)
                : H5Dread(column->set, column->type, memory_space, file_space, H5P_DEFAULT, items);
    }
    hone_status status =
        failed < 0 ? column_fail(column, column->writing ? "write" : "read") : HONE_OK;
    H5Sclose(file_space);
    H5Sclose(memory_space);
    return status;
}

hone_status hone_h5_column_flush(hone_h5_column *column) {
    if (column->window_count == 0) return HONE_OK;
    hsize_t size = (hsize_t)column->count;
    if (H5Dset_extent(column->set, &size) < 0) return column_fail(column, "extend");
    int64_t begin = column->count - column->window_count;
    HONE_TRY(transfer(column, column->window, begin, column->window_count));
    column->window_count = 0;
    return HONE_OK;
}

hone_status hone_h5_column_append(hone_h5_column *column, const void *items, int64_t count) {
    const char *from = items;
    while (count > 0) {
        int64_t room = column->chunk - column->count % column->chunk;
        int64_t part = count < room ? count : room;
        size_t bytes = (size_t)part * column->item;
        memcpy(column->window + (size_t)column->window_count * column->item, from, bytes);
        column->window_count += part;
        column->count += part;
        from += bytes;
        count -= part;
        if (part == room) HONE_TRY(hone_h5_column_flush(column));
    }
    return HONE_OK;
}

static hone_status load_window(hone_h5_column *column, int64_t at) {
    int64_t begin = at - at % column->chunk;
    int64_t left = column->count - begin;
    column->window_count = 0; /* nothing valid if reading fails */
    int64_t count = left < column->chunk ? left : column->chunk;
    HONE_TRY(transfer(column, column->window, begin, count));
    column->window_begin = begin;
    column->window_count = count;
    return HONE_OK;
}

hone_status hone_h5_column_read(void *out, hone_h5_column *column, int64_t at, int64_t count) {
    char *to = out;
    while (count > 0) {
        if (at < column->window_begin || at >= column->window_begin + column->window_count)
            HONE_TRY(load_window(column, at));
        int64_t skip = at - column->window_begin;
        int64_t part = column->window_count - skip;
        if (part > count) part = count;
        size_t bytes = (size_t)part * column->item;
        memcpy(to, column->window + (size_t)skip * column->item, bytes);
        to += bytes;
        at += part;
        count -= part;
    }
    return HONE_OK;
}

void hone_h5_column_close(hone_h5_column *column) {
    if (!column) return;
    if (column->set > 0) H5Dclose(column->set);
    hone_free(column->window);
    *column = (hone_h5_column){0};
}

hid_t hone_h5_text_type(size_t size) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0) {
        H5Tset_size(type, size);
        H5Tset_cset(type, H5T_CSET_UTF8);
    }
    return type;
}

hone_status hone_h5_put_text(hid_t object, const char *name, const char *text, const char *path) {
    hid_t type = hone_h5_text_type(strlen(text) + 1);
    hid_t space = H5Screate(H5S_SCALAR);
    if (H5Aexists(object, name) > 0) H5Adelete(object, name);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    hone_status status = HONE_OK;
    if (attribute < 0 || H5Awrite(attribute, type, text) < 0)
        status = hone_h5_fail(HONE_ERR_IO, path, name);
    if (attribute >= 0) H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

/* The conversion to a fixed string of `size` bytes is HDF5's; variable-length and other types are refused by it. */
hone_status hone_h5_get_text(char *out, size_t size, hid_t object, const char *name,
                             const char *path) {
    memset(out, 0, size);
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return hone_h5_fail(HONE_ERR_FORMAT, path, name);
    hid_t type = hone_h5_text_type(size);
    hid_t space = H5Aget_space(attribute);
    hid_t stored = H5Aget_type(attribute);
    bool fits = H5Sget_simple_extent_npoints(space) == 1 && H5Tis_variable_str(stored) == 0;
    hone_status status = HONE_OK;
    if (!fits || H5Aread(attribute, type, out) < 0)
        status = hone_h5_fail(HONE_ERR_FORMAT, path, name);
    out[size - 1] = '\0';
    H5Tclose(stored);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return status;
}
