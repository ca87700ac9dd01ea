/*
 * What another runtime says of the exported files, against the training side: for llama.cpp's programs, which a caller
 * runs.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/merge.h"
#include "train/verify_parts.h"

enum { WINDOW = 256, WINDOWS = 2 }; /* tokens; of a perplexity */

static const char prompt[] = "The baker opens at seven in the morning, and then";

const char *hone_verify_prompt(const hone_verify *v) {
    (void)v;
    return prompt;
}

int64_t hone_verify_continued(const hone_verify *v) {
    return v->continued;
}

/* --- Files to run --- */

/* The base as a GGUF file: its own, or one made of it. */
static hone_status find_base(hone_verify *v) {
    if (v->base_gguf) return HONE_OK;
    const hone_model *model = v->session.model;
    if (model->gguf) {
        v->base_gguf = hone_strdup(model->path);
        return v->base_gguf ? HONE_OK : HONE_ERR_MEMORY;
    }
    HONE_TRY(hone_verify_temporary(&v->base_gguf, v, "base.gguf"));
    hone_export_options how = {.tokenizer_path = v->session.base}; /* at its own types */
    return hone_model_export_gguf(model, NULL, v->base_gguf, &how);
}

hone_status hone_verify_targets(hone_verify_target *out, size_t *count, size_t most,
                                hone_verify *v) {
    *count = 0;
    for (size_t i = 0; i < v->side_count && *count < most; i++) {
        const hone_verify_side *side = &v->sides[i];
        if (!hone_path_ends(side->path, ".gguf")) continue;
        if (!side->whole) HONE_TRY(find_base(v));
        out[(*count)++] = (hone_verify_target){
            .model = side->whole ? side->path : v->base_gguf,
            .adapter = side->whole ? NULL : side->path,
            .side = i,
        };
    }
    return HONE_OK;
}

/* The runtime computes with the file's own types, F16 in its cache: its limits are those of F16 or coarser. */
static hone_status runtime_type(hone_dtype *out, const hone_verify *v,
                                const hone_verify_side *side) {
    HONE_TRY(hone_verify_coarsest(out, side->whole ? side->model : v->session.model));
    if (*out == HONE_F32) *out = HONE_F16;
    return HONE_OK;
}

static hone_verify_check *add_check(hone_verify *v, const hone_verify_target *target,
                                    const char *what, const char *program) {
    hone_verify_check *check = hone_verify_add(v, &v->sides[target->side], what);
    if (check) snprintf(check->with, sizeof check->with, "%s", program);
    return check;
}

/* --- Greedy text --- */

typedef struct continuation {
    int32_t *ids; /* owned, [count] */
    float *gap;
    int64_t count;
    hone_buf text;
} continuation;

static void free_continuation(continuation *c) {
    hone_free(c->ids);
    hone_free(c->gap);
    hone_buf_free(&c->text);
}

/* What is expected after the prompt, up to an end of generation. */
static hone_status continue_prompt(continuation *c, const hone_verify *v,
                                   const hone_verify_side *side) {
    const hone_session *s = &v->session;
    const hone_verify_expected ours = hone_verify_expectation(v, side);
    hone_encoding ids = {0};
    hone_encode_options how = {.add_special = true, .parse_special = true};
    c->ids = hone_alloc((size_t)v->continued + 1, sizeof *c->ids);
    c->gap = hone_alloc((size_t)v->continued + 1, sizeof *c->gap);
    hone_status status = c->ids && c->gap ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        status = hone_tokenizer_encode(s->tokenizer, &ids, prompt, strlen(prompt), &how);
    }
    if (status == HONE_OK) {
        status = hone_verify_greedy(c->ids, c->gap, ours.model, ours.adapter, ids.ids,
                                    (int64_t)ids.count, v->continued);
    }
    while (status == HONE_OK && c->count < v->continued &&
           !hone_tokenizer_ends(s->tokenizer, c->ids[c->count])) {
        status = hone_tokenizer_piece(s->tokenizer, &c->text, c->ids[c->count++], false);
    }
    if (status == HONE_OK) status = hone_buf_puts(&c->text, "");
    hone_encoding_free(&ids);
    return status;
}

