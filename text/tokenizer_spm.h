/*
 * Tokenizers from SentencePiece models; for the files of this module only.
 */
#ifndef HONE_TEXT_TOKENIZER_SPM_H
#define HONE_TEXT_TOKENIZER_SPM_H

#include "formats/json.h"
#include "text/tokenizer_parts.h"

/* Fills an empty tokenizer from the bytes of a .model file. `config`: tokenizer_config.json, or NULL. */
HONE_MUST_USE hone_status hone_tokenizer_fill_spm(hone_tokenizer *tokenizer, const void *bytes,
                                                  size_t length, const json_t *config,
                                                  const char *config_file);

#endif
