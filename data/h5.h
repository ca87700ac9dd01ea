/*
 * What the data file needs of HDF5: one-dimensional columns that are appended to and read in order, one chunk in memory
 * at a time, and errors with HDF5's own cause in hone's message instead of a stack on standard error.
 */
#ifndef HONE_DATA_H5_H
#define HONE_DATA_H5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Turns off HDF5's own printing, and its work at exit, which crashes over a file that could not be written. Called by
 * whatever opens a file, before any other call of HDF5's. */
void hone_h5_quiet(void);

/* Access for opening a file: locked, and HDF5's cache of what it knows about chunks held to 2 MB, where it would take up
 * to 32 as a file grows. To be closed. */
hid_t hone_h5_access(void);

/* Before closing a file that is given up. After a failed write HDF5 cannot close its file and would try again and again:
 * its descriptor is turned to a file in memory, which takes what little HDF5 still holds. */
void hone_h5_divert(hid_t file);

/* The message "path: what: HDF5's innermost cause; remedy". Clears HDF5's error stack. */
hone_status hone_h5_fail(hone_status code, const char *path, const char *what);

/* A dataset of one dimension. Zeroed ones can be closed. */
typedef struct hone_h5_column {
    hid_t set;
    hid_t type;    /* in memory; borrowed */
    size_t item;   /* bytes of an item in memory */
    int64_t chunk; /* items in a chunk */
    int64_t count; /* items, the pending ones included */
    char *window;  /* [chunk], owned: what was read last, or what is to be written */
    int64_t window_begin, window_count;
    bool writing;
    const char *path, *name; /* borrowed, for messages */
} hone_h5_column;

/* A new dataset: chunked, deflate, Fletcher-32. `stored` is the type in the file. */
HONE_MUST_USE hone_status hone_h5_column_create(hone_h5_column *out, hid_t file, const char *name,
                                                hid_t stored, hid_t type, size_t item,
                                                int64_t chunk, const char *path);

/* One that is there. Refused when it has not one dimension, when a chunk is larger than the `chunk` items that hone
 * writes, or when it claims more than what is stored could hold. */
HONE_MUST_USE hone_status hone_h5_column_open(hone_h5_column *out, hid_t file, const char *name,
                                              hid_t type, size_t item, int64_t chunk,
                                              const char *path);

HONE_MUST_USE hone_status hone_h5_column_append(hone_h5_column *column, const void *items,
                                                int64_t count);
HONE_MUST_USE hone_status hone_h5_column_flush(hone_h5_column *column);

/* Items at <= i < at + count, which must lie inside the column. */
HONE_MUST_USE hone_status hone_h5_column_read(void *out, hone_h5_column *column, int64_t at,
                                              int64_t count);
void hone_h5_column_close(hone_h5_column *column);

/* A text attribute of fixed length; reading cuts at `size`. */
HONE_MUST_USE hone_status hone_h5_put_text(hid_t object, const char *name, const char *text,
                                           const char *path);
HONE_MUST_USE hone_status hone_h5_get_text(char *out, size_t size, hid_t object, const char *name,
                                           const char *path);

/* A string type of `size` bytes with its terminator, UTF-8. The caller closes it. */
hid_t hone_h5_text_type(size_t size);

#endif
