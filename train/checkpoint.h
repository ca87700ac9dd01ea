/*
 * Checkpoints: one HDF5 file each, `folder`/step-000200.h5, from which a run goes on bit for bit.
 *
 *   /            attributes: format, version, step, epoch, bin, seed, …; plan, config, the hashes of the inputs
 *   /tensors/…   one f32 dataset per tensor, chunked by rows, Fletcher-32
 *
 * HDF5 is not crash-safe in place: a file is written whole under a temporary name, synced, renamed, and only then older
 * ones are removed. Same content, same bytes: no times are stored. The format has checksums over all it holds.
 */
#ifndef HONE_TRAIN_CHECKPOINT_H
#define HONE_TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "base/status.h"

/* A tensor to save or to fill. Names are unique; "/" in them makes groups ("adam_m/blk.0.attn_q.lora_a"). */
typedef struct hone_checkpoint_tensor {
    const char *name;
    float *data;      /* dense, row-major; not written to when saving */
    int dims;         /* 1 to 4 */
    int64_t shape[4]; /* each 1 or more */
} hone_checkpoint_tensor;

/* The scales of a LoRA run's pairs, [pairs], in the order of their factors: constants of the run. */
#define HONE_CHECKPOINT_SCALES "lora_scales"

/* Where a run stands after `step` steps. Texts are owned; NULL reads back as "". */
typedef struct hone_checkpoint_state {
    int64_t step;
    int64_t epoch; /* from 0 */
    int64_t bin;   /* next bin in the epoch's order */
    int64_t seed;
    int64_t tokens; /* trained on so far */
    int64_t supervised_tokens;
    bool has_best; /* an evaluation has been made */
    double best_eval_loss;
    int64_t best_step;
    int64_t evals_since_best; /* early stopping */
    bool finished;            /* the run ended: nothing is left to do */
    char *plan;               /* what was resolved before step 1, as text; resume compares it */
    char *config;             /* hone_config_format of the run */
    char model_hash[HONE_SHA256_TEXT];
    char data_hash[HONE_SHA256_TEXT];
    char tokenizer_hash[HONE_SHA256_TEXT];
} hone_checkpoint_state;

void hone_checkpoint_state_free(hone_checkpoint_state *state); /* takes a zeroed one */

/* Writes `folder`/step-<state->step>.h5, then removes the oldest until `keep` (1 or more) are left. */
HONE_MUST_USE hone_status hone_checkpoint_write(const char *folder,
                                                const hone_checkpoint_state *state,
                                                const hone_checkpoint_tensor *tensors, size_t count,
                                                int64_t keep);

/* Reads the state alone, checking nothing of the tensors. */
HONE_MUST_USE hone_status hone_checkpoint_read_state(hone_checkpoint_state *out, const char *path);

/* Fills every tensor of the list. The file must hold exactly these names with these shapes: a missing, a surplus or a
 * differently shaped one is HONE_ERR_FORMAT by name; `data` may then be partly filled. */
HONE_MUST_USE hone_status hone_checkpoint_read(hone_checkpoint_tensor *tensors, size_t count,
                                               const char *path);

/* As above for a part of what the file holds: tensors that are not in the list are passed over. */
HONE_MUST_USE hone_status hone_checkpoint_read_some(hone_checkpoint_tensor *tensors, size_t count,
                                                    const char *path);

/* Reads all of a file, filling nothing: HONE_ERR_FORMAT when any part is damaged. */
HONE_MUST_USE hone_status hone_checkpoint_verify(const char *path);

/* The newest checkpoint of a folder that verifies: *path (owned by the caller) and *state. Damaged newer ones are
 * passed over; their messages are appended to `refused` (may be NULL), one a line. *path is NULL, with HONE_OK, when the folder
 * is missing or holds no checkpoint; HONE_ERR_FORMAT when it holds only damaged ones. */
HONE_MUST_USE hone_status hone_checkpoint_latest(char **path, hone_checkpoint_state *state,
                                                 hone_buf *refused, const char *folder);

/* What a checkpoint holds, for `inspect`: called once per tensor, in name order. */
typedef hone_status (*hone_checkpoint_visit)(void *context, const char *name, int dims,
                                             const int64_t *shape);
HONE_MUST_USE hone_status hone_checkpoint_list(const char *path, hone_checkpoint_visit visit,
                                               void *context);

/* The version of the HDF5 library that is linked: "1.10.8". */
const char *hone_checkpoint_hdf5_version(void);

/* True when the file is HDF5 and says that it is a checkpoint. */
bool hone_checkpoint_is(const char *path);

#endif
