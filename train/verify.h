/*
 * A check that what was exported is what was trained: the exported files are opened anew and compared with the model on
 * the training side, by what they say and by what they hold.
 *
 *     training side     the base with the factors of a run's last checkpoint (or all weights of it, when all were
 *                       trained); of an adapter that is not in a run folder, the base with that adapter
 *     exported files    adapter/ and adapter.gguf, or model/ and model.gguf, of a run; merged models that are named
 *
 * Compared are token ids, chat templates and their renderings, weights, logits, losses and greedy text. Weights, row by
 * row, are held to what rounding the merged ones to their type makes. Limits of the loss go by the coarsest type of an
 * exported file's matrices, in nat per token: F32 1e-4, F16 5e-4, BF16 3e-3, Q8_0 2e-2. Coarser types change the loss by
 * as much as they do: where all weights are such roundings that is told, and the loss is held, to 1e-4, to that of the
 * training side with the rounded weights; else to 2e-2 like Q8_0.
 */
#ifndef HONE_TRAIN_VERIFY_H
#define HONE_TRAIN_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

typedef struct hone_verify_options {
    const char *model;      /* the base */
    const char *model_hash; /* hone_model_hash of it, where that is known; NULL: it is computed */
    const char *adapter;    /* a run folder, an adapter's folder or file; NULL with `merged` only */
    const char *const *merged; /* [merged_count] whole models that were exported */
    size_t merged_count;
    const char *data;     /* records; NULL: the run's, else sample texts */
    const char *template; /* NULL: the run's, else "auto" */
    int64_t tokens;       /* about how many go through every model */
    int64_t continued;    /* tokens of a greedy text */
    int64_t threads;      /* 0: every core */
} hone_verify_options;

/* One comparison of one file: a row of the table. */
typedef struct hone_verify_check {
    const char *file;  /* what was compared with the training side; borrowed from the hone_verify */
    const char *what;  /* "token ids", "logits" …; static */
    char with[128];    /* what read the file: "hone", or the program that ran it */
    char compared[64]; /* how much: "512 tokens" */
    double difference; /* the largest, in `unit` */
    double limit;      /* most that is fine */
    const char *unit;  /* "nat", "logits", "texts" …; static */
    char detail[400];  /* where the first difference is, or a remark; "" */
    bool ok;
} hone_verify_check;

typedef struct hone_verify hone_verify;

/* Opens the training side and the exported files. The texts of `options` are borrowed until it is closed. HONE_ERR_USAGE when there is nothing to compare. */
HONE_MUST_USE hone_status hone_verify_open(hone_verify **out, const hone_verify_options *options);
void hone_verify_close(hone_verify *verify); /* takes NULL */

/* Makes all comparisons that need no other program. A difference is no failure: it is a check that is not ok. */
HONE_MUST_USE hone_status hone_verify_run(hone_verify *verify);

const hone_verify_check *hone_verify_checks(const hone_verify *verify, size_t *count);
bool hone_verify_agrees(const hone_verify *verify); /* every check is ok */

/* A line for a person where an adapter was trained on another base, or with another template; "". */
const char *hone_verify_warning(const hone_verify *verify);

/* What the training side is, and which texts were used, in words for a person. */
const char *hone_verify_reference(const hone_verify *verify);
const char *hone_verify_texts(const hone_verify *verify);

/* --- Another runtime: llama.cpp --- */

/* A GGUF file to run, with an adapter beside it or not. */
typedef struct hone_verify_target {
    const char *model, *adapter; /* adapter: NULL for a whole model */
    size_t side;
} hone_verify_target;

/* The exported files that llama.cpp can load: *count of them, at most `most`. An adapter of a base that is no GGUF needs
 * the base as one: it is written to a temporary file, gone with the hone_verify. */
HONE_MUST_USE hone_status hone_verify_targets(hone_verify_target *out, size_t *count, size_t most,
                                              hone_verify *verify);

/* The prompt that a program is to continue by `continued` tokens, greedily; and the file of text that it is to take
 * the perplexity of in windows of `context` tokens, as llama-perplexity does. Both borrowed. */
const char *hone_verify_prompt(const hone_verify *verify);
int64_t hone_verify_continued(const hone_verify *verify);
HONE_MUST_USE hone_status hone_verify_perplexity_file(const char **path, int64_t *context,
                                                      hone_verify *verify);

/* Adds a check: what `program` said of a target against the training side. */
HONE_MUST_USE hone_status hone_verify_said(hone_verify *verify, const hone_verify_target *target,
                                           const char *program, const char *text, size_t length);
HONE_MUST_USE hone_status hone_verify_perplexity(hone_verify *verify,
                                                 const hone_verify_target *target,
                                                 const char *program, double perplexity);

#endif
