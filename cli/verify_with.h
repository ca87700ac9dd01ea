/*
 * A llama.cpp program as the second opinion of `verify`.
 */
#ifndef HONE_CLI_VERIFY_WITH_H
#define HONE_CLI_VERIFY_WITH_H

#include "train/verify.h"

/* Runs `program` on every exported GGUF file and adds a check of each. One whose name holds "perplexity" is asked for
 * the perplexity of a text; any other is taken for llama-cli or llama-completion and asked to continue a prompt. *label
 * gets the program with its own version line. */
HONE_MUST_USE hone_status hone_verify_with(char label[128], hone_verify *verify,
                                           const char *program);

#endif
