/*
 * Runs in several processes with a GPU each: which of them this one is, and how they find each other. They come from
 * `hone train --gpus N` (train/ranks.h), or from mpirun or srun, whose variables of the environment say who is who.
 */
#ifndef HONE_TRAIN_DISTRIBUTED_H
#define HONE_TRAIN_DISTRIBUTED_H

#include "kernels/group.h"
#include "train/options.h"

enum { HONE_JOB = 160 };

/* One process of a run. */
typedef struct hone_rank {
    int rank, size; /* the first is 0; size 1: there is no other */
    int gpu;        /* that it takes, as CUDA counts on its machine */
    int local;      /* processes on this machine, where they are children of one; else 0 */
    int names;      /* end of a pipe by which the group's name goes round; -1: it goes by a file */
    int reports;    /* end of a pipe to the parent; -1: there is none */
    char job[HONE_JOB]; /* a launcher's word for this start, the same in all processes */
} hone_rank;

/* The only process of a run. */
hone_rank hone_rank_alone(void);

/* What the launcher says that started this process: mpirun of Open MPI, of MPICH and Intel MPI (Hydra), or srun. Where
 * there is none, or it started this process alone: the only one. HONE_ERR_USAGE where --gpus asks for processes as well, or where
 * the options ask for the processor. */
HONE_MUST_USE hone_status hone_rank_find(hone_rank *out, const hone_train_options *options);

/* Whether there are the GPUs that the processes on this machine need; a launcher may show each of them only its own. */
HONE_MUST_USE hone_status hone_rank_check_gpus(hone_rank *rank);

/* Makes the group of all processes, once the device is open. `folder` is the run's, made by the first process: a file there takes
 * the group's name to the others of an mpirun, and is removed again. */
HONE_MUST_USE hone_status hone_rank_join(hone_group *out, const hone_rank *rank,
                                         const char *folder);

#endif
