#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/verify_with.h"
#include "train/verify.h"

typedef struct settings {
    hone_verify_options options;
    hone_flag_list merged;
    const char *with;
    bool json;
    char label[128]; /* of the program; "" without one */
} settings;

/* --- JSON --- */

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *check_json(const hone_verify_check *c) {
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:o}", "file",
                     hone_json_text(c->file, strlen(c->file)), "what", c->what, "with",
                     hone_json_text(c->with, strlen(c->with)), "compared", json_string(c->compared),
                     "difference", number(c->difference), "limit", number(c->limit), "unit",
                     c->unit, "ok", (int)c->ok, "detail",
                     hone_json_text(c->detail, strlen(c->detail)));
}

static hone_status print_json(const hone_verify *v, const settings *s) {
    size_t count;
    const hone_verify_check *checks = hone_verify_checks(v, &count);
    const char *reference = hone_verify_reference(v), *texts = hone_verify_texts(v);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) json_array_append_new(list, check_json(&checks[i]));
    json_t *label = *s->label ? hone_json_text(s->label, strlen(s->label)) : json_null();
    return hone_print_json(
        json_pack("{s:b, s:o, s:o, s:o, s:o}", "agrees", (int)hone_verify_agrees(v),
                  "training_side", hone_json_text(reference, strlen(reference)), "texts",
                  hone_json_text(texts, strlen(texts)), "with", label, "checks", list));
}

/* --- The table --- */

static void print_row(const hone_verify_check *c) {
    char difference[32], limit[32];
    snprintf(difference, sizeof difference, "%.3g %s", c->difference, c->unit);
    snprintf(limit, sizeof limit, "%.3g", c->limit);
    printf("  %-16s %-16s %-18s %-8s %s\n", c->what, c->compared, difference, limit,
           c->ok ? "ok" : "DIFFERS");
    if (*c->detail) printf("  %-16s %s\n", "", c->detail);
}

static void print_table(const hone_verify *v) {
    size_t count;
    const hone_verify_check *checks = hone_verify_checks(v, &count);
    const char *file = "", *with = "";
    printf("training side: %s\ncompared on: %s\n", hone_verify_reference(v), hone_verify_texts(v));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(file, checks[i].file) != 0 || strcmp(with, checks[i].with) != 0) {
            file = checks[i].file;
            with = checks[i].with;
            printf("\n%s, read by %s\n", file, with);
            printf("  %-16s %-16s %-18s %-8s\n", "what", "how much", "largest difference", "limit");
        }
        print_row(&checks[i]);
    }
    putchar('\n');
    fflush(stdout); /* before what is said of it all */
}

static hone_status conclude(const hone_verify *v, const settings *s) {
    size_t count, differing = 0;
    const hone_verify_check *checks = hone_verify_checks(v, &count);
    const hone_verify_check *first = NULL;
    for (size_t i = count; i-- > 0;) {
        if (checks[i].ok) continue;
        first = &checks[i];
        differing++;
    }
    if (first) {
        return hone_fail(HONE_ERR_DATA, "%s: %zu of %zu comparisons differ, first the %s%s%s",
                         first->file, differing, count, first->what, *first->detail ? ": " : "",
                         first->detail);
    }
    if (*s->label) {
        hone_say("all %zu comparisons agree, by hone's own reader and %s", count, s->label);
    } else {
        hone_say("all %zu comparisons agree, by hone's own reader alone; --with PROGRAM runs one "
                 "of llama.cpp's too",
                 count);
    }
    return HONE_OK;
}

static hone_status check_settings(const settings *s) {
    const char *hash = s->options.model_hash;
    if (!s->options.model) return hone_fail(HONE_ERR_USAGE, "--model is missing");
    size_t length = HONE_SHA256_TEXT - 1;
    if (!hash || (strlen(hash) == length && strspn(hash, "0123456789abcdef") == length))
        return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "--model-hash %s: not the %zu hexadecimal digits of a SHA-256",
                     hash, length);
}

static hone_status verify(settings *s) {
    hone_verify *v;
    HONE_TRY(check_settings(s));
    HONE_TRY(hone_verify_open(&v, &s->options));
    if (*hone_verify_warning(v)) hone_warn("%s", hone_verify_warning(v));
    hone_status status = hone_verify_run(v);
    if (status == HONE_OK && s->with) status = hone_verify_with(s->label, v, s->with);
    if (status == HONE_OK && s->json) status = print_json(v, s);
    if (status == HONE_OK && !s->json) print_table(v);
    if (status == HONE_OK) status = conclude(v, s);
    hone_verify_close(v);
    return status;
}

static hone_status run(int argc, char **argv) {
    settings s = {.options = {.tokens = 4096, .continued = 32}};
    const hone_flag flags[] = {
        {"model", HONE_FLAG_TEXT, &s.options.model, .unit = "PATH", .text = "the base model"},
        {"model-hash", HONE_FLAG_TEXT, &s.options.model_hash, .unit = "SHA256",
         .text = "the base's SHA-256, where it is known: the file is not read once more for it"},
        {"adapter", HONE_FLAG_TEXT, &s.options.adapter, .unit = "PATH",
         .text = "what was trained: a run folder, a folder of PEFT or MLX-LM, or an adapter .gguf"},
        {"merged", HONE_FLAG_LIST, &s.merged, .unit = "PATH",
         .text = "a whole model that was exported, a .gguf or a folder (repeatable)"},
        {"data", HONE_FLAG_TEXT, &s.options.data, .unit = "PATH",
         .text = "records to compare on; by default the run's, else sample texts"},
        {"template", HONE_FLAG_TEXT, &s.options.template, .unit = "NAME",
         .text = "chat template; by default the run's, else the model's own"},
        {"with", HONE_FLAG_TEXT, &s.with, .unit = "PROGRAM",
         .text = "run this program of llama.cpp on the GGUF files too: llama-completion (or an "
                 "older llama-cli) for its greedy text, llama-perplexity for its perplexity"},
        {"tokens", HONE_FLAG_INT, &s.options.tokens, .unit = "N", .minimum = 2, .maximum = 1 << 30,
         .shown = "4096", .text = "about how many go through every model"},
        {"continued", HONE_FLAG_INT, &s.options.continued, .unit = "N", .minimum = 1,
         .maximum = 4096, .shown = "32", .text = "length of the greedy texts in tokens"},
        {"threads", HONE_FLAG_INT, &s.options.threads, .unit = "N", .maximum = 4096,
         .text = "threads; 0: OMP_NUM_THREADS, else every core"},
        {"json", HONE_FLAG_SWITCH, &s.json, .text = "print one JSON object"},
    };
    hone_arguments arguments = {0};
    hone_status status =
        hone_flags_parse(&arguments, &hone_command_verify, flags, HONE_COUNT(flags), argc, argv);
    if (status == HONE_OK && !arguments.help) {
        s.options.merged = s.merged.items;
        s.options.merged_count = s.merged.count;
        status = verify(&s);
    }
    hone_flag_list_free(&s.merged);
    return status;
}

const hone_command hone_command_verify = {
    .name = "verify",
    .usage = "--model PATH [--adapter PATH] [--merged PATH] [options]",
    .summary = "check that what was exported is what was trained",
    .run = run,
};
