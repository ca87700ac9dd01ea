/*
 * The processes of `hone train --gpus N`: children of the one that was started, which waits for them and tells how they ended.
 */
#ifndef HONE_TRAIN_RANKS_H
#define HONE_TRAIN_RANKS_H

#include <signal.h>

#include "train/distributed.h"

typedef struct hone_ranks hone_ranks; /* of the parent */

/* Forks `count` (2 or more) children for the run of `folder` (borrowed), before this process has a thread or a device. In
 * the parent *out is set, to be freed; in a child it is NULL, and *rank says which one it is. The first child keeps the terminal; what the others write comes to
 * the parent by pipes. They end with the parent, and ignore SIGINT and SIGHUP, which the parent passes on as SIGTERM. */
HONE_MUST_USE hone_status hone_ranks_fork(hone_ranks **out, hone_rank *rank, int count,
                                          const char *folder);

/* In a child: tells the parent what failed, with the present message. */
void hone_rank_report(const hone_rank *rank, hone_status status);

/* A line that a child other than the first has written. */
typedef void (*hone_ranks_line_fn)(void *context, int rank, const char *line);

/* In the parent, until all children have ended. When *stop is set they are told to stop; when one has failed the others have
 * some seconds to see it, and are then killed, and a folder in which no run began is removed. The failure is that of the
 * first to fail, with the number of its GPU in front. */
HONE_MUST_USE hone_status hone_ranks_wait(hone_ranks *ranks, const volatile sig_atomic_t *stop,
                                          hone_ranks_line_fn line, void *context);

void hone_ranks_free(hone_ranks *ranks); /* takes NULL */

#endif
