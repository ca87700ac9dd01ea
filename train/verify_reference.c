/*
 * The training side of a run: the base, and the parameters that its newest checkpoint holds.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/adapter_factors.h"
#include "train/checkpoint.h"
#include "train/options.h"
#include "train/verify_parts.h"

static bool holds(const char *folder, const char *name) {
    char *path = hone_path_join(folder, name);
    bool there = path && hone_path_exists(path);
    hone_free(path);
    return there;
}

static bool is_run(const char *path) {
    return holds(path, "run.yaml") && holds(path, "checkpoints");
}

hone_status hone_verify_find_run(char **run, const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    *run = hone_strndup(path, length);
    if (!*run) return HONE_ERR_MEMORY;
    if (is_run(*run)) return HONE_OK;
    char *slash = strrchr(*run, '/');
    if (slash && slash != *run) {
        *slash = '\0';
    } else {
        hone_free(*run);
        *run = hone_strdup(slash ? "/" : ".");
        if (!*run) return HONE_ERR_MEMORY;
    }
    if (is_run(*run)) return HONE_OK;
    hone_free(*run);
    *run = NULL;
    return HONE_OK;
}

/* --- Tensors of the checkpoint --- */

/* Which group has the run's result: with early stopping the best parameters seen, else the last. */
static const char *result_group(const hone_train_options *o, const hone_checkpoint_state *state) {
    return o->early_stop > 0 && state->has_best ? "best" : "params";
}

/* Reads every parameter of a list, and *scales [scale_count] where there are any. */
static hone_status read_params(const hone_params *params, float *scales, int64_t scale_count,
                               const char *group, const char *path) {
    size_t count = params->count + (scale_count > 0);
    char(*names)[HONE_NAME + 16] = hone_alloc(count, sizeof *names);
    hone_checkpoint_tensor *tensors = hone_alloc(count, sizeof *tensors);
    float *host = hone_alloc((size_t)params->elements, sizeof *host);
    hone_status status = names && tensors && host ? HONE_OK : HONE_ERR_MEMORY;
    float *at = host;
    for (size_t i = 0; status == HONE_OK && i < params->count; i++) {
        const hone_tensor *t = params->items[i].tensor;
        snprintf(names[i], sizeof names[i], "%s/%s", group, params->items[i].name);
        tensors[i] = (hone_checkpoint_tensor){.name = names[i], .data = at, .dims = t->dims};
        memcpy(tensors[i].shape, t->shape, sizeof tensors[i].shape);
        at += hone_tensor_count(t);
    }
    if (status == HONE_OK && scale_count > 0) {
        tensors[count - 1] = (hone_checkpoint_tensor){
            .name = HONE_CHECKPOINT_SCALES, .data = scales, .dims = 1, .shape = {scale_count}};
    }
    if (status == HONE_OK) status = hone_checkpoint_read_some(tensors, count, path);
    if (status == HONE_OK) {
        status = hone_device_copy_in(params->values.device, params->values.base, host,
                                     (size_t)params->elements * sizeof *host);
    }
    hone_free(names);
    hone_free(tensors);
    hone_free(host);
    return status;
}

/* The ranks of pairs, by the names that the factors of an adapter of every layer would have. */
typedef struct ranks {
    const hone_params *every; /* A and B of all pairs, in turn */
    int64_t *rank;            /* [pairs] */
    int64_t found;
} ranks;

static hone_status note_rank(void *context, const char *name, int dims, const int64_t *shape) {
    ranks *r = context;
    const char *slash = strchr(name, '/');
    if (dims != 2 || !slash || strncmp(name, "params/", 7) != 0) return HONE_OK;
    for (size_t i = 0; i < r->every->count; i += 2) {
        if (strcmp(r->every->items[i].name, slash + 1) != 0) continue;
        r->rank[i / 2] = shape[0];
        r->found++;
    }
    return HONE_OK;
}

