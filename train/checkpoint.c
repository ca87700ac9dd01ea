#include "train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/h5.h"
#include "train/checkpoint_format.h"

enum { PAGE = 1 << 18 };

/* Everything that is open while a file is written. Negative ids are not open. */
typedef struct writer {
    hid_t file;
    hid_t group;   /* creation properties of groups */
    hid_t dataset; /* creation properties of datasets */
} writer;

static herr_t put_attribute(hid_t file, const char *name, hid_t type, const void *value) {
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t result = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
    if (attribute >= 0) H5Aclose(attribute);
    if (space >= 0) H5Sclose(space);
    return result;
}

/* Texts have a fixed length: HDF5 keeps those inside the checksummed header. An empty one is a single zero byte. */
static herr_t put_text(hid_t file, const char *name, const char *text) {
    if (!text) text = "";
    size_t length = strlen(text);
    hid_t type = H5Tcopy(H5T_C_S1);
    herr_t result = -1;
    if (type >= 0 && H5Tset_size(type, length > 0 ? length : 1) >= 0 &&
        H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        result = put_attribute(file, name, type, text);
    if (type >= 0) H5Tclose(type);
    return result;
}

static herr_t put_int(hid_t file, const char *name, int64_t value) {
    return put_attribute(file, name, H5T_STD_I64LE, &value);
}

static herr_t put_field(hid_t file, const hone_checkpoint_field *field,
                        const hone_checkpoint_state *state) {
    const void *at = (const char *)state + field->offset;
    switch (field->kind) {
    case HONE_CHECKPOINT_INT:
        return put_int(file, field->name, *(const int64_t *)at);
    case HONE_CHECKPOINT_BOOL:
        return put_int(file, field->name, *(const bool *)at);
    case HONE_CHECKPOINT_REAL:
        return put_attribute(file, field->name, H5T_IEEE_F64LE, at);
    case HONE_CHECKPOINT_TEXT:
        return put_text(file, field->name, *(char *const *)at);
    case HONE_CHECKPOINT_HASH:
        return put_text(file, field->name, at);
    }
    return -1;
}

static herr_t put_state(hid_t file, const hone_checkpoint_state *state) {
    if (put_text(file, "format", HONE_CHECKPOINT_FORMAT) < 0) return -1;
    if (put_int(file, "version", HONE_CHECKPOINT_VERSION) < 0) return -1;
    size_t count;
    const hone_checkpoint_field *fields = hone_checkpoint_fields(&count);
    for (size_t i = 0; i < count; i++) {
        if (put_field(file, &fields[i], state) < 0) return -1;
    }
    return 0;
}

/* Makes the groups that a name like "tensors/adam_m/x" needs. */
static herr_t make_groups(const writer *out, char *name) {
    for (char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        htri_t there = H5Lexists(out->file, name, H5P_DEFAULT);
        if (there == 0) {
            hid_t group = H5Gcreate2(out->file, name, H5P_DEFAULT, out->group, H5P_DEFAULT);
            there = group < 0 ? -1 : H5Gclose(group);
        }
        *slash = '/';
        if (there < 0) return -1;
    }
    return 0;
}

static herr_t put_dataset(const writer *out, const char *name,
                          const hone_checkpoint_tensor *tensor) {
    hsize_t shape[4] = {1}, chunk[4], inner = 1;
    for (int i = 0; i < tensor->dims; i++) {
        chunk[i] = shape[i] = (hsize_t)tensor->shape[i];
        if (i > 0) inner *= shape[i];
    }
    chunk[0] = hone_checkpoint_chunk_rows(shape[0], inner);
    if (H5Pset_chunk(out->dataset, tensor->dims, chunk) < 0) return -1;
    hid_t space = H5Screate_simple(tensor->dims, shape, NULL);
    hid_t set =
        H5Dcreate2(out->file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, out->dataset, H5P_DEFAULT);
    herr_t result = -1;
    if (set >= 0) {
        result = H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor->data);
        H5Dclose(set);
    }
    if (space >= 0) H5Sclose(space);
    return result;
}

