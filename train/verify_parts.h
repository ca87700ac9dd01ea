/*
 * What the files of train/verify share. Not for callers.
 */
#ifndef HONE_TRAIN_VERIFY_PARTS_H
#define HONE_TRAIN_VERIFY_PARTS_H

#include "model/transformer.h"
#include "train/session.h"
#include "train/verify.h"

/* An exported file (or folder), opened. */
typedef struct hone_verify_side {
    char *path;            /* owned */
    bool whole;            /* a model; else an adapter, on the base's own weights and tokenizer */
    hone_model *model;     /* owned when whole */
    hone_adapter *adapter; /* owned; NULL when whole */
    hone_tokenizer *tokenizer; /* owned when whole */
    hone_chat_template *chat;  /* owned when whole */
    bool same; /* an adapter with the training side's bits: what is computed with it is the same */
    hone_dtype coarsest; /* of its matrices */
    hone_model *
        rounded; /* owned: its weights with the training side's settings, where answers are to be the same; else NULL */
} hone_verify_side;

/* A text as token ids. The mask says which tokens are targets; [0] never is. */
typedef struct hone_verify_text {
    int32_t *ids; /* owned, [count] */
    uint8_t *mask;
    int64_t count;
} hone_verify_text;

struct hone_verify {
    hone_session session;    /* the training side: model, adapter, tokenizer, template, data */
    hone_verify_side *sides; /* owned */
    size_t side_count, side_capacity;
    hone_verify_text *texts; /* owned */
    size_t text_count, text_capacity;
    hone_verify_check *checks; /* owned */
    size_t check_count, check_capacity;
    size_t same_begin, same_end; /* of them, on logits, of the first `same` side; 0, 0: none yet */
    int64_t tokens, continued;
    hone_buf reference;  /* in words */
    hone_buf text_names; /* in words */
    hone_buf warning;
    char *folder;                /* owned: of temporary files; NULL until there is one */
    char *base_gguf, *text_file; /* owned */
};

/* Most nat per token that a file of this type may differ by, and its logits. */
double hone_verify_limit(hone_dtype coarsest);
double hone_verify_logit_limit(hone_dtype coarsest);

/* What a file's answers are held against, and the type whose limits are those. */
typedef struct hone_verify_expected {
    hone_model *model;
    const hone_adapter *adapter;
    hone_dtype type;
} hone_verify_expected;

/* The training side; where hone_verify_expect_rounding said so, the training side with the file's own weights: then the
 * limits are those of F32. */
hone_verify_expected hone_verify_expectation(const hone_verify *v, const hone_verify_side *side);

/* Called when all weights of a file are roundings of the training side's. What rounding to a coarse type does to the
 * answers has no limit: how much a small model bears cannot be known. */
HONE_MUST_USE hone_status hone_verify_expect_rounding(const hone_verify *v, hone_verify_side *side);

/* The coarsest type among a file's matrices. */
HONE_MUST_USE hone_status hone_verify_coarsest(hone_dtype *out, const hone_model *model);

/* A new row, zeroed but for file, what and with ("hone"); NULL when memory is out. Good until the next one. */
hone_verify_check *hone_verify_add(hone_verify *v, const hone_verify_side *side, const char *what);

/* A path in a folder of this process's own. Owned by the caller. */
HONE_MUST_USE hone_status hone_verify_temporary(char **out, hone_verify *v, const char *name);

/* --- train/verify_reference.c: the training side --- */

/* Whether a path is a run folder, or an export in one; then *run is it (owned by the caller), else NULL. */
HONE_MUST_USE hone_status hone_verify_find_run(char **run, const char *path);

/* Opens the session with the parameters of the run's newest checkpoint. `template` NULL: the run's. */
HONE_MUST_USE hone_status hone_verify_open_run(hone_verify *v, const hone_verify_options *options,
                                               const char *run);

/* --- train/verify_text.c: tokens and templates --- */

/* Sample texts in several scripts; NULL after the last. */
extern const char *const hone_verify_passages[];

/* The texts that go through the models: of the session's samples, or the passages. */
HONE_MUST_USE hone_status hone_verify_gather(hone_verify *v);
HONE_MUST_USE hone_status hone_verify_tokens(hone_verify *v, const hone_verify_side *side);
HONE_MUST_USE hone_status hone_verify_template(hone_verify *v, const hone_verify_side *side);

/* --- train/verify.c --- */

/* The session, on the processor; the base's hash is known or begun. Arguments as hone_session_open. */
HONE_MUST_USE hone_status hone_verify_open_session(hone_verify *v,
                                                   const hone_verify_options *options,
                                                   const char *config, const char *chat,
                                                   uint64_t seed);

/* --- train/verify_rows.c --- */

/* Rows of a weight (of a vector all), merged and rounded to `type`, as floats [rows, columns] in the order of that form. */
HONE_MUST_USE hone_status hone_verify_rows(float *out, const hone_model *model,
                                           const hone_adapter *adapter, const hone_weight *weight,
                                           int64_t begin, int64_t rows, hone_dtype type,
                                           hone_form form);

/* --- train/verify_weights.c --- */

/* Factors of an adapter, or the merged weights of a model, against the training side's. */
HONE_MUST_USE hone_status hone_verify_weights(hone_verify *v, hone_verify_side *side);

/* --- train/verify_logits.c --- */

/* Logits, loss and greedy text; on a difference, the block after which it is first seen. */
HONE_MUST_USE hone_status hone_verify_logits(hone_verify *v, const hone_verify_side *side);

/* The likeliest `count` tokens after `ids`, into out; *gap (may be NULL) [count] is how far each logit is above the
 * next. */
HONE_MUST_USE hone_status hone_verify_greedy(int32_t *out, float *gap, hone_model *model,
                                             const hone_adapter *adapter, const int32_t *ids,
                                             int64_t length, int64_t count);

/* Negative log-likelihoods nll[i] of tokens 1 … count-1 of a text (nll[0] is 0). */
HONE_MUST_USE hone_status hone_verify_nll(double *nll, hone_model *model,
                                          const hone_adapter *adapter, const int32_t *ids,
                                          int64_t count);

#endif
