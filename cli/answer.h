/*
 * Tokens as text while they come: what `generate` and `chat` share.
 */
#ifndef HONE_CLI_ANSWER_H
#define HONE_CLI_ANSWER_H

#include "cli/flags.h"
#include "model/generate.h"
#include "train/session.h"

/* The flags that both commands have, and the model they open. */
typedef struct hone_answer_settings {
    const char *model, *adapter, *chat, *variables;
    int64_t max_tokens, seed, threads, context;
    double temperature, top_p;
    int device; /* hone_device_kind */
} hone_answer_settings;

hone_answer_settings hone_answer_defaults(void);

enum { HONE_ANSWER_FLAGS = 11 };
void hone_answer_flags(hone_flag out[HONE_ANSWER_FLAGS], hone_answer_settings *settings);

HONE_MUST_USE hone_status hone_answer_open(hone_session *session, hone_generator **generator,
                                           const hone_answer_settings *settings);

/* Feeds the prompt, then writes what follows to standard output, piece by piece, whole characters only; the ids are
 * appended to *said (may be NULL). Ends at an end token, at max_tokens, or when the context is full. */
HONE_MUST_USE hone_status hone_answer(hone_encoding *said, hone_session *session,
                                      hone_generator *generator,
                                      const hone_answer_settings *settings, const int32_t *ids,
                                      int64_t count);

#endif