static herr_t put_tensor(const writer *out, const hone_checkpoint_tensor *tensor) {
    hone_buf name = {0};
    herr_t result = -1;
    if (hone_buf_printf(&name, HONE_CHECKPOINT_TENSORS "/%s", tensor->name) == HONE_OK &&
        make_groups(out, name.data) >= 0)
        result = put_dataset(out, name.data, tensor);
    hone_buf_free(&name);
    return result;
}

/* The file is laid out in pages and written a page at a time: few, large writes. */
static bool set_paging(hid_t create, hid_t access) {
    return H5Pset_file_space_strategy(create, H5F_FSPACE_STRATEGY_PAGE, false, 1) >= 0 &&
           H5Pset_file_space_page_size(create, PAGE) >= 0 &&
           H5Pset_page_buffer_size(access, 4 * PAGE, 0, 0) >= 0;
}

/* Opens the file to write and the properties that keep times out of it. */
static herr_t open_writer(writer *out, const char *path) {
    *out = (writer){-1, -1, -1};
    hid_t access = hone_checkpoint_access();
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    out->group = H5Pcreate(H5P_GROUP_CREATE);
    out->dataset = H5Pcreate(H5P_DATASET_CREATE);
    if (access >= 0 && create >= 0 && set_paging(create, access) &&
        H5Pset_obj_track_times(create, false) >= 0 &&
        H5Pset_obj_track_times(out->group, false) >= 0 &&
        H5Pset_obj_track_times(out->dataset, false) >= 0 && H5Pset_fletcher32(out->dataset) >= 0)
        out->file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    if (create >= 0) H5Pclose(create);
    if (access >= 0) H5Pclose(access);
    return out->file < 0 ? -1 : 0;
}

static herr_t close_writer(writer *out, herr_t result) {
    if (out->file >= 0 && result >= 0) result = H5Fflush(out->file, H5F_SCOPE_GLOBAL);
    if (out->file >= 0 && result < 0) hone_h5_divert(out->file);
    if (out->file >= 0 && H5Fclose(out->file) < 0) result = -1;
    if (out->group >= 0) H5Pclose(out->group);
    if (out->dataset >= 0) H5Pclose(out->dataset);
    return result;
}

