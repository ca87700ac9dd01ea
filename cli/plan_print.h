/*
 * A plan as text, for `hone plan` and for the beginning of `hone train`.
 */
#ifndef HONE_CLI_PLAN_PRINT_H
#define HONE_CLI_PLAN_PRINT_H

#include "train/plan.h"

/* hone_recompute by name. */
extern const char *const hone_recompute_words[HONE_RECOMPUTES];

/* Appends lines: steps, what was chosen, time, and memory by item. */
HONE_MUST_USE hone_status hone_plan_text(hone_buf *out, const hone_plan_report *report);

#endif
