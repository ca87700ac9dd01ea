#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "formats/json.h"
#include "train/metrics.h"

/* A number that null (NaN, infinity) may stand for. */
static hone_status read_real(double *out, const json_t *object, const char *key, const char *name) {
    *out = NAN;
    return hone_json_opt_number(out, object, key, name);
}

static hone_status read_count(int64_t *out, const json_t *object, const char *key,
                              const char *name) {
    return hone_json_get_int(out, object, key, 0, INT64_MAX, name);
}

static hone_status read_eval(hone_metrics_history *out, const json_t *object, const char *name) {
    HONE_TRY(hone_grow(&out->evals, &out->eval_capacity, out->eval_count + 1, sizeof *out->evals));
    hone_eval_metrics *eval = &out->evals[out->eval_count];
    HONE_TRY(read_count(&eval->step, object, "step", name));
    HONE_TRY(read_real(&eval->eval_loss, object, "eval_loss", name));
    HONE_TRY(read_count(&eval->eval_tokens, object, "eval_tokens", name));
    HONE_TRY(read_real(&eval->eval_seconds, object, "eval_seconds", name));
    out->eval_count++;
    return HONE_OK;
}

static hone_status read_step(hone_metrics_history *out, const json_t *object, const char *name) {
    HONE_TRY(hone_grow(&out->steps, &out->step_capacity, out->step_count + 1, sizeof *out->steps));
    hone_step_metrics *step = &out->steps[out->step_count];
    HONE_TRY(read_count(&step->step, object, "step", name));
    HONE_TRY(read_real(&step->loss, object, "loss", name));
    HONE_TRY(read_real(&step->lr, object, "lr", name));
    HONE_TRY(read_real(&step->grad_norm, object, "grad_norm", name));
    HONE_TRY(read_count(&step->tokens, object, "tokens", name));
    HONE_TRY(read_count(&step->supervised_tokens, object, "supervised_tokens", name));
    HONE_TRY(read_real(&step->seconds, object, "seconds", name));
    HONE_TRY(read_real(&step->tokens_per_second, object, "tokens_per_second", name));
    HONE_TRY(read_count(&step->peak_bytes, object, "peak_bytes", name));
    out->step_count++;
    return HONE_OK;
}

static hone_status read_line(hone_metrics_history *out, const char *line, size_t length,
                             const char *name) {
    json_t *object;
    HONE_TRY(hone_json_parse(&object, line, length, name));
    hone_status status = json_object_get(object, "eval_loss") ? read_eval(out, object, name)
                                                              : read_step(out, object, name);
    json_decref(object);
    return status;
}

static hone_status read_lines(hone_metrics_history *out, const hone_buf *text, const char *path) {
    size_t number = 1;
    const char *end;
    for (size_t at = 0; (end = memchr(text->data + at, '\n', text->length - at)); number++) {
        char name[1100];
        snprintf(name, sizeof name, "%s: line %zu", path, number);
        size_t length = (size_t)(end - text->data) - at;
        HONE_TRY(read_line(out, text->data + at, length, name));
        at += length + 1;
    }
    return HONE_OK;
}

hone_status hone_metrics_read(hone_metrics_history *out, const char *folder) {
    *out = (hone_metrics_history){0};
    char *path = hone_path_join(folder, "metrics.jsonl");
    if (!path) return HONE_ERR_MEMORY;
    hone_buf text = {0};
    hone_status status = hone_file_get(&text, path);
    if (status == HONE_OK) status = read_lines(out, &text, path);
    if (status != HONE_OK) hone_metrics_history_free(out);
    hone_buf_free(&text);
    hone_free(path);
    return status;
}

void hone_metrics_history_free(hone_metrics_history *history) {
    hone_free(history->steps);
    hone_free(history->evals);
    *history = (hone_metrics_history){0};
}
