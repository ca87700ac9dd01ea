#include "train/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/adapter_gguf.h"
#include "model/chat_choice.h"
#include "model/merge.h"
#include "train/verify_parts.h"

/* --- Limits --- */

/* By type, finest first. */
static const struct {
    hone_dtype type;
    double nat, logits;
} limits[] = {
    {HONE_F32, 1e-4, 1e-3},
    {HONE_F16, 5e-4, 5e-2},
    {HONE_BF16, 3e-3, 0.3},
    {HONE_Q8_0, 2e-2, 2.0},
};
enum { LIMITS = sizeof limits / sizeof *limits };

/* The row of a type; every quantised one but Q8_0 is coarser than all rows. */
static size_t limit_row(hone_dtype type) {
    size_t i = 0;
    while (i < LIMITS && limits[i].type != type) i++;
    return i;
}

double hone_verify_limit(hone_dtype coarsest) {
    size_t i = limit_row(coarsest);
    return limits[i < LIMITS ? i : LIMITS - 1].nat;
}

double hone_verify_logit_limit(hone_dtype coarsest) {
    size_t i = limit_row(coarsest);
    return limits[i < LIMITS ? i : LIMITS - 1].logits;
}

hone_status hone_verify_expect_rounding(const hone_verify *v, hone_verify_side *side) {
    if (limit_row(side->coarsest) < LIMITS) return HONE_OK;
    hone_model *model = hone_alloc(1, sizeof *model);
    if (!model) return HONE_ERR_MEMORY;
    bool interleaved = side->model->arch.rope_interleaved;
    *model = *side->model;
    model->arch = v->session.model->arch;
    model->arch.rope_interleaved = interleaved;
    model->rope = (hone_buffer){0}; /* by its own settings */
    model->rope_positions = 0;
    side->rounded = model;
    return HONE_OK;
}

hone_verify_expected hone_verify_expectation(const hone_verify *v, const hone_verify_side *side) {
    const hone_session *s = &v->session;
    if (!side->rounded) return (hone_verify_expected){s->model, s->adapter, side->coarsest};
    return (hone_verify_expected){side->rounded, NULL, HONE_F32};
}

/* --- Checks --- */

hone_verify_check *hone_verify_add(hone_verify *v, const hone_verify_side *side, const char *what) {
    if (hone_grow(&v->checks, &v->check_capacity, v->check_count + 1, sizeof *v->checks) !=
        HONE_OK) {
        return NULL;
    }
    hone_verify_check *check = &v->checks[v->check_count++];
    *check = (hone_verify_check){.file = side->path, .what = what, .with = "hone", .unit = ""};
    return check;
}

const hone_verify_check *hone_verify_checks(const hone_verify *v, size_t *count) {
    *count = v->check_count;
    return v->checks;
}

bool hone_verify_agrees(const hone_verify *v) {
    for (size_t i = 0; i < v->check_count; i++) {
        if (!v->checks[i].ok) return false;
    }
    return true;
}

const char *hone_verify_reference(const hone_verify *v) {
    return v->reference.data ? v->reference.data : "";
}

const char *hone_verify_warning(const hone_verify *v) {
    return v->warning.data ? v->warning.data : "";
}

const char *hone_verify_texts(const hone_verify *v) {
    return v->text_names.data ? v->text_names.data : "";
}

/* --- Exported files --- */

static hone_status new_side(hone_verify_side **out, hone_verify *v, const char *path) {
    HONE_TRY(hone_grow(&v->sides, &v->side_capacity, v->side_count + 1, sizeof *v->sides));
    hone_verify_side *side = &v->sides[v->side_count++];
    *side = (hone_verify_side){.path = hone_strdup(path), .chat = v->session.chat};
    *out = side;
    return side->path ? HONE_OK : HONE_ERR_MEMORY;
}

static hone_status add_adapter(hone_verify *v, const char *path) {
    hone_verify_side *side;
    HONE_TRY(new_side(&side, v, path));
    side->model = v->session.model;
    side->tokenizer = v->session.tokenizer;
    side->coarsest =
        HONE_F32; /* of what the adapter adds: the base's own weights are the same on both sides */
    hone_adapter_info use;
    HONE_TRY(hone_session_info(&use, &v->session));
    HONE_TRY(hone_adapter_open(&side->adapter, side->model, path, &use));
    if (v->warning.length > 0 || !side->adapter->doubts.other_base[0]) return HONE_OK;
    return hone_session_doubts(&v->warning, &v->session, side->adapter, path);
}

static void take_coarser(hone_dtype *coarsest, hone_dtype type) {
    if (limit_row(type) > limit_row(*coarsest)) *coarsest = type;
}

