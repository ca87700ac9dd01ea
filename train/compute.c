#include "train/compute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "train/timing.h"

enum {
    LEAST_WEIGHTS = 20 << 20, /* below, steps are too short for the choice to matter */
    BLOCKS = 2,               /* that are measured */
    ROWS = 4,                 /* of a pass that is measured, at most */
};
static const double most_seconds = 1.6; /* of all ways */

/* --- What was found before --- */

/* The file of a key, owned by the caller; NULL where there is no folder for it. */
static char *cache_path(const char *key) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given = cache && *cache;
    if (!given && !(home && *home)) return NULL;
    char name[HONE_SHA256_TEXT];
    hone_sha256_bytes(name, key, strlen(key));
    hone_buf path = {0};
    if (hone_buf_printf(&path, "%s%s/hone/compute-%.16s", given ? cache : home,
                        given ? "" : "/.cache", name) != HONE_OK)
        return NULL;
    return path.data;
}

static void name_line(char line[16], hone_compute compute) {
    snprintf(line, 16, "%s\n", hone_compute_names[compute]);
}

hone_compute hone_compute_recall(const char *key) {
    char *path = cache_path(key), line[16];
    hone_buf text = {0};
    hone_compute found = HONE_COMPUTE_AUTO;
    if (path && hone_path_exists(path) && hone_file_get(&text, path) == HONE_OK) {
        for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) {
            name_line(line, way);
            if (text.length == strlen(line) && memcmp(text.data, line, text.length) == 0)
                found = way;
        }
    }
    hone_buf_free(&text);
    hone_free(path);
    return found;
}

void hone_compute_remember(const char *key, hone_compute compute) {
    char *path = cache_path(key), line[16];
    name_line(line, compute);
    if (path && hone_dir_make_parent(path) == HONE_OK)
        (void)!hone_file_put(path, line, strlen(line)); /* it is measured again next time */
    hone_free(path);
}

/* --- Measuring --- */

/* Makes so many blocks ready for a way; f32 is how all of them were. */
static hone_status prepare(hone_model *model, hone_compute way, int64_t blocks) {
    hone_model_int8_free(model);
    hone_model_bf16(model, way == HONE_COMPUTE_BF16);
    return way == HONE_COMPUTE_INT8 ? hone_model_int8(model, blocks) : HONE_OK;
}

static hone_status time_one_way(double *seconds, const hone_run *run, double most) {
    const hone_train_options *o = run->options;
    hone_forward forward = {.model = run->session.model, .adapter = run->session.adapter};
    int64_t rows = o->batch_size < ROWS ? o->batch_size : ROWS;
    hone_pass_shape shape = {rows * o->seq_len, o->seq_len, 1, 0};
    int64_t left = o->memory - hone_resident_now().all;
    if (o->memory > 0) shape.memory = left > 0 ? left : 1; /* the smallest is tried in any case */
    return hone_time_pass(seconds, &forward, &shape, most);
}

/* The fastest of all ways; the others' times are told as parts of that of f32. */
static hone_status measure(hone_compute *out, hone_run *run) {
    hone_model *model = run->session.model;
    bool bf16 = run->session.device.kernels->bf16_is_native;
    double seconds[HONE_COMPUTES];
    hone_buf others = {0};
    hone_status status = hone_model_rope(model, run->options->seq_len);
    *out = HONE_COMPUTE_F32;
    for (hone_compute way = HONE_COMPUTE_F32; status == HONE_OK && way < HONE_COMPUTES; way++) {
        if (way == HONE_COMPUTE_BF16 && !bf16) continue;
        status = prepare(model, way, BLOCKS);
        if (status == HONE_OK)
            status = time_one_way(&seconds[way], run, most_seconds / (bf16 ? 3 : 2));
        if (status != HONE_OK || way == HONE_COMPUTE_F32) continue;
        if (seconds[way] < seconds[*out]) *out = way;
        status = hone_buf_printf(&others, others.length ? " and %s %.2f" : "%s takes %.2f",
                                 hone_compute_names[way], seconds[way] / seconds[HONE_COMPUTE_F32]);
    }
    (void)!prepare(model, HONE_COMPUTE_F32, 0);
    if (status == HONE_OK)
        hone_run_say(run, "compute: %s, as %s of the time of f32 here", hone_compute_names[*out],
                     others.data);
    hone_buf_free(&others);
    return status;
}

static hone_status write_key(hone_buf *key, hone_run *run) {
    const hone_train_options *o = run->options;
    hone_machine machine;
    HONE_TRY(hone_session_hash_model(&run->session));
    HONE_TRY(hone_machine_look(&machine));
    return hone_buf_printf(key, "%s %s %s %d %s %lld %lld %lld", HONE_VERSION, machine.processor,
                           run->session.device.kernels->name, hone_threads(),
                           run->session.model_hash, (long long)o->batch_size, (long long)o->seq_len,
                           (long long)o->rank);
}

static hone_status choose(hone_compute *out, hone_run *run) {
    *out = HONE_COMPUTE_F32;
    if (run->options->full ||
        hone_arch_parameters(&run->session.model->arch) < (int64_t)LEAST_WEIGHTS)
        return HONE_OK;
    hone_buf key = {0};
    hone_status status = write_key(&key, run);
    if (status == HONE_OK) *out = hone_compute_recall(key.data);
    if (status == HONE_OK && *out != HONE_COMPUTE_AUTO) {
        hone_run_say(run, "compute: %s, as measured before", hone_compute_names[*out]);
    } else if (status == HONE_OK) {
        status = measure(out, run);
        if (status == HONE_OK) hone_compute_remember(key.data, *out);
    }
    hone_buf_free(&key);
    return status;
}

hone_status hone_run_settle_compute(hone_run *run) {
    run->compute = (hone_compute)run->options->compute;
    if (run->compute == HONE_COMPUTE_AUTO) {
        if (run->found.plan) {
            HONE_TRY(hone_run_recorded_compute(&run->compute, run));
        } else {
            HONE_TRY(choose(&run->compute, run));
        }
    }
    return prepare(run->session.model, run->compute, run->session.model->arch.layers);
}
