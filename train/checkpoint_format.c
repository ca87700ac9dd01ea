#include "train/checkpoint_format.h"

#include <stdio.h>

#include "base/alloc.h"
#include "data/h5.h"

/* With its checksum a chunk of this many floats fills a mebibyte, that is, whole pages of the file. */
enum { CHUNK_ELEMENTS = (1 << 18) - 1 };

#define FIELD(name, kind)                                                                          \
    { #name, HONE_CHECKPOINT_##kind, offsetof(hone_checkpoint_state, name) }

static const hone_checkpoint_field fields[] = {
    FIELD(step, INT),       FIELD(epoch, INT),
    FIELD(bin, INT),        FIELD(seed, INT),
    FIELD(tokens, INT),     FIELD(supervised_tokens, INT),
    FIELD(has_best, BOOL),  FIELD(best_eval_loss, REAL),
    FIELD(best_step, INT),  FIELD(evals_since_best, INT),
    FIELD(finished, BOOL),  FIELD(plan, TEXT),
    FIELD(config, TEXT),    FIELD(model_hash, HASH),
    FIELD(data_hash, HASH), FIELD(tokenizer_hash, HASH),
};

const hone_checkpoint_field *hone_checkpoint_fields(size_t *count) {
    *count = sizeof fields / sizeof *fields;
    return fields;
}

void hone_checkpoint_state_free(hone_checkpoint_state *state) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].kind != HONE_CHECKPOINT_TEXT) continue;
        char **text = (char **)((char *)state + fields[i].offset);
        hone_free(*text);
        *text = NULL;
    }
}

hsize_t hone_checkpoint_chunk_rows(hsize_t rows, hsize_t inner) {
    hsize_t fit = CHUNK_ELEMENTS / inner;
    if (fit < 1) fit = 1;
    return rows < fit ? rows : fit;
}

void hone_checkpoint_prepare(void) {
    hone_h5_quiet();
    (void)H5Pset_obj_track_times(H5P_GROUP_CREATE_DEFAULT, false);
}

const char *hone_checkpoint_hdf5_version(void) {
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    return text;
}

hid_t hone_checkpoint_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    if (H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0 &&
        H5Pset_file_locking(access, false, true) >= 0 &&
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0)
        return access;
    H5Pclose(access);
    return -1;
}