hone_status hone_verify_coarsest(hone_dtype *out, const hone_model *model) {
    *out = HONE_F32;
    for (size_t i = 0; model->gguf && i < hone_gguf_tensor_count(model->gguf); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(model->gguf, i);
        hone_dtype type;
        if (tensor->n_dims < 2) continue;
        HONE_TRY(hone_gguf_tensor_dtype(&type, model->gguf, tensor));
        take_coarser(out, type);
    }
    for (size_t i = 0; model->safetensors && i < hone_safetensors_count(model->safetensors); i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(model->safetensors, i);
        hone_dtype type;
        if (tensor->n_dims < 2) continue;
        HONE_TRY(hone_safetensors_dtype(&type, tensor));
        take_coarser(out, type);
    }
    return HONE_OK;
}

static hone_status add_model(hone_verify *v, const char *path) {
    hone_verify_side *side;
    HONE_TRY(new_side(&side, v, path));
    side->whole = true;
    side->chat = NULL;
    HONE_TRY(hone_model_open(&side->model, path, &v->session.device));
    HONE_TRY(hone_model_tokenizer(&side->tokenizer, path));
    HONE_TRY(hone_chat_choose(&side->chat, "auto", path, side->tokenizer));
    return hone_verify_coarsest(&side->coarsest, side->model);
}

/* A run leaves model.gguf or adapter.gguf out where GGUF cannot say what it holds. */
static bool can_be_gguf(const hone_verify *v) {
    if (v->session.adapter) return hone_adapter_check_gguf(v->session.adapter) == HONE_OK;
    hone_export_options how = {.tokenizer_path = v->session.base};
    return hone_model_check_gguf(v->session.model, &how) == HONE_OK;
}

/* What a run folder exports: all of a kind. */
static hone_status add_exports(hone_verify *v, const char *run) {
    static const char *const names[][2] = {{"adapter", "adapter.gguf"}, {"model", "model.gguf"}};
    bool whole = v->session.adapter == NULL;
    for (size_t i = 0; i < 2; i++) {
        char *path = hone_path_join(run, names[whole][i]);
        if (!path) return HONE_ERR_MEMORY;
        bool left_out = i == 1 && !hone_path_exists(path) && !can_be_gguf(v);
        hone_status status = left_out ? HONE_OK : whole ? add_model(v, path) : add_adapter(v, path);
        hone_free(path);
        HONE_TRY(status);
    }
    return HONE_OK;
}

static hone_status open_run(hone_verify *v, const hone_verify_options *o, const char *run) {
    HONE_TRY(hone_verify_open_run(v, o, run));
    if (strncmp(run, o->adapter, strlen(run)) == 0 &&
        strspn(o->adapter + strlen(run), "/") == strlen(o->adapter + strlen(run))) {
        return add_exports(v, run);
    }
    return v->session.adapter ? add_adapter(v, o->adapter) : add_model(v, o->adapter);
}

hone_status hone_verify_open_session(hone_verify *v, const hone_verify_options *o,
                                     const char *config, const char *chat, uint64_t seed) {
    hone_session *s = &v->session;
    HONE_TRY(hone_session_open(s, HONE_DEVICE_CPU, 0, o->model, config, chat, o->threads, seed,
                               !o->model_hash));
    if (o->model_hash) snprintf(s->model_hash, sizeof s->model_hash, "%s", o->model_hash);
    return HONE_OK;
}

/* An adapter by itself, or none: then whole models are compared with the base as it stands. */
static hone_status open_alone(hone_verify *v, const hone_verify_options *o) {
    hone_session *s = &v->session;
    HONE_TRY(hone_verify_open_session(v, o, NULL, o->template, 0));
    HONE_TRY(hone_buf_printf(&v->reference, "%s", o->model));
    if (o->adapter) {
        HONE_TRY(hone_session_open_adapter(s, &v->warning, o->adapter));
        HONE_TRY(hone_buf_printf(&v->reference, " with the adapter %s", o->adapter));
        if (hone_path_ends(o->adapter, ".gguf")) HONE_TRY(add_adapter(v, o->adapter));
    }
    if (!o->data) return HONE_OK;
    return hone_session_open_data(s, o->data, NULL, &(hone_samples_options){0});
}

static hone_status open_sides(hone_verify *v, const hone_verify_options *o) {
    char *run = NULL;
    if (o->adapter) HONE_TRY(hone_verify_find_run(&run, o->adapter));
    hone_status status = run ? open_run(v, o, run) : open_alone(v, o);
    hone_free(run);
    for (size_t i = 0; status == HONE_OK && i < o->merged_count; i++) {
        status = add_model(v, o->merged[i]);
    }
    if (status != HONE_OK || v->side_count > 0) return status;
    return hone_fail(HONE_ERR_USAGE,
                     "nothing to compare: give --adapter with a run folder, or --merged with a "
                     "model that was exported");
}

/* Greedy texts follow prompts of some dozen tokens, and end where the model's positions do. */
static void limit_continuation(hone_verify *v) {
    enum { PROMPT = 32 };
    int64_t room = v->session.model->arch.context - PROMPT;
    if (v->continued > room) v->continued = room > 0 ? room : 0;
}

