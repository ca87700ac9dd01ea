/*
 * Generation: tokens in, the next token out, with keys and values kept.
 */
#ifndef HONE_MODEL_GENERATE_H
#define HONE_MODEL_GENERATE_H

#include "model/transformer.h"

typedef struct hone_sampling {
    double temperature; /* 0: the likeliest token */
    double top_p;       /* 1: off; else the likeliest tokens that together have this probability */
    uint64_t seed;
} hone_sampling;

typedef struct hone_generator hone_generator;

/* For at most `capacity` tokens, prompt included. Everything is borrowed. `adapter` may be NULL. */
HONE_MUST_USE hone_status hone_generator_new(hone_generator **out, hone_model *model,
                                             const hone_adapter *adapter, int64_t capacity);
void hone_generator_free(hone_generator *generator); /* takes NULL */

/* Forgets all tokens but the first `length`. */
void hone_generator_rewind(hone_generator *generator, int64_t length);

int64_t hone_generator_length(const hone_generator *generator); /* tokens held */
int64_t hone_generator_capacity(const hone_generator *generator);

/* Bytes that it has in memory once it was used. */
size_t hone_generator_bytes(const hone_generator *generator);

/* Takes in tokens. HONE_ERR_DATA when there is no room, or an id is outside the vocabulary. */
HONE_MUST_USE hone_status hone_generator_feed(hone_generator *generator, const int32_t *ids,
                                              int64_t count);

/* Chooses the token that follows those fed; it is not fed itself. */
HONE_MUST_USE hone_status hone_generator_choose(int32_t *id, hone_generator *generator,
                                                const hone_sampling *sampling);

/* The logits [V] after the last token fed, in host memory; valid until the next feed. */
const float *hone_generator_logits(const hone_generator *generator);

#endif