/* HDF5 1.10 cannot be brought to close a file beyond the process's limit of file sizes: asked for beforehand. */
static hone_status check_size_limit(const char *path, const hone_checkpoint_tensor *tensors,
                                    size_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return HONE_OK;
    rlim_t bytes = 8 * PAGE;
    for (size_t i = 0; i < count; i++) {
        rlim_t tensor = sizeof(float);
        for (int d = 0; d < tensors[i].dims; d++) tensor *= (rlim_t)tensors[i].shape[d];
        bytes += 2 * tensor + 4096; /* what pages leave empty, headers */
    }
    if (bytes <= limit.rlim_cur) return HONE_OK;
    return hone_fail(HONE_ERR_IO,
                     "%s: a checkpoint takes up to %llu bytes, but files are limited to %llu: "
                     "raise the limit (ulimit -f)",
                     path, (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
}

static hone_status write_content(const char *path, const hone_checkpoint_state *state,
                                 const hone_checkpoint_tensor *tensors, size_t count) {
    HONE_TRY(check_size_limit(path, tensors, count));
    writer out;
    errno = 0;
    herr_t result = open_writer(&out, path);
    if (result >= 0) (void)!chmod(path, 0600);
    if (result >= 0) result = put_state(out.file, state);
    for (size_t i = 0; i < count && result >= 0; i++) result = put_tensor(&out, &tensors[i]);
    int cause = errno;
    if (close_writer(&out, result) >= 0) return HONE_OK;
    if (result >= 0) cause = errno;
    errno = cause;
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot write the checkpoint (is the disk full?)",
                           path);
}

/* The step that a file name stands for; -1 for other names. */
static int64_t step_of(const char *name) {
    static const char start[] = "step-";
    if (strncmp(name, start, strlen(start)) != 0) return -1;
    const char *digits = name + strlen(start);
    size_t count = strspn(digits, "0123456789");
    if (count < 6 || count > 15 || strcmp(digits + count, ".h5") != 0) return -1;
    return strtoll(digits, NULL, 10);
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static char *path_of(const char *folder, int64_t step) {
    hone_buf path = {0};
    if (hone_buf_printf(&path, "%s/step-%06lld.h5", folder, (long long)step) != HONE_OK)
        hone_buf_free(&path);
    return path.data;
}

/* The steps of a folder's checkpoints, newest first; *steps is the caller's. A missing folder has none. */
static hone_status list_steps(int64_t **steps, size_t *count, const char *folder) {
    *steps = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return HONE_OK;
    if (!dir) return hone_fail_errno(HONE_ERR_IO, "%s: cannot list", folder);
    size_t capacity = 0;
    hone_status status = HONE_OK;
    for (struct dirent *entry; status == HONE_OK && (entry = readdir(dir));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        status = hone_grow(steps, &capacity, *count + 1, sizeof **steps);
        if (status == HONE_OK) (*steps)[(*count)++] = step;
    }
    closedir(dir);
    if (*count > 1) qsort(*steps, *count, sizeof **steps, newest_first);
    return status;
}

static hone_status remove_step(const char *folder, int64_t step) {
    char *path = path_of(folder, step);
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    if (unlink(path) != 0 && errno != ENOENT)
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot remove the old checkpoint", path);
    hone_free(path);
    return status;
}

/* Keeps the newest `keep` up to `step`. Later ones are of a future that a resumed run has left (they were damaged). */
static hone_status prune(const char *folder, int64_t step, int64_t keep) {
    int64_t *steps;
    size_t count;
    hone_status status = list_steps(&steps, &count, folder);
    int64_t kept = 0;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        if (steps[i] <= step && kept < keep) {
            kept++;
        } else {
            status = remove_step(folder, steps[i]);
        }
    }
    hone_free(steps);
    return status;
}

hone_status hone_checkpoint_write(const char *folder, const hone_checkpoint_state *state,
                                  const hone_checkpoint_tensor *tensors, size_t count,
                                  int64_t keep) {
    hone_checkpoint_prepare();
    char *path = path_of(folder, state->step);
    if (!path) return HONE_ERR_MEMORY;
    hone_file file;
    hone_status status = hone_file_reserve(&file, path);
    hone_free(path);
    HONE_TRY(status);
    status = write_content(file.temporary, state, tensors, count);
    if (status != HONE_OK) {
        hone_file_abandon(&file);
        return status;
    }
    HONE_TRY(hone_file_commit(&file));
    return prune(folder, state->step, keep < 1 ? 1 : keep);
}

/* Tells of a damaged file and forgets it. */
static hone_status note_refused(hone_buf *refused) {
    return refused ? hone_buf_printf(refused, "%s\n", hone_fail_message()) : HONE_OK;
}

hone_status hone_checkpoint_latest(char **path, hone_checkpoint_state *state, hone_buf *refused,
                                   const char *folder) {
    *path = NULL;
    *state = (hone_checkpoint_state){0};
    int64_t *steps;
    size_t count;
    hone_status status = list_steps(&steps, &count, folder);
    bool found = false;
    for (size_t i = 0; i < count && !found && status == HONE_OK; i++) {
        char *candidate = path_of(folder, steps[i]);
        status = candidate ? hone_checkpoint_verify(candidate) : HONE_ERR_MEMORY;
        if (status == HONE_OK) status = hone_checkpoint_read_state(state, candidate);
        found = status == HONE_OK;
        if (found) *path = candidate;
        if (!found) hone_free(candidate);
        if (status == HONE_ERR_FORMAT) status = note_refused(refused);
    }
    hone_free(steps);
    if (status == HONE_OK && count > 0 && !found)
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: none of its %zu checkpoints can be read; the last one tried: %s",
                         folder, count, hone_fail_message());
    return status;
}
