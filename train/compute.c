#include "train/compute.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "train/timing.h"

enum {
    BLOCKS = 2, /* that are measured */
    ROWS = 4,   /* of a pass that is measured, at most */
};

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

/* "int8 1.25e-03\n" */
static bool parse(hone_compute_found *out, const char *text) {
    for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) {
        size_t length = strlen(hone_compute_names[way]);
        if (strncmp(text, hone_compute_names[way], length) != 0 || text[length] != ' ') continue;
        char *end;
        *out = (hone_compute_found){way, strtod(text + length + 1, &end)};
        return strcmp(end, "\n") == 0 && isfinite(out->token_seconds) && out->token_seconds > 0;
    }
    return false;
}

hone_compute_found hone_compute_recall(const char *key) {
    char *path = cache_path(key);
    hone_buf text = {0};
    hone_compute_found found = {0};
    bool good = path && hone_path_exists(path) && hone_file_get(&text, path) == HONE_OK &&
                text.length > 0 && parse(&found, text.data);
    hone_buf_free(&text);
    hone_free(path);
    return good ? found : (hone_compute_found){HONE_COMPUTE_AUTO, 0};
}

void hone_compute_remember(const char *key, hone_compute_found found) {
    char *path = cache_path(key), line[40];
    snprintf(line, sizeof line, "%s %.2e\n", hone_compute_names[found.compute],
             found.token_seconds);
    if (path && hone_dir_make_parent(path) == HONE_OK)
        (void)!hone_file_put(path, line, strlen(line)); /* it is measured again next time */
    hone_free(path);
}

/* --- Measuring --- */

/* Makes so many blocks ready for a way; f32 is how all of them were. */
static hone_status prepare(hone_model *model, hone_compute way, int64_t blocks) {
    HONE_TRY(hone_model_whole(model));
    hone_model_bf16(model, way == HONE_COMPUTE_BF16);
    return way == HONE_COMPUTE_INT8 ? hone_model_int8(model, blocks) : HONE_OK;
}

/* Bytes that a measured pass may take; 0: any number. The smallest is tried in any case. */
static hone_status find_room(int64_t *out, const hone_run *run) {
    const hone_device *device = &run->session.device;
    int64_t promised = run->options->memory, left = promised - hone_resident_now().all;
    if (!hone_device_is_host(device)) {
        int64_t available, all;
        HONE_TRY(hone_device_look(&available, &all, device));
        left = available - all / 20;
        if (promised > 0 && promised - all + available < left) left = promised - all + available;
    }
    *out = promised == 0 && hone_device_is_host(device) ? 0 : left > 0 ? left : 1;
    return HONE_OK;
}

/* Seconds of a token, by hone_plan_cost. */
static hone_status time_one_way(double *seconds, const hone_run *run, double most) {
    const hone_train_options *o = run->options;
    hone_forward forward = {.model = run->session.model, .adapter = run->session.adapter};
    int64_t rows = o->batch_size < ROWS ? o->batch_size : ROWS;
    hone_pass_shape shape = {rows * o->seq_len, o->seq_len, 1, 0};
    HONE_TRY(find_room(&shape.memory, run));
    HONE_TRY(hone_time_pass(seconds, &forward, &shape, most));
    *seconds /= (double)shape.tokens * hone_plan_cost(HONE_RECOMPUTE_NONE, false, shape.tokens);
    return HONE_OK;
}

/* All ways, each in its part of the time that is left, the making of its weights included; 0 for those that there was no time
 * for, or no instructions. */
static hone_status time_ways(double seconds[HONE_COMPUTES], hone_run *run, double end) {
    bool bf16 = run->session.device.kernels->bf16_is_native;
    int left = bf16 ? 3 : 2;
    for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) {
        seconds[way] = 0;
        double now = hone_seconds();
        if ((way == HONE_COMPUTE_BF16 && !bf16) || (way != HONE_COMPUTE_F32 && now >= end))
            continue;
        double part = (end - now) / left--;
        HONE_TRY(prepare(run->session.model, way, BLOCKS));
        HONE_TRY(time_one_way(&seconds[way], run, now + part - hone_seconds()));
    }
    return HONE_OK;
}

/* "int8 takes 0.71 and bf16 1.20 of the time of f32 here" */
static void compare(char why[HONE_COMPUTE_WHY], const double seconds[HONE_COMPUTES]) {
    size_t used = 0;
    for (hone_compute way = HONE_COMPUTE_BF16; way < HONE_COMPUTES; way++) {
        if (seconds[way] == 0) continue;
        used += (size_t)snprintf(why + used, HONE_COMPUTE_WHY - used,
                                 used ? " and %s %.2f" : "%s takes %.2f", hone_compute_names[way],
                                 seconds[way] / seconds[HONE_COMPUTE_F32]);
    }
    snprintf(why + used, HONE_COMPUTE_WHY - used,
             used ? " of the time of f32 here" : "others take too long to measure here");
}