typedef struct slice {
    const char *data;
    size_t length;
} slice;

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static slice trim(slice s) {
    while (s.length > 0 && is_space(*s.data)) s.data++, s.length--;
    while (s.length > 0 && is_space(s.data[s.length - 1])) s.length--;
    return s;
}

/* Programs may repeat the prompt and say that the text ended. */
static slice bare_answer(slice said) {
    static const char end[] = "[end of text]";
    said = trim(said);
    size_t n = strlen(prompt), e = strlen(end);
    if (said.length >= n && memcmp(said.data, prompt, n) == 0) {
        said = trim((slice){said.data + n, said.length - n});
    }
    if (said.length >= e && memcmp(said.data + said.length - e, end, e) == 0) {
        said = trim((slice){said.data, said.length - e});
    }
    return said;
}

/* The token that holds byte `at` of the trimmed text. */
static hone_status token_at(int64_t *token, const continuation *c, const hone_verify *v,
                            size_t at) {
    hone_buf text = {0};
    hone_status status = HONE_OK;
    size_t skipped = 0;
    while (is_space(c->text.data[skipped])) skipped++;
    for (*token = 0; status == HONE_OK && *token < c->count; ++*token) {
        status = hone_tokenizer_piece(v->session.tokenizer, &text, c->ids[*token], false);
        if (text.length > at + skipped) break;
    }
    hone_buf_free(&text);
    return status;
}

static hone_status judge(hone_verify_check *check, const continuation *c, const hone_verify *v,
                         slice said, double logit_limit) {
    slice wanted = trim((slice){c->text.data, c->text.length});
    size_t same = 0;
    while (same < wanted.length && same < said.length && wanted.data[same] == said.data[same]) {
        same++;
    }
    check->ok = same == wanted.length && same == said.length;
    if (check->ok) return HONE_OK;
    int64_t token;
    HONE_TRY(token_at(&token, c, v, same));
    double gap = token < v->continued ? (double)c->gap[token] : 0;
    check->ok = gap <= 2 * logit_limit && said.length > 0;
    check->difference = check->ok ? 0 : (double)(wanted.length - same);
    snprintf(check->detail, sizeof check->detail,
             check->ok ? "a tie at byte %zu: \"%.*s\" and \"%.*s\""
                       : "from byte %zu: \"%.*s\" instead of \"%.*s\"",
             same, (int)(said.length - same < 60 ? said.length - same : 60), said.data + same,
             (int)(wanted.length - same < 60 ? wanted.length - same : 60), wanted.data + same);
    return HONE_OK;
}

hone_status hone_verify_said(hone_verify *v, const hone_verify_target *target, const char *program,
                             const char *text, size_t length) {
    hone_dtype type;
    HONE_TRY(runtime_type(&type, v, &v->sides[target->side]));
    hone_verify_check *check = add_check(v, target, "greedy text", program);
    if (!check) return HONE_ERR_MEMORY;
    check->unit = "bytes";
    snprintf(check->compared, sizeof check->compared, "%lld tokens", (long long)v->continued);
    continuation c = {0};
    hone_status status = continue_prompt(&c, v, &v->sides[target->side]);
    if (status == HONE_OK) {
        status =
            judge(check, &c, v, bare_answer((slice){text, length}), hone_verify_logit_limit(type));
    }
    free_continuation(&c);
    return status;
}

/* --- Perplexity --- */

static int64_t window_of(const hone_verify *v) {
    int64_t context = v->session.model->arch.context;
    return context < WINDOW ? context : WINDOW;
}

static hone_status encode(hone_encoding *out, const hone_verify *v, const hone_buf *text) {
    hone_encode_options how = {.add_special = true};
    hone_encoding_clear(out);
    return hone_tokenizer_encode(v->session.tokenizer, out, text->data, text->length, &how);
}

