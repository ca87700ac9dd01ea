#include "cli/verify_with.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/child.h"

enum { MOST_TARGETS = 16, NUMBER = 24, MOST_TRIES = 8 };

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- Which program it is --- */

/* The line that begins with "version", of a stream that may hold more; NULL when there is none. */
static const char *version_line(const hone_buf *stream) {
    for (const char *at = stream->data; at; at = strchr(at, '\n')) {
        if (*at == '\n') at++;
        if (strncmp(at, "version", 7) == 0) return at;
    }
    return NULL;
}

static hone_status ask_version(char label[128], const char *program) {
    const char *argv[] = {program, "--version", NULL};
    hone_child_result said;
    hone_status status = hone_child_run(&said, argv);
    if (status == HONE_OK) {
        const char *line = version_line(&said.errors);
        if (!line) line = version_line(&said.output);
        if (!line) line = "no version line";
        snprintf(label, 128, "%s, %.*s", base_name(program), (int)strcspn(line, "\n"), line);
    }
    hone_child_free(&said);
    return status;
}

/* --- Running it --- */

static hone_status refuse_exit(const char *program, const hone_child_result *said) {
    const char *text = said->errors.data;
    size_t end = said->errors.length;
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' ')) end--;
    size_t begin = end;
    while (begin > 0 && text[begin - 1] != '\n') begin--;
    return hone_fail(HONE_ERR_IO, "%s: ended with exit status %d: %.*s", program, said->status,
                     (int)(end - begin), text + begin);
}

/* Whether what a program said is there to its end. */
typedef bool (*is_whole)(const hone_child_result *said);

/* Newer llama.cpp writes by a thread of its own, and loses what that has not come to when the program ends: then it is run
 * again. */
static hone_status run_whole(hone_child_result *out, const char *const *argv, is_whole whole) {
    hone_status status = hone_child_run(out, argv);
    for (int i = 1; status == HONE_OK && out->status == 0 && !whole(out) && i < MOST_TRIES; i++) {
        hone_child_free(out);
        status = hone_child_run(out, argv);
    }
    return status;
}

/* Options that both kinds share come first; `rest` is NULL-ended. */
static hone_status run(hone_child_result *out, const char *program,
                       const hone_verify_target *target, const char *const *rest, is_whole whole) {
    /* a cache in F32, so that what is measured is the file */
    const char *argv[24] = {program, "-m", target->model, "-ctk", "f32", "-ctv", "f32"};
    size_t n = 7;
    if (target->adapter) {
        argv[n++] = "--lora";
        argv[n++] = target->adapter;
    }
    while (*rest) argv[n++] = *rest++;
    hone_status status = run_whole(out, argv, whole);
    if (status == HONE_OK && out->status != 0) status = refuse_exit(program, out);
    return status;
}

/* The text is followed by empty lines. */
static bool ends_in_line(const hone_child_result *said) {
    size_t length = said->output.length;
    return length > 0 && said->output.data[length - 1] == '\n';
}

static hone_status ask_text(hone_verify *v, const hone_verify_target *target, const char *program,
                            const char *label) {
    char count[NUMBER];
    snprintf(count, sizeof count, "%lld", (long long)hone_verify_continued(v));
    const char *rest[] = {"-p",      hone_verify_prompt(v), "-n",          count, "--temp", "0",
                          "-no-cnv", "--no-display-prompt", "--simple-io", NULL};
    hone_child_result said;
    hone_status status = run(&said, program, target, rest, ends_in_line);
    if (status == HONE_OK) {
        status = hone_verify_said(v, target, label, said.output.data, said.output.length);
    }
    hone_child_free(&said);
    return status;
}

static const char estimate_mark[] = "Final estimate: PPL =";

/* Behind the mark of "Final estimate: PPL = 5.1234 +/- 0.01", on either stream; NULL when it is not there. */
static const char *find_estimate(const hone_child_result *said) {
    const char *at = strstr(said->output.data, estimate_mark);
    if (!at) at = strstr(said->errors.data, estimate_mark);
    return at ? at + strlen(estimate_mark) : NULL;
}

static bool has_estimate(const hone_child_result *said) {
    return find_estimate(said) != NULL;
}

static hone_status read_estimate(double *out, const hone_child_result *said, const char *program) {
    const char *at = find_estimate(said);
    *out = at ? strtod(at, NULL) : 0;
    if (*out > 0 && isfinite(*out)) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: its output has no line \"%s …\"; is it llama-perplexity?", program,
                     estimate_mark);
}

static hone_status ask_perplexity(hone_verify *v, const hone_verify_target *target,
                                  const char *program, const char *label) {
    const char *path;
    int64_t context;
    HONE_TRY(hone_verify_perplexity_file(&path, &context, v));
    char window[NUMBER];
    snprintf(window, sizeof window, "%lld", (long long)context);
    const char *rest[] = {"-f", path, "-c", window, "--chunks", "2", NULL};
    hone_child_result said;
    double perplexity;
    hone_status status = run(&said, program, target, rest, has_estimate);
    if (status == HONE_OK) status = read_estimate(&perplexity, &said, program);
    if (status == HONE_OK) status = hone_verify_perplexity(v, target, label, perplexity);
    hone_child_free(&said);
    return status;
}

hone_status hone_verify_with(char label[128], hone_verify *v, const char *program) {
    hone_verify_target targets[MOST_TARGETS];
    size_t count;
    HONE_TRY(ask_version(label, program));
    HONE_TRY(hone_verify_targets(targets, &count, MOST_TARGETS, v));
    if (count == 0) {
        return hone_fail(HONE_ERR_USAGE,
                         "--with: there is no GGUF file to run; export one with --format gguf or "
                         "gguf-adapter");
    }
    bool perplexity = strstr(base_name(program), "perplexity") != NULL;
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(perplexity ? ask_perplexity(v, &targets[i], program, label)
                            : ask_text(v, &targets[i], program, label));
    }
    return HONE_OK;
}