static hone_status declare_all(hone_adapter *adapter, const int64_t *rank) {
    int64_t i = 0;
    for (int64_t l = 0; l < adapter->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++, i++) {
            int64_t r = rank ? rank[i] : 1;
            if (r > 0) hone_adapter_declare(adapter, l, role, r, 1);
        }
    }
    return hone_adapter_allocate(adapter);
}

static hone_status find_ranks(ranks *out, const hone_model *model, const char *path) {
    hone_adapter *every;
    HONE_TRY(hone_adapter_new_empty(&every, model));
    hone_status status = declare_all(every, NULL);
    out->rank = hone_alloc(every->params.count / 2, sizeof *out->rank);
    if (status == HONE_OK && !out->rank) status = HONE_ERR_MEMORY;
    out->every = &every->params;
    if (status == HONE_OK) status = hone_checkpoint_list(path, note_rank, out);
    out->every = NULL;
    hone_adapter_free(every);
    if (status != HONE_OK || out->found > 0) return status;
    return hone_fail(HONE_ERR_FORMAT, "%s: holds no LoRA factors of this model", path);
}

static void set_scales(hone_adapter *adapter, const float *scales) {
    size_t i = 0, pairs = (size_t)adapter->model->arch.layers * HONE_LINEARS;
    for (size_t p = 0; p < pairs; p++) {
        if (adapter->pairs[p].rank > 0) adapter->pairs[p].scale = (double)scales[i++];
    }
}

/* Rows of B of q or k from the order of the form that the run's base had into that of this model. */
static hone_status turn_rows(hone_tensor *b, int64_t heads, const hone_model *model) {
    size_t row_bytes = (size_t)b->shape[1] * sizeof(float);
    size_t bytes = (size_t)b->shape[0] * row_bytes;
    void *rows = hone_alloc(1, bytes), *turned = hone_alloc(1, bytes);
    hone_status status = rows && turned ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_device_copy_out(model->device, rows, b->data, bytes);
    if (status == HONE_OK) {
        (model->arch.rope_interleaved ? hone_rows_to_gguf : hone_rows_to_hf)(
            turned, rows, heads, model->arch.head_size, row_bytes);
        status = hone_device_copy_in(model->device, b->data, turned, bytes);
    }
    hone_free(rows);
    hone_free(turned);
    return status;
}

static hone_status turn_factors(hone_adapter *adapter) {
    const hone_arch *arch = &adapter->model->arch;
    for (int64_t l = 0; l < arch->layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            hone_lora_pair *pair = hone_adapter_pair(adapter, l, role);
            int64_t heads = hone_rope_heads(arch, role);
            if (pair->rank > 0 && heads > 0) HONE_TRY(turn_rows(&pair->b, heads, adapter->model));
        }
    }
    return HONE_OK;
}

/* A checkpoint's rows of q and k are in the order of the form that the run's base had. */
static bool is_other_form(const hone_session *s, const hone_train_options *o) {
    const hone_arch *arch = &s->model->arch;
    bool interleaved =
        arch->family->permuted && !o->from_scratch && o->model && hone_path_ends(o->model, ".gguf");
    return interleaved != arch->rope_interleaved;
}

static hone_status open_factors(hone_session *s, const hone_train_options *o, const char *group,
                                const char *path) {
    ranks r = {0};
    hone_status status = find_ranks(&r, s->model, path);
    if (status == HONE_OK) status = hone_adapter_new_empty(&s->adapter, s->model);
    if (status == HONE_OK) status = declare_all(s->adapter, r.rank);
    float *scales = hone_alloc((size_t)r.found, sizeof *scales);
    if (status == HONE_OK && !scales) status = HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        status = read_params(&s->adapter->params, scales, r.found, group, path);
    }
    if (status == HONE_OK) set_scales(s->adapter, scales);
    if (status == HONE_OK && is_other_form(s, o)) status = turn_factors(s->adapter);
    hone_free(scales);
    hone_free(r.rank);
    return status;
}

