#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "train/run.h"

static void list_groups(hone_run *run) {
    hone_run_group *out = run->groups;
    out[0] = (hone_run_group){.name = "params", .buffer = &run->params->values};
    out[1] = (hone_run_group){.name = "adam_m", .buffer = &run->optimizer.m};
    out[2] = (hone_run_group){.name = "adam_v", .buffer = &run->optimizer.v};
    if (run->best.base) out[3] = (hone_run_group){.name = "best", .buffer = &run->best};
}

static hone_status name_tensor(hone_run *run, const char *group_name, const hone_param *param,
                               float *host) {
    hone_buf name = {0};
    HONE_TRY(hone_buf_printf(&name, "%s/%s", group_name, param->name));
    run->saved_names[run->saved_count] = name.data;
    hone_checkpoint_tensor *t = &run->saved[run->saved_count++];
    *t = (hone_checkpoint_tensor){.name = name.data, .data = host, .dims = param->tensor->dims};
    memcpy(t->shape, param->tensor->shape, sizeof t->shape);
    return HONE_OK;
}

/* The factors alone do not say how much they count. */
static hone_status add_scales(hone_run *run) {
    const hone_adapter *adapter = run->session.adapter;
    if (!adapter) return HONE_OK;
    float *host = run->saved_scales = hone_alloc(run->params->count, sizeof *host);
    if (!host) return HONE_ERR_MEMORY;
    int64_t count = 0, pairs = adapter->model->arch.layers * HONE_LINEARS;
    for (int64_t i = 0; i < pairs; i++) {
        if (adapter->pairs[i].rank > 0) host[count++] = (float)adapter->pairs[i].scale;
    }
    char *name = hone_strdup(HONE_CHECKPOINT_SCALES);
    if (!name) return HONE_ERR_MEMORY;
    run->saved_names[run->saved_count] = name;
    run->saved[run->saved_count++] =
        (hone_checkpoint_tensor){.name = name, .data = host, .dims = 1, .shape = {count, 1, 1, 1}};
    return HONE_OK;
}

static hone_status name_group(hone_run *run, hone_run_group *group) {
    float *at = hone_buffer_on_host(group->buffer);
    if (!at) at = group->copy = hone_alloc(1, group->buffer->bytes);
    if (!at) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < run->params->count; i++) {
        const hone_param *param = &run->params->items[i];
        HONE_TRY(name_tensor(run, group->name, param, at));
        at += hone_tensor_count(param->tensor);
    }
    return HONE_OK;
}

/* Checkpoints are written from, and read to, where the buffers lie: no copies where the host can. */
hone_status hone_run_state_prepare(hone_run *run) {
    size_t most = HONE_RUN_GROUPS * run->params->count + 1;
    run->saved = hone_alloc(most, sizeof *run->saved);
    run->saved_names = hone_alloc(most, sizeof *run->saved_names);
    if (!run->saved || !run->saved_names) return HONE_ERR_MEMORY;
    list_groups(run);
    for (int g = 0; g < HONE_RUN_GROUPS && run->groups[g].buffer; g++)
        HONE_TRY(name_group(run, &run->groups[g]));
    return add_scales(run);
}

static hone_status fetch_groups(const hone_run *run) {
    for (int g = 0; g < HONE_RUN_GROUPS; g++) {
        const hone_run_group *group = &run->groups[g];
        if (!group->copy) continue;
        HONE_TRY(hone_device_copy_out(&run->session.device, group->copy, group->buffer->base,
                                      group->buffer->bytes));
    }
    return HONE_OK;
}

static hone_status return_groups(const hone_run *run) {
    for (int g = 0; g < HONE_RUN_GROUPS; g++) {
        const hone_run_group *group = &run->groups[g];
        if (!group->copy) continue;
        HONE_TRY(hone_device_copy_in(&run->session.device, group->buffer->base, group->copy,
                                     group->buffer->bytes));
    }
    return HONE_OK;
}

/* The first step does not wait for it: a checkpoint is the first to need it. */
static hone_status name_model(hone_run *run) {
    HONE_TRY(hone_session_hash_model(&run->session));
    memcpy(run->state.model_hash, run->session.model_hash, HONE_SHA256_TEXT);
    return HONE_OK;
}

hone_status hone_run_save(hone_run *run) {
    if (!hone_run_leads(run)) return HONE_OK;
    HONE_TRY(name_model(run));
    HONE_TRY(hone_metrics_sync(run->metrics));
    HONE_TRY(fetch_groups(run));
    char *folder = hone_run_path(run, "checkpoints");
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = hone_checkpoint_write(folder, &run->state, run->saved, run->saved_count,
                                               run->options->checkpoint_keep);
    hone_free(folder);
    run->saved_at = hone_seconds();
    if (status == HONE_OK) run->saved_step = run->state.step;
    run->has_checkpoint = run->has_checkpoint || status == HONE_OK;
    return status;
}

/* What must be the same for bits to be the same. */
static hone_status check_same_run(const hone_checkpoint_state *now,
                                  const hone_checkpoint_state *then, const char *path) {
    const struct {
        const char *what, *now, *then;
    } rows[] = {
        {"the model", now->model_hash, then->model_hash},
        {"the data", now->data_hash, then->data_hash},
        {"the tokenizer", now->tokenizer_hash, then->tokenizer_hash},
        {"the options", now->config, then->config},
        {"the plan (threads, instruction set, batch)", now->plan, then->plan},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].now, rows[i].then) == 0) continue;
        return hone_fail(
            HONE_ERR_USAGE,
            "%s: %s changed since this checkpoint was written, so the result would differ; "
            "resume with what the run began with, or start a new run",
            path, rows[i].what);
    }
    return HONE_OK;
}

hone_status hone_run_find_checkpoint(hone_run *run) {
    char *folder = hone_run_path(run, "checkpoints");
    if (!folder) return HONE_ERR_MEMORY;
    hone_buf refused = {0};
    hone_status status = hone_checkpoint_latest(&run->found_path, &run->found, &refused, folder);
    if (refused.length) hone_run_say(run, "passed over a damaged checkpoint: %s", refused.data);
    hone_buf_free(&refused);
    hone_free(folder);
    return status;
}

/* By one process for all, which have compared what they found. */
static hone_status check_found(hone_run *run) {
    HONE_TRY(name_model(run));
    HONE_TRY(hone_run_check_names(run));
    return check_same_run(&run->state, &run->found, run->found_path);
}

hone_status hone_run_restore(hone_run *run) {
    if (!run->found_path) {
        hone_run_say(run, "%s holds no checkpoint yet: starting from the beginning",
                     run->options->out);
        return HONE_OK;
    }
    if (hone_run_leads(run)) HONE_TRY(check_found(run));
    HONE_TRY(hone_checkpoint_read(run->saved, run->saved_count, run->found_path));
    HONE_TRY(return_groups(run));
    hone_checkpoint_state_free(&run->state);
    run->state = run->found;
    run->found = (hone_checkpoint_state){0};
    run->result.resumed_from = run->state.step;
    run->has_checkpoint = true;
    run->saved_step = run->state.step;
    hone_run_say(run, "resumed from step %lld of %lld", (long long)run->state.step,
                 (long long)run->steps);
    return HONE_OK;
}
