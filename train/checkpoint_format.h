/*
 * What writing and reading checkpoints share. Only for train/checkpoint*.c.
 */
#ifndef HONE_TRAIN_CHECKPOINT_FORMAT_H
#define HONE_TRAIN_CHECKPOINT_FORMAT_H

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

#include "train/checkpoint.h"

#define HONE_CHECKPOINT_FORMAT "hone checkpoint"
enum { HONE_CHECKPOINT_VERSION = 1 };
#define HONE_CHECKPOINT_TENSORS "tensors"

typedef enum hone_checkpoint_kind {
    HONE_CHECKPOINT_INT,  /* int64_t */
    HONE_CHECKPOINT_BOOL, /* bool, stored as int64 */
    HONE_CHECKPOINT_REAL, /* double */
    HONE_CHECKPOINT_TEXT, /* char *, stored with a fixed length */
    HONE_CHECKPOINT_HASH, /* char[HONE_SHA256_TEXT], stored the same way */
} hone_checkpoint_kind;

/* One root attribute and the field of hone_checkpoint_state it holds. */
typedef struct hone_checkpoint_field {
    const char *name;
    hone_checkpoint_kind kind;
    size_t offset;
} hone_checkpoint_field;

/* The table of fields; *count rows. */
const hone_checkpoint_field *hone_checkpoint_fields(size_t *count);

/* Rows of the first dimension in a chunk, so that one has about a mebibyte; `inner` is the product of the others. */
hsize_t hone_checkpoint_chunk_rows(hsize_t rows, hsize_t inner);

/* To be called before any other use of HDF5. It prints its errors unless told not to (ours name the file and the cause),
 * and puts the time into the header that says how a file is paged, which goes by the library's own default list. */
void hone_checkpoint_prepare(void);

/* File access: newest format (all its metadata is checksummed), no locks. Negative on failure. */
hid_t hone_checkpoint_access(void);

#endif
