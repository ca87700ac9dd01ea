#include "train/metrics.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "formats/json.h"
#include "train/appender.h"
#include "train/tfevents.h"

static const char file_name[] = "metrics.jsonl";

struct hone_metrics {
    hone_appender lines;
    hone_tfevents *events;
    hone_buf line;
};

hone_status hone_metrics_open(hone_metrics **out, const char *folder) {
    *out = NULL;
    hone_metrics *metrics = hone_alloc(1, sizeof *metrics);
    if (!metrics) return HONE_ERR_MEMORY;
    char *path = hone_path_join(folder, file_name);
    hone_status status = path ? hone_appender_open(&metrics->lines, path, false) : HONE_ERR_MEMORY;
    if (status == HONE_OK) status = hone_tfevents_create(&metrics->events, folder);
    hone_free(path);
    if (status != HONE_OK) {
        hone_metrics_free(metrics);
        return status;
    }
    *out = metrics;
    return HONE_OK;
}

void hone_metrics_free(hone_metrics *metrics) {
    if (!metrics) return;
    hone_appender_close(&metrics->lines);
    hone_tfevents_free(metrics->events);
    hone_buf_free(&metrics->line);
    hone_free(metrics);
}

hone_status hone_metrics_sync(hone_metrics *metrics) {
    HONE_TRY(hone_appender_sync(&metrics->lines));
    return hone_tfevents_sync(metrics->events);
}

/* Appends `"key": number` with nine significant digits. */
static hone_status put_real(hone_buf *line, const char *key, double number) {
    if (!isfinite(number)) return hone_buf_printf(line, ", \"%s\": null", key);
    return hone_buf_printf(line, ", \"%s\": %.9g", key, number);
}

static hone_status put_int(hone_buf *line, const char *key, int64_t number) {
    return hone_buf_printf(line, ", \"%s\": %lld", key, (long long)number);
}

static hone_status begin_line(hone_buf *line, int64_t step) {
    hone_buf_clear(line);
    return hone_buf_printf(line, "{\"step\": %lld", (long long)step);
}

static hone_status end_line(hone_metrics *metrics) {
    HONE_TRY(hone_buf_puts(&metrics->line, "}\n"));
    return hone_appender_write(&metrics->lines, metrics->line.data, metrics->line.length);
}

hone_status hone_metrics_step(hone_metrics *metrics, const hone_step_metrics *step) {
    hone_buf *line = &metrics->line;
    HONE_TRY(begin_line(line, step->step));
    HONE_TRY(put_real(line, "loss", step->loss));
    HONE_TRY(put_real(line, "lr", step->lr));
    HONE_TRY(put_real(line, "grad_norm", step->grad_norm));
    HONE_TRY(put_int(line, "tokens", step->tokens));
    HONE_TRY(put_int(line, "supervised_tokens", step->supervised_tokens));
    HONE_TRY(put_real(line, "seconds", step->seconds));
    HONE_TRY(put_real(line, "tokens_per_second", step->tokens_per_second));
    HONE_TRY(put_int(line, "peak_bytes", step->peak_bytes));
    HONE_TRY(end_line(metrics));
    const hone_tfscalar scalars[] = {
        {"train/loss", step->loss},
        {"train/lr", step->lr},
        {"train/grad_norm", step->grad_norm},
        {"train/tokens_per_second", step->tokens_per_second},
        {"train/peak_bytes", (double)step->peak_bytes},
    };
    return hone_tfevents_scalars(metrics->events, step->step, scalars,
                                 sizeof scalars / sizeof *scalars);
}

hone_status hone_metrics_eval(hone_metrics *metrics, const hone_eval_metrics *eval) {
    hone_buf *line = &metrics->line;
    HONE_TRY(begin_line(line, eval->step));
    HONE_TRY(put_real(line, "eval_loss", eval->eval_loss));
    HONE_TRY(put_int(line, "eval_tokens", eval->eval_tokens));
    HONE_TRY(put_real(line, "eval_seconds", eval->eval_seconds));
    HONE_TRY(end_line(metrics));
    const hone_tfscalar scalar = {"eval/loss", eval->eval_loss};
    return hone_tfevents_scalars(metrics->events, eval->step, &scalar, 1);
}

/* Whether a line of metrics.jsonl is whole and its step is at most `step`. */
static bool is_kept(const char *line, size_t length, int64_t step) {
    json_t *object = NULL;
    if (hone_json_parse(&object, line, length, file_name) != HONE_OK) return false;
    const json_t *number = json_object_get(object, "step");
    bool kept = json_is_integer(number) && json_integer_value(number) <= step;
    json_decref(object);
    return kept;
}

/* Drops what a resumed run will write again; `text` keeps the rest. */
static void cut_lines(hone_buf *text, int64_t step) {
    size_t kept = 0;
    const char *end;
    for (size_t at = 0; (end = memchr(text->data + at, '\n', text->length - at));) {
        size_t length = (size_t)(end - text->data) - at;
        if (is_kept(text->data + at, length, step)) {
            memmove(text->data + kept, text->data + at, length + 1);
            kept += length + 1;
        }
        at += length + 1;
    }
    text->length = kept;
}

hone_status hone_metrics_resume(const char *folder, int64_t step) {
    char *path = hone_path_join(folder, file_name);
    if (!path) return HONE_ERR_MEMORY;
    hone_status status = HONE_OK;
    if (hone_path_exists(path)) {
        hone_buf text = {0};
        status = hone_file_get(&text, path);
        if (status == HONE_OK) {
            cut_lines(&text, step);
            status = hone_file_put(path, text.data, text.length);
        }
        hone_buf_free(&text);
    }
    hone_free(path);
    return status;
}