static hone_status open_weights(hone_session *s, const hone_train_options *o, const char *group,
                                const char *path) {
    if (is_other_form(s, o)) {
        return hone_fail(HONE_ERR_DATA,
                         "%s: all weights were trained, in the form of %s; give that as --model",
                         path, o->model);
    }
    if (!o->from_scratch) HONE_TRY(hone_model_train_all(s->model));
    return read_params(&s->model->params, NULL, 0, group, path);
}

/* --- The run --- */

static hone_status check_state(const hone_checkpoint_state *state, const char *run) {
    if (state->finished) return HONE_OK;
    return hone_fail(HONE_ERR_DATA,
                     "%s: the run is not finished, so there is nothing exported yet; go on with "
                     "hone train --resume --out %s",
                     run, run);
}

static hone_status open_parameters(hone_verify *v, const hone_train_options *o, const char *path,
                                   const hone_checkpoint_state *state) {
    const char *group = result_group(o, state);
    HONE_TRY(o->full ? open_weights(&v->session, o, group, path)
                     : open_factors(&v->session, o, group, path));
    return hone_buf_printf(&v->reference, "%s with the %s of %s",
                           o->from_scratch ? o->from_scratch : v->session.model->path,
                           o->full ? "weights" : "factors", path);
}

static hone_status open_checkpoint(hone_verify *v, const hone_train_options *o, const char *run) {
    char *folder = hone_path_join(run, "checkpoints"), *path = NULL;
    hone_checkpoint_state state = {0};
    hone_status status =
        folder ? hone_checkpoint_latest(&path, &state, NULL, folder) : HONE_ERR_MEMORY;
    if (status == HONE_OK && !path) {
        status = hone_fail(HONE_ERR_DATA, "%s: no checkpoint of the run to compare with", folder);
    }
    if (status == HONE_OK) status = check_state(&state, run);
    if (status == HONE_OK) status = open_parameters(v, o, path, &state);
    hone_checkpoint_state_free(&state);
    hone_free(path);
    hone_free(folder);
    return status;
}

/* The records, as they were trained on; sample texts serve where they are gone. */
static hone_status open_records(hone_verify *v, const hone_train_options *o,
                                const hone_verify_options *options, const char *run) {
    hone_samples_options how = {
        .seq_len = o->seq_len,
        .overlong = (hone_overlong)o->too_long,
        .train_on = (hone_train_on)o->train_on,
        .eval_fraction = o->eval_fraction,
    };
    if (options->data) return hone_session_open_data(&v->session, options->data, NULL, &how);
    char *imported = hone_path_join(run, "data.h5");
    if (!imported) return HONE_ERR_MEMORY;
    const char *path = hone_path_exists(imported) ? imported : o->data;
    hone_status status = HONE_OK;
    if (path && hone_path_exists(path)) {
        status = hone_session_open_data(&v->session, path, NULL, &how);
    }
    hone_free(imported);
    return status;
}

static hone_status open_with(hone_verify *v, const hone_verify_options *options,
                             const hone_train_options *o, const char *run) {
    const char *chat = options->template ? options->template : o->template;
    HONE_TRY(hone_verify_open_session(v, options, o->from_scratch, chat, (uint64_t)o->seed));
    HONE_TRY(hone_chat_template_set(v->session.chat, o->template_vars));
    if (o->date) HONE_TRY(hone_chat_template_date(v->session.chat, o->date));
    HONE_TRY(open_checkpoint(v, o, run));
    return open_records(v, o, options, run);
}

hone_status hone_verify_open_run(hone_verify *v, const hone_verify_options *options,
                                 const char *run) {
    hone_train_options o;
    HONE_TRY(hone_train_options_default(&o));
    char *config = hone_path_join(run, "run.yaml");
    hone_status status = config ? hone_config_load(&o, config) : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = open_with(v, options, &o, run);
    hone_free(config);
    hone_train_options_free(&o);
    return status;
}