/* The fastest of all ways. Only a comparison is remembered. */
static hone_status measure(hone_run *run, const char *key, double end) {
    double seconds[HONE_COMPUTES];
    hone_status status = hone_model_rope(run->session.model, run->options->seq_len);
    if (status == HONE_OK) status = time_ways(seconds, run, end);
    (void)!prepare(run->session.model, HONE_COMPUTE_F32, 0);
    HONE_TRY(status);
    hone_compute_found found = {HONE_COMPUTE_F32, 0};
    bool compared = false;
    for (hone_compute way = HONE_COMPUTE_BF16; way < HONE_COMPUTES; way++) {
        if (seconds[way] == 0) continue;
        compared = true;
        if (seconds[way] < seconds[found.compute]) found.compute = way;
    }
    found.token_seconds = seconds[found.compute];
    if (compared) hone_compute_remember(key, found);
    compare(run->why, seconds);
    run->compute = found.compute;
    run->token_seconds = found.token_seconds;
    return HONE_OK;
}

/* What decides how long a pass takes: not the weights' values, so that nobody waits for a hash of them. */
static hone_status write_key(hone_buf *key, const hone_run *run) {
    const hone_train_options *o = run->options;
    const hone_model *model = run->session.model;
    const hone_arch *arch = &model->arch;
    hone_machine machine;
    HONE_TRY(hone_machine_look(&machine));
    return hone_buf_printf(key, "%s %s %s %d %lld %lld %lld %lld %lld %lld %lld %lld", HONE_VERSION,
                           machine.processor, run->session.device.kernels->name, hone_threads(),
                           (long long)hone_arch_parameters(arch),
                           (long long)hone_memory_weights(model), (long long)arch->layers,
                           (long long)arch->width, (long long)arch->vocabulary,
                           (long long)o->batch_size, (long long)o->seq_len, (long long)o->rank);
}

static void take(hone_run *run, hone_compute compute, const char *why) {
    run->compute = compute;
    snprintf(run->why, sizeof run->why, "%s", why);
}

bool hone_run_is_small(const hone_run *run) {
    return hone_arch_parameters(&run->session.model->arch) < run->small;
}

static hone_status choose(hone_run *run) {
    double end = hone_seconds() + run->auto_seconds;
    if (run->options->full) {
        take(run, HONE_COMPUTE_F32, "all parameters are trained");
        return HONE_OK;
    }
    if (hone_run_is_small(run)) {
        take(run, HONE_COMPUTE_F32, "fewer than 20 million parameters");
        return HONE_OK;
    }
    hone_buf key = {0};
    hone_status status = write_key(&key, run);
    if (status == HONE_OK) {
        hone_compute_found found = hone_compute_recall(key.data);
        run->token_seconds = found.token_seconds;
        take(run, found.compute, "as measured before");
        if (found.compute == HONE_COMPUTE_AUTO) status = measure(run, key.data, end);
    }
    hone_buf_free(&key);
    return status;
}

hone_status hone_run_settle_compute(hone_run *run) {
    take(run, (hone_compute)run->options->compute, "as asked for");
    if (run->compute == HONE_COMPUTE_AUTO) {
        if (run->found.plan) {
            take(run, HONE_COMPUTE_AUTO, "as the run began");
            HONE_TRY(hone_run_recorded_compute(&run->compute, run));
        } else {
            HONE_TRY(choose(run));
        }
    }
    return prepare(run->session.model, run->compute, run->session.model->arch.layers);
}

bool hone_run_may_compute_in_f32(const hone_run *run) {
    return run->options->compute == HONE_COMPUTE_AUTO && run->compute != HONE_COMPUTE_F32 &&
           !run->found.plan;
}

/* The evaluator's memory was planned for what the model was ready for. */
hone_status hone_run_compute_in_f32(hone_run *run) {
    hone_session *s = &run->session;
    char why[HONE_COMPUTE_WHY];
    snprintf(why, sizeof why, "%s takes more memory than there is",
             hone_compute_names[run->compute]);
    take(run, HONE_COMPUTE_F32, why);
    run->token_seconds = 0; /* that was the other way's */
    HONE_TRY(prepare(s->model, HONE_COMPUTE_F32, 0));
    if (!run->evaluator) return HONE_OK;
    hone_evaluator_free(run->evaluator);
    run->evaluator = NULL;
    return hone_evaluator_new(&run->evaluator, s->model, s->adapter, s->samples, HONE_SPLIT_EVAL);
}
