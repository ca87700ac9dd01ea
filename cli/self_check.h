/*
 * What `train` ends with: `verify` on the run folder, by a fresh process of this program.
 */
#ifndef HONE_CLI_SELF_CHECK_H
#define HONE_CLI_SELF_CHECK_H

#include <jansson.h>
#include <pthread.h>

#include "train/options.h"
#include "train/report.h"

typedef struct hone_self_check {
    pthread_t thread; /* that waits for it, while it is running */
    bool running;
    const hone_train_options *options; /* borrowed while it is running, as the hash */
    const char *model_hash;
    json_t *result;   /* owned: what `verify --json` printed; NULL when it did not get that far */
    hone_buf message; /* what it said on standard error */
    hone_report_row *rows;
    char **texts; /* owned: of the rows, two each */
    size_t count;
} hone_self_check;

void hone_self_check_free(hone_self_check *check); /* takes a zeroed one */

/* Starts it, on few tokens; *check stays where it is until the rows are asked for. A failure is kept in it, not returned. */
void hone_self_check_begin(hone_self_check *check, const hone_train_options *options,
                           const char *model_hash);

/* Waits for it. The rows for a report; borrowed. */
hone_report_table hone_self_check_rows(hone_self_check *check);

/* HONE_OK when it was made and everything agrees. */
HONE_MUST_USE hone_status hone_self_check_status(const hone_self_check *check,
                                                 const hone_train_options *options);

#endif
