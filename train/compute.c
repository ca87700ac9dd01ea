#include "train/compute.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/machine.h"
#include "base/parallel.h"
#include "train/attention_kind.h"
#include "train/measured.h"
#include "train/timing.h"

enum {
    BLOCKS = 2, /* that are measured */
    ROWS = 4,   /* of a pass that is measured, at most */
};

/* --- Measuring --- */

hone_precision hone_compute_precision(hone_compute way) {
    static const hone_precision precisions[HONE_COMPUTES] = {
        [HONE_COMPUTE_TF32] = HONE_PRODUCTS_TF32,
        [HONE_COMPUTE_BF16] = HONE_PRODUCTS_BF16,
        [HONE_COMPUTE_FP8] = HONE_PRODUCTS_FP8,
    };
    return precisions[way];
}

hone_status hone_compute_prepare(hone_model *model, hone_compute way, int64_t blocks) {
    HONE_TRY(hone_model_whole(model));
    HONE_TRY(hone_model_precision(model, hone_compute_precision(way)));
    return way == HONE_COMPUTE_INT8 ? hone_model_int8(model, blocks) : HONE_OK;
}

static hone_status prepare(hone_run *run, hone_compute way, int64_t blocks) {
    hone_model_attention(run->session.model, hone_run_likely_attention(run, way));
    return hone_compute_prepare(run->session.model, way, blocks);
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

hone_status hone_run_time_token(double *seconds, const hone_run *run, double most) {
    const hone_train_options *o = run->options;
    hone_forward forward = {.model = run->session.model, .adapter = run->session.adapter};
    int64_t rows = o->batch_size < ROWS ? o->batch_size : ROWS;
    hone_pass_shape shape = {rows * o->seq_len, o->seq_len, 1, 0};
    HONE_TRY(find_room(&shape.memory, run));
    hone_status status = hone_time_pass(seconds, &forward, &shape, most);
    if (status == HONE_ERR_UNSUPPORTED && hone_device_forgive(&run->session.device)) {
        *seconds = 0;
        return HONE_OK;
    }
    HONE_TRY(status);
    *seconds /= (double)shape.tokens * hone_plan_cost(HONE_RECOMPUTE_NONE, false, shape.tokens);
    return HONE_OK;
}

/* Whether `auto` may take a way: not where the device has no instructions for it; and fp8 rounds so much that it is for those
 * who ask for it. */
static bool is_open(const hone_run *run, hone_compute way) {
    return way != HONE_COMPUTE_FP8 &&
           hone_precisions_have(run->session.device.kernels->native, hone_compute_precision(way));
}

/* All ways; 0 for those that there was no time for, or no instructions, or at which a library of the device's failed. On the
 * host each takes its part of the time that is left, the making of its weights included; on a GPU all have the same time for
 * what counts, so that passes of the same size are compared. */
static hone_status time_ways(double seconds[HONE_COMPUTES], hone_run *run, double end) {
    bool host = hone_device_is_host(&run->session.device);
    int left = 0;
    for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) left += is_open(run, way);
    double each = run->auto_seconds / left;
    for (hone_compute way = HONE_COMPUTE_F32; way < HONE_COMPUTES; way++) {
        seconds[way] = 0;
        double now = hone_seconds();
        bool late = host && way != HONE_COMPUTE_F32 && now >= end;
        if (!is_open(run, way) || late) continue;
        double part = (end - now) / left--;
        HONE_TRY(prepare(run, way, BLOCKS));
        if (host) each = now + part - hone_seconds();
        HONE_TRY(hone_run_time_token(&seconds[way], run, each));
        if (seconds[HONE_COMPUTE_F32] == 0) return HONE_ERR_UNSUPPORTED; /* as it was told */
    }
    return HONE_OK;
}

/* "int8 takes 0.71 and bf16 1.20 of the time of f32 here" */
static void compare(char why[HONE_COMPUTE_WHY], const double seconds[HONE_COMPUTES]) {
    size_t used = 0;
    for (hone_compute way = HONE_COMPUTE_F32 + 1; way < HONE_COMPUTES; way++) {
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
    (void)!prepare(run, HONE_COMPUTE_F32, 0);
    HONE_TRY(status);
    hone_measured found = {HONE_COMPUTE_F32, 0};
    bool compared = false;
    for (hone_compute way = HONE_COMPUTE_F32 + 1; way < HONE_COMPUTES; way++) {
        if (seconds[way] == 0) continue;
        compared = true;
        if (seconds[way] < seconds[found.word]) found.word = way;
    }
    found.token_seconds = seconds[found.word];
    if (compared) hone_measured_remember(key, hone_compute_names, found);
    compare(run->why, seconds);
    run->compute = (hone_compute)found.word;
    run->token_seconds = found.token_seconds;
    return HONE_OK;
}

/* Not of the weights' values, so that nobody waits for a hash of them. */
hone_status hone_run_measured_key(hone_buf *key, const hone_run *run) {
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
    hone_status status = hone_run_measured_key(&key, run);
    if (status == HONE_OK) {
        hone_measured found = hone_measured_recall(key.data, hone_compute_names);
        run->token_seconds = found.token_seconds;
        take(run, (hone_compute)found.word, "as measured before");
        if (run->compute == HONE_COMPUTE_AUTO) status = measure(run, key.data, end);
    }
    hone_buf_free(&key);
    return status;
}

/* The first process measures for all. */
static hone_status choose_together(hone_run *run) {
    HONE_TRY(hone_group_agree(&run->group, hone_run_leads(run) ? choose(run) : HONE_OK));
    double way = run->compute;
    HONE_TRY(hone_group_follow(&run->group, &way));
    run->compute = (hone_compute)way;
    return HONE_OK;
}

hone_status hone_run_settle_compute(hone_run *run) {
    take(run, (hone_compute)run->options->compute, "as asked for");
    if (run->compute == HONE_COMPUTE_AUTO) {
        if (run->found.plan) {
            take(run, HONE_COMPUTE_AUTO, "as the run began");
            HONE_TRY(hone_run_recorded_compute(&run->compute, run));
        } else {
            HONE_TRY(choose_together(run));
        }
    }
    return prepare(run, run->compute, run->session.model->arch.layers);
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
    HONE_TRY(prepare(run, HONE_COMPUTE_F32, 0));
    HONE_TRY(hone_run_settle_attention(run));
    if (!run->evaluator) return HONE_OK;
    hone_evaluator_free(run->evaluator);
    run->evaluator = NULL;
    return hone_evaluator_new(&run->evaluator, s->model, s->adapter, s->samples, HONE_SPLIT_EVAL);
}
