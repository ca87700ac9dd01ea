/*
 * Records to samples: parsed, rendered, encoded in parallel, cut by the length policy, and written in order.
 */
#ifndef HONE_DATA_SAMPLE_BUILD_H
#define HONE_DATA_SAMPLE_BUILD_H

#include "data/token_cache.h"

typedef struct hone_sample_recipe {
    hone_datafile *data;
    const hone_tokenizer *tokenizer;
    const hone_chat_template *chat; /* may be NULL */
    const hone_samples_options *options;
} hone_sample_recipe;

HONE_MUST_USE hone_status hone_samples_build(hone_token_writer *writer, hone_samples_ledger *ledger,
                                             const hone_sample_recipe *recipe);

#endif
