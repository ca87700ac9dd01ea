/*
 * Samples: the records of a data file as token ids with a loss mask, as the model will see them.
 *
 * A {"text"} record is encoded with the bos and eos that the tokenizer adds, and an eos at its end if it has none yet;
 * every token counts. A {"messages"} record is rendered by the chat template, its control tokens parsed outside of what
 * people wrote, nothing added; where a turn's text depends on later ones it becomes a sample for each of the assistant's
 * turns. A token is a target when the first byte it stands for lies in a supervised span: a token
 * that begins before the span (a merge across the seam) belongs to the prompt, one that begins inside and runs past the
 * end belongs to the answer. Token 0 of a sample is never a target.
 *
 * Token ids are computed once and kept beside the data file in `<data>.tokens-<key>`; the key follows from the records,
 * the tokenizer, the template with its variables, what is trained on, the length policy and the version of this code. It is written whole
 * and renamed. Only a fixed part of it is in memory at any time.
 */
#ifndef HONE_DATA_SAMPLES_H
#define HONE_DATA_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "data/datafile.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* What to do with a record of more than seq_len tokens. */
typedef enum hone_overlong {
    HONE_OVERLONG_REFUSE,   /* fail with the count and the longest */
    HONE_OVERLONG_TRUNCATE, /* keep its first seq_len tokens */
    HONE_OVERLONG_SPLIT, /* several samples that overlap by one token, so that no target is lost */
    HONE_OVERLONG_DROP,  /* leave it out */
} hone_overlong;

typedef enum hone_train_on {
    HONE_TRAIN_ON_ASSISTANT, /* the assistant's content and end tokens */
    HONE_TRAIN_ON_ALL,       /* every token but the first */
} hone_train_on;

const char *hone_overlong_name(hone_overlong policy); /* "refuse", ... */
bool hone_overlong_parse(hone_overlong *out, const char *name);
const char *hone_train_on_name(hone_train_on what); /* "assistant", "all" */
bool hone_train_on_parse(hone_train_on *out, const char *name);

typedef struct hone_samples_options {
    int64_t seq_len; /* most tokens in a sample; 0: no limit */
    hone_overlong overlong;
    hone_train_on train_on;
    double
        eval_fraction; /* part of the records, by hash, for evaluation; not part of the cache's key */
    bool no_cache;     /* use a temporary file without a name instead, and leave nothing behind */
} hone_samples_options;

/* What became of the records; nothing is left out without being counted here. */
typedef struct hone_samples_ledger {
    int64_t records;      /* in the data file */
    int64_t samples;      /* made of them */
    int64_t tokens;       /* in all samples */
    int64_t supervised;   /* targets in all samples */
    int64_t longest;      /* tokens of the longest record, before the policy */
    int64_t overlong;     /* records of more than seq_len tokens */
    int64_t truncated;    /* of these: cut to seq_len */
    int64_t split;        /* of these: made into several samples */
    int64_t dropped;      /* of these: left out */
    int64_t unsupervised; /* records (or pieces of a split one) without a target: left out */
    int64_t reasoned;     /* assistant's turns with reasoning */
    int64_t unthinking;   /* those without, whose empty block of thinking belongs to the prompt */
} hone_samples_ledger;

typedef struct hone_samples hone_samples;

/* Finds or makes the token cache. `chat` may be NULL when no record has messages. Fails when a record is too long under
 * `refuse`, when a conversation cannot be rendered (record and message named), when no sample has a target, and when
 * the data file is empty. `tokenizer` and `data` are borrowed until hone_samples_free. */
HONE_MUST_USE hone_status hone_samples_open(hone_samples **out, hone_datafile *data,
                                            const hone_tokenizer *tokenizer,
                                            const hone_chat_template *chat,
                                            const hone_samples_options *options);
void hone_samples_free(hone_samples *samples); /* takes NULL */

/* Deletes the token caches beside a data file: what they hold goes with the records. Missing ones are fine. */
HONE_MUST_USE hone_status hone_samples_forget(const char *data_path);

int64_t hone_samples_count(const hone_samples *samples);

/* What one split holds. */
typedef struct hone_split_counts {
    int64_t samples, tokens, supervised;
    int64_t longest; /* tokens of its longest sample; 0 when it is empty */
} hone_split_counts;

const hone_split_counts *hone_samples_split(const hone_samples *samples, bool eval);

const hone_samples_ledger *hone_samples_ledger_of(const hone_samples *samples);
const char *
hone_samples_key(const hone_samples *samples); /* 64 digits: equal samples, equal text */
const char *hone_samples_cache_path(const hone_samples *samples); /* "" with no_cache */

typedef struct hone_sample_info {
    int64_t record;     /* index in the data file */
    int32_t part;       /* 0, or the piece of a split record */
    int32_t source;     /* id in the data file */
    uint64_t hash;      /* of the record */
    int32_t length;     /* tokens */
    int32_t supervised; /* targets */
    bool is_eval;
} hone_sample_info;

/* Any number of threads may read at once. 0 <= index < count. */
HONE_MUST_USE hone_status hone_samples_info(hone_sample_info *out, const hone_samples *samples,
                                            int64_t index);

/* A sample with its tokens. The struct may be handed in again; the caller frees it with hone_sample_free. */
typedef struct hone_sample {
    hone_sample_info info;
    int32_t *ids;  /* [info.length], owned */
    uint8_t *mask; /* [info.length], owned: 1 = the token is a target */
    size_t capacity;
} hone_sample;

HONE_MUST_USE hone_status hone_samples_read(hone_sample *out, const hone_samples *samples,
                                            int64_t index);
void hone_sample_free(hone_sample *sample);

/* Appends a sample's text, control tokens spelled out. */
HONE_MUST_USE hone_status hone_samples_text(hone_buf *out, const hone_samples *samples,
                                            const hone_sample *sample);

#endif
