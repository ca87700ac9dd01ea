#include "train/distributed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"

static const double file_seconds = 300; /* in which the first process is to have written its file */

hone_rank hone_rank_alone(void) {
    return (hone_rank){.size = 1, .names = -1, .reports = -1};
}

/* --- Launchers --- */

/* The variables that a launcher sets. srun's number of tasks is that of the step: an sbatch script and an salloc shell have
 * those of the job around them, and are one process. */
typedef struct launcher {
    const char *rank, *size, *local;
    const char *jobs
        [2]; /* together they name a start; NULL: what the machine's batch system says, or the parent */
} launcher;

static const launcher launchers[] = {
    {"OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK",
     {"PMIX_NAMESPACE"}},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", {NULL}},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", {"SLURM_JOB_ID", "SLURM_STEP_ID"}},
};

static bool number_of(int *out, const char *variable) {
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text) return false;
    long number = strtol(text, &end, 10);
    *out = (int)number;
    return *end == 0 && number >= 0 && number <= 1 << 20;
}

static void add_word(char job[HONE_JOB], const char *variable) {
    const char *word = variable ? getenv(variable) : NULL;
    size_t used = strlen(job);
    if (word) snprintf(job + used, HONE_JOB - used, "%s.", word);
}

/* Hydra names no start. The children of one process are one start, if they are all of it. */
static hone_status name_start(hone_rank *rank, const launcher *from) {
    static const char *const batch[] = {"SLURM_JOB_ID", "SLURM_STEP_ID", "PBS_JOBID", "LSB_JOBID"};
    int neighbours = 0;
    add_word(rank->job, "HONE_JOB");
    for (size_t i = 0; i < 2 && !rank->job[0]; i++) {
        for (size_t j = 0; j < 2 && i == 0; j++) add_word(rank->job, from->jobs[j]);
        for (size_t j = 0; j < sizeof batch / sizeof *batch && i == 1; j++)
            add_word(rank->job, batch[j]);
    }
    if (!rank->job[0] && number_of(&neighbours, "MPI_LOCALNRANKS") && neighbours == rank->size)
        snprintf(rank->job, HONE_JOB, "%ld", (long)getppid());
    if (rank->job[0]) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE,
                     "%s is set, but nothing names this start of several machines: give all "
                     "processes a new word in the variable HONE_JOB at every start",
                     from->rank);
}

static hone_status take(hone_rank *out, const launcher *from) {
    if (out->size < 2) {
        *out = hone_rank_alone();
        return HONE_OK;
    }
    if (out->rank < out->size && out->size <= HONE_GROUP_MOST) return name_start(out, from);
    return hone_fail(HONE_ERR_USAGE, "%s is %d and %s is %d: at most %d processes, counted from 0",
                     from->rank, out->rank, from->size, out->size, HONE_GROUP_MOST);
}

hone_status hone_rank_find(hone_rank *out, const hone_train_options *options) {
    *out = hone_rank_alone();
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const launcher *from = &launchers[i];
        if (!number_of(&out->rank, from->rank) || !number_of(&out->size, from->size) ||
            !number_of(&out->gpu, from->local))
            continue;
        HONE_TRY(take(out, from));
        if (out->size == 1) return HONE_OK;
        if (options->gpus > 0)
            return hone_fail(
                HONE_ERR_USAGE,
                "mpirun or srun started %d processes, with a GPU each: leave --gpus out",
                out->size);
        if (options->device == HONE_DEVICE_CPU)
            return hone_fail(HONE_ERR_USAGE,
                             "mpirun or srun started %d processes, which train together on GPUs "
                             "only: leave --device cpu out, or start one",
                             out->size);
        return HONE_OK;
    }
    *out = hone_rank_alone();
    return HONE_OK;
}

hone_status hone_rank_check_gpus(hone_rank *rank) {
    int count, needed = rank->local > 0 ? rank->local : rank->gpu + 1;
    HONE_TRY(hone_group_gpus(&count));
    if (rank->local == 0 && count == 1) rank->gpu = 0;
    if (rank->gpu < count && rank->local <= count) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE,
                     "%d GPUs are asked for on this machine, and CUDA counts %d: ask for fewer, or "
                     "see nvidia-smi and CUDA_VISIBLE_DEVICES",
                     needed, count);
}

/* --- The name of the group --- */

static hone_status give_by_pipe(const hone_rank *rank, const hone_group_name *name) {
    for (int i = 1; i < rank->size; i++) {
        if (write(rank->names, name, sizeof *name) != (ssize_t)sizeof *name)
            return hone_fail_errno(HONE_ERR_IO, "cannot write to the other processes");
    }
    return HONE_OK;
}

/* Every process reads one of the names that were written, each in one piece (pipe(7)). */
static hone_status take_by_pipe(const hone_rank *rank, hone_group_name *name) {
    ssize_t got;
    do {
        got = read(rank->names, name, sizeof *name);
    } while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof *name) return HONE_OK;
    return hone_fail(HONE_ERR_PEER, "the first process of the run ended before it began");
}

/* Of this start and no other: "<folder>/.group-0123456789abcdef", owned by the caller. */
static char *file_of(const hone_rank *rank, const char *folder) {
    char hash[HONE_SHA256_TEXT], name[32];
    hone_sha256_bytes(hash, rank->job, strlen(rank->job));
    snprintf(name, sizeof name, ".group-%.16s", hash);
    return hone_path_join(folder, name);
}

static hone_status take_by_file(const char *path, hone_group_name *name, int size) {
    double end = hone_seconds() + file_seconds;
    while (!hone_path_exists(path)) {
        if (hone_seconds() > end)
            return hone_fail(HONE_ERR_PEER,
                             "%s: not written in %.0f seconds by the first of %d processes: either "
                             "it failed, as its message says, or this machine does not see its "
                             "--out: name a folder that all machines share",
                             path, file_seconds, size);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    hone_buf bytes = {0};
    hone_status status = hone_file_get(&bytes, path);
    if (status == HONE_OK && bytes.length != sizeof *name)
        status = hone_fail(HONE_ERR_FORMAT, "%s: holds %zu bytes, not %zu; remove it", path,
                           bytes.length, sizeof *name);
    if (status == HONE_OK) memcpy(name, bytes.data, sizeof *name);
    hone_buf_free(&bytes);
    return status;
}

static hone_status pass_name(hone_group_name *name, const hone_rank *rank, const char *path) {
    if (rank->rank > 0)
        return path ? take_by_file(path, name, rank->size) : take_by_pipe(rank, name);
    if (path) (void)unlink(path); /* what a start by the same word may have left */
    HONE_TRY(hone_group_make_name(name));
    return path ? hone_file_put(path, name, sizeof *name) : give_by_pipe(rank, name);
}

hone_status hone_rank_join(hone_group *out, const hone_rank *rank, const char *folder) {
    *out = (hone_group){0};
    if (rank->size < 2) return HONE_OK;
    char *path = NULL;
    if (rank->names < 0 && !(path = file_of(rank, folder))) return HONE_ERR_MEMORY;
    hone_group_name name;
    hone_status status = pass_name(&name, rank, path);
    if (status == HONE_OK) status = hone_group_join(out, &name, rank->rank, rank->size);
    if (path && rank->rank == 0) (void)unlink(path);
    hone_free(path);
    return status;
}
