/*
 * Files, read by mapping and written whole: a crash at any instant leaves either the old file or the new one.
 */
#ifndef HONE_BASE_FILE_H
#define HONE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/status.h"

/* A file mapped read-only. */
typedef struct hone_map {
    const unsigned char *data;
    size_t length;
    char *path; /* owned */
} hone_map;

HONE_MUST_USE hone_status hone_map_open(hone_map *out, const char *path);
void hone_map_close(hone_map *map); /* takes a zeroed one */

/* Lets the memory of whole pages within [data, data + bytes) of a mapped file go; they are read again when touched. */
void hone_map_let_go(const void *data, size_t bytes);

/* Gives back the memory of what was read so far; it is read again when needed. Takes a zeroed one. */
void hone_map_drop(const hone_map *map);

/* A file being written beside its final place: `path` + ".partial" until hone_file_commit. Mode 0600. */
typedef struct hone_file {
    FILE *stream;    /* owned; NULL when the content is written by another library to `temporary` */
    char *path;      /* owned: the final name */
    char *temporary; /* owned: the name until commit */
} hone_file;

/* Opens the temporary file for writing, replacing what an earlier crash left there. */
HONE_MUST_USE hone_status hone_file_create(hone_file *out, const char *path);

/* As above, without opening a stream: the caller writes `out->temporary` by its own means. */
HONE_MUST_USE hone_status hone_file_reserve(hone_file *out, const char *path);

HONE_MUST_USE hone_status hone_file_write(hone_file *file, const void *bytes, size_t length);

/* Flushes, syncs the data, renames, syncs the directory. On failure the temporary file is removed. Either way
 * `file` is released. */
HONE_MUST_USE hone_status hone_file_commit(hone_file *file);

/* Removes the temporary file, unless it was committed. Takes a zeroed one. */
void hone_file_abandon(hone_file *file);

/* Writes a whole file in one go, by the three calls above. */
HONE_MUST_USE hone_status hone_file_put(const char *path, const void *bytes, size_t length);

/* Reads a whole file; *out is appended to. */
HONE_MUST_USE hone_status hone_file_get(hone_buf *out, const char *path);

bool hone_path_exists(const char *path);
bool hone_path_is_dir(const char *path);

/* Whether a path ends in `suffix` and has more before it: hone_path_ends(path, ".gguf"). */
bool hone_path_ends(const char *path, const char *suffix);

/* Makes a folder and those above it (0700); existing ones are fine. */
HONE_MUST_USE hone_status hone_dir_make(const char *path);

/* Makes the folder that `path` is in, as above. */
HONE_MUST_USE hone_status hone_dir_make_parent(const char *path);

/* Removes a folder with all that is in it; links are removed, not followed. What cannot be removed is left. */
void hone_dir_remove(const char *path);

/* "dir/name", newly allocated; NULL when memory is out. */
char *hone_path_join(const char *dir, const char *name);

#endif
