#include "cli/self_check.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/child.h"
#include "cli/signals.h"

/* --- Rows --- */

/* The part of a path below the run folder. */
static const char *below(const char *path, const char *out) {
    size_t length = strlen(out);
    if (strncmp(path, out, length) != 0) return path;
    path += length;
    return path + strspn(path, "/");
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static hone_status add_row(hone_self_check *check, const json_t *one, const char *out) {
    hone_buf name = {0}, value = {0};
    char **texts = &check->texts[2 * check->count];
    bool ok = json_is_true(json_object_get(one, "ok"));
    hone_status status =
        hone_buf_printf(&name, "%s: %s", below(text_of(one, "file"), out), text_of(one, "what"));
    if (status == HONE_OK) {
        status = hone_buf_printf(
            &value, "%s, %.3g %s apart on %s, limit %.3g", ok ? "agrees" : "DIFFERS",
            json_number_value(json_object_get(one, "difference")), text_of(one, "unit"),
            text_of(one, "compared"), json_number_value(json_object_get(one, "limit")));
    }
    const char *detail = text_of(one, "detail");
    if (status == HONE_OK && *detail) status = hone_buf_printf(&value, ": %s", detail);
    texts[0] = name.data;
    texts[1] = value.data;
    check->rows[check->count++] = (hone_report_row){name.data, value.data};
    return status;
}

static hone_status make_rows(hone_self_check *check, const char *out) {
    const json_t *list = json_object_get(check->result, "checks");
    size_t i, count = json_array_size(list);
    json_t *one;
    check->rows = hone_alloc(count, sizeof *check->rows);
    check->texts = hone_alloc(2 * count, sizeof *check->texts);
    if (!check->rows || !check->texts) return HONE_ERR_MEMORY;
    json_array_foreach(list, i, one) HONE_TRY(add_row(check, one, out));
    return HONE_OK;
}

/* --- The process --- */

static hone_status make(hone_self_check *check, const hone_train_options *o,
                        const char *model_hash) {
    char threads[24];
    snprintf(threads, sizeof threads, "%lld", (long long)o->threads);
    const char *argv[] = {"/proc/self/exe", "verify",   "--model",      o->model,      "--adapter",
                          o->out,           "--tokens", "512",          "--continued", "16",
                          "--threads",      threads,    "--model-hash", model_hash,    "--json",
                          "--quiet",        NULL};
    hone_child_result said;
    hone_status status = hone_child_run(&said, argv);
    if (status == HONE_OK) {
        check->result = json_loadb(said.output.data, said.output.length, 0, NULL);
        status = hone_buf_append(&check->message, said.errors.data, said.errors.length);
    }
    if (status == HONE_OK && check->result) status = make_rows(check, o->out);
    hone_child_free(&said);
    return status;
}

static void *make_or_tell(void *context) {
    hone_self_check *check = context;
    if (make(check, check->options, check->model_hash) == HONE_OK) return NULL;
    hone_buf_clear(&check->message);
    (void)!hone_buf_puts(&check->message, hone_fail_message());
    return NULL;
}

void hone_self_check_begin(hone_self_check *check, const hone_train_options *options,
                           const char *model_hash) {
    check->options = options;
    check->model_hash = model_hash;
    check->running = pthread_create(&check->thread, NULL, make_or_tell, check) == 0;
    if (!check->running) (void)make_or_tell(check);
}

static void end(hone_self_check *check) {
    if (check->running) pthread_join(check->thread, NULL);
    check->running = false;
}

hone_report_table hone_self_check_rows(hone_self_check *check) {
    end(check);
    return (hone_report_table){check->rows, check->count};
}

void hone_self_check_free(hone_self_check *check) {
    end(check);
    json_decref(check->result);
    hone_buf_free(&check->message);
    for (size_t i = 0; check->texts && i < 2 * check->count; i++) hone_free(check->texts[i]);
    hone_free(check->texts);
    hone_free(check->rows);
    *check = (hone_self_check){0};
}

hone_status hone_self_check_status(const hone_self_check *check, const hone_train_options *o) {
    if (json_is_true(json_object_get(check->result, "agrees"))) return HONE_OK;
    const char *said = check->message.data ? check->message.data : "";
    if (strncmp(said, "hone: ", 6) == 0) said += 6;
    int length = (int)strcspn(said, "\n");
    if (check->result) {
        return hone_fail(HONE_ERR_DATA,
                         "the run is saved, but what was exported is not what was trained: %.*s",
                         length, said);
    }
    hone_status code = hone_signals_caught() ? HONE_ERR_INTERRUPTED : HONE_ERR_DATA;
    return hone_fail(code,
                     "the run is saved, but the check of its files was not finished: %.*s; repeat "
                     "it with hone verify --model %s --adapter %s",
                     length, said, o->model, o->out);
}