hone_status hone_verify_open(hone_verify **out, const hone_verify_options *options) {
    hone_verify *v = hone_alloc(1, sizeof *v);
    if (!v) return HONE_ERR_MEMORY;
    v->tokens = options->tokens;
    v->continued = options->continued;
    hone_status status = open_sides(v, options);
    if (status == HONE_OK) status = hone_verify_gather(v);
    if (status == HONE_OK) limit_continuation(v);
    if (status != HONE_OK) {
        hone_verify_close(v);
        return status;
    }
    *out = v;
    return HONE_OK;
}

static void close_side(hone_verify_side *side) {
    hone_adapter_free(side->adapter);
    if (side->rounded) hone_buffer_free(&side->rounded->rope);
    hone_free(side->rounded);
    if (side->whole) {
        hone_chat_template_free(side->chat);
        hone_tokenizer_free(side->tokenizer);
        hone_model_close(side->model);
    }
    hone_free(side->path);
}

hone_status hone_verify_temporary(char **out, hone_verify *v, const char *name) {
    if (!v->folder) {
        const char *base = getenv("TMPDIR");
        v->folder = hone_path_join(base && *base ? base : "/tmp", "hone-verify-XXXXXX");
        if (!v->folder) return HONE_ERR_MEMORY;
        if (!mkdtemp(v->folder)) {
            hone_status status =
                hone_fail_errno(HONE_ERR_IO, "%s: cannot make a temporary folder", v->folder);
            hone_free(v->folder);
            v->folder = NULL;
            return status;
        }
    }
    *out = hone_path_join(v->folder, name);
    return *out ? HONE_OK : HONE_ERR_MEMORY;
}

void hone_verify_close(hone_verify *v) {
    if (!v) return;
    for (size_t i = 0; i < v->side_count; i++) close_side(&v->sides[i]);
    for (size_t i = 0; i < v->text_count; i++) {
        hone_free(v->texts[i].ids);
        hone_free(v->texts[i].mask);
    }
    if (v->folder) hone_dir_remove(v->folder);
    hone_free(v->folder);
    hone_free(v->base_gguf);
    hone_free(v->text_file);
    hone_free(v->sides);
    hone_free(v->texts);
    hone_free(v->checks);
    hone_buf_free(&v->reference);
    hone_buf_free(&v->text_names);
    hone_buf_free(&v->warning);
    hone_session_close(&v->session);
    hone_free(v);
}

/* --- Comparing --- */

/* Whether both sides have as many blocks, channels and tokens: otherwise nothing else can be compared. */
static hone_status check_shape(bool *same, hone_verify *v, const hone_verify_side *side) {
    const hone_arch *a = &v->session.model->arch, *b = &side->model->arch;
    *same = strcmp(a->family->gguf, b->family->gguf) == 0 && a->layers == b->layers &&
            a->width == b->width && a->vocabulary == b->vocabulary;
    if (*same) return HONE_OK;
    hone_verify_check *check = hone_verify_add(v, side, "architecture");
    if (!check) return HONE_ERR_MEMORY;
    check->difference = 1;
    check->unit = "shapes";
    snprintf(check->detail, sizeof check->detail,
             "%s with %lld blocks of width %lld and %lld tokens, instead of %s with %lld, %lld and "
             "%lld",
             b->family->model_type, (long long)b->layers, (long long)b->width,
             (long long)b->vocabulary, a->family->model_type, (long long)a->layers,
             (long long)a->width, (long long)a->vocabulary);
    return HONE_OK;
}

/* An adapter brings no tokenizer and no template, but says which it was trained with; another tokenizer was
 * refused when it was opened, and of another base a warning tells. */
static hone_status check_recorded(hone_verify *v, const hone_verify_side *side) {
    if (!side->adapter->doubts.other_template) return HONE_OK;
    hone_verify_check *check = hone_verify_add(v, side, "chat template");
    if (!check) return HONE_ERR_MEMORY;
    check->difference = 1;
    check->unit = "hashes";
    snprintf(check->compared, sizeof check->compared, "its hash");
    snprintf(check->detail, sizeof check->detail,
             "the file says that it was trained with another template");
    return HONE_OK;
}

static hone_status run_side(hone_verify *v, hone_verify_side *side) {
    bool same;
    HONE_TRY(check_shape(&same, v, side));
    if (!same) return HONE_OK;
    if (side->whole) HONE_TRY(hone_verify_tokens(v, side));
    HONE_TRY(side->whole ? hone_verify_template(v, side) : check_recorded(v, side));
    HONE_TRY(hone_verify_weights(v, side));
    return hone_verify_logits(v, side);
}

hone_status hone_verify_run(hone_verify *v) {
    for (size_t i = 0; i < v->side_count; i++) {
        hone_status status = run_side(v, &v->sides[i]);
        if (status != HONE_OK) return hone_fail_context(status, "%s", v->sides[i].path);
    }
    return HONE_OK;
}
