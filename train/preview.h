/*
 * A look at what training did: questions of the data answered by the base model and by the trained one.
 */
#ifndef HONE_TRAIN_PREVIEW_H
#define HONE_TRAIN_PREVIEW_H

#include "train/report.h"
#include "train/session.h"

typedef struct hone_preview {
    hone_report_sample *samples; /* owned, with all texts */
    size_t count;
} hone_preview;

/* Answers up to `most` records that end with an assistant's turn, held-out ones first, each with at most `max_tokens`
 * likeliest tokens. `before` is asked for when the session has an adapter: the base model without it. */
HONE_MUST_USE hone_status hone_preview_make(hone_preview *out, hone_session *session, size_t most,
                                            int64_t max_tokens);

/* Bytes that making one takes. */
HONE_MUST_USE hone_status hone_preview_bytes(int64_t *out, hone_session *session,
                                             int64_t max_tokens);
void hone_preview_free(hone_preview *preview); /* takes a zeroed one */

/* Appends the likeliest continuation of a conversation's prompt: what `generate` would say at temperature 0. */
struct hone_generator;
HONE_MUST_USE hone_status hone_preview_answer(hone_buf *out, struct hone_generator *generator,
                                              const hone_tokenizer *tokenizer, const int32_t *ids,
                                              int64_t count, int64_t max_tokens);

#endif