/* The texts that models are compared on, one after the other and again, until there are WINDOWS windows of tokens. */
static hone_status join_texts(hone_buf *text, hone_encoding *ids, const hone_verify *v) {
    size_t wanted = (size_t)(WINDOWS * window_of(v)) + 8;
    for (size_t i = 0; ids->count < wanted; i = (i + 1) % v->text_count) {
        const hone_verify_text *one = &v->texts[i];
        if (text->length > 0) HONE_TRY(hone_buf_puts(text, " "));
        HONE_TRY(
            hone_tokenizer_decode(v->session.tokenizer, text, one->ids, (size_t)one->count, false));
        while (text->length > 0 && is_space(text->data[text->length - 1])) text->length--;
        HONE_TRY(hone_buf_puts(text, "."));
        HONE_TRY(encode(ids, v, text));
    }
    return HONE_OK;
}

hone_status hone_verify_perplexity_file(const char **path, int64_t *context, hone_verify *v) {
    *context = window_of(v);
    if (!v->text_file) {
        hone_buf text = {0};
        hone_encoding ids = {0};
        hone_status status = join_texts(&text, &ids, v);
        if (status == HONE_OK) status = hone_verify_temporary(&v->text_file, v, "text");
        if (status == HONE_OK) status = hone_file_put(v->text_file, text.data, text.length);
        hone_encoding_free(&ids);
        hone_buf_free(&text);
        HONE_TRY(status);
    }
    *path = v->text_file;
    return HONE_OK;
}

/* As llama-perplexity does it: windows one after the other, each begun with bos where the tokenizer adds one, the
 * second half of each counted. */
static hone_status perplexity_of(double *nll, const hone_verify *v, const hone_verify_side *side,
                                 const hone_encoding *ids) {
    const hone_session *s = &v->session;
    const hone_verify_expected ours = hone_verify_expectation(v, side);
    int64_t n = window_of(v), first = n / 2, counted = 0;
    int32_t *window = hone_alloc((size_t)n, sizeof *window);
    double *losses = hone_alloc((size_t)n, sizeof *losses), sum = 0;
    hone_status status = window && losses ? HONE_OK : HONE_ERR_MEMORY;
    for (int64_t w = 0; status == HONE_OK && w < WINDOWS; w++) {
        memcpy(window, ids->ids + w * n, (size_t)n * sizeof *window);
        if (hone_tokenizer_adds_bos(s->tokenizer)) window[0] = hone_tokenizer_bos(s->tokenizer);
        status = hone_verify_nll(losses, ours.model, ours.adapter, window, n);
        for (int64_t i = first + 1; i < n; i++, counted++) sum += losses[i];
    }
    *nll = sum / (double)(counted ? counted : 1);
    hone_free(window);
    hone_free(losses);
    return status;
}

static hone_status own_perplexity(double *nll, const hone_verify *v, const hone_verify_side *side) {
    hone_buf text = {0};
    hone_encoding ids = {0};
    hone_status status = hone_file_get(&text, v->text_file);
    if (status == HONE_OK) status = encode(&ids, v, &text);
    if (status == HONE_OK) status = perplexity_of(nll, v, side, &ids);
    hone_encoding_free(&ids);
    hone_buf_free(&text);
    return status;
}

hone_status hone_verify_perplexity(hone_verify *v, const hone_verify_target *target,
                                   const char *program, double perplexity) {
    hone_dtype type;
    double ours;
    HONE_TRY(runtime_type(&type, v, &v->sides[target->side]));
    HONE_TRY(own_perplexity(&ours, v, &v->sides[target->side]));
    hone_verify_check *check = add_check(v, target, "perplexity", program);
    if (!check) return HONE_ERR_MEMORY;
    check->unit = "nat";
    check->difference = fabs(log(perplexity) - ours);
    check->limit = hone_verify_limit(type) + 1e-4 / perplexity; /* it prints four digits */
    check->ok = check->difference <= check->limit;
    snprintf(check->compared, sizeof check->compared, "%lld tokens",
             (long long)(WINDOWS * window_of(v)));
    snprintf(check->detail, sizeof check->detail, "%.6g instead of %.6g", perplexity, exp(ours));
    return HONE_OK;
}
