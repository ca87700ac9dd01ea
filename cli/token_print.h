/*
 * Tokens for a person's eyes.
 */
#ifndef HONE_CLI_TOKEN_PRINT_H
#define HONE_CLI_TOKEN_PRINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "text/tokenizer.h"

/* The tokenizer of a model that was named on the command line. */
HONE_MUST_USE hone_status hone_open_tokenizer(hone_tokenizer **out, const char *model);

/* Prints the text of tokens and a line end: on a terminal supervised ones (mask 1) in green and every other token
 * underlined, elsewhere runs of supervised ones in ⟦ ⟧. */
HONE_MUST_USE hone_status hone_print_tokens(const hone_tokenizer *tokenizer, const int32_t *ids,
                                            const uint8_t *mask, size_t count);

#endif
