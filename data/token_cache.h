/*
 * The file that token ids are kept in.
 *
 *     header   hone_token_header
 *     words    uint32[tokens]: id, with bit 31 set where the token is a target
 *     index    hone_token_entry[samples]
 *
 * Numbers are in the byte order of the machine: it is a cache. Read by position, so that nothing of it stays in memory.
 */
#ifndef HONE_DATA_TOKEN_CACHE_H
#define HONE_DATA_TOKEN_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/file.h"
#include "base/sha256.h"
#include "data/samples.h"

#define HONE_TOKEN_TARGET 0x80000000u

typedef struct hone_token_entry {
    int64_t record;
    int64_t begin; /* first word */
    uint64_t hash;
    int32_t part, source, length, supervised;
} hone_token_entry;

typedef struct hone_token_header {
    char magic[8];
    char key[HONE_SHA256_TEXT + 7];
    int64_t samples, tokens;
    hone_samples_ledger ledger;
} hone_token_header;

typedef struct hone_token_cache {
    FILE *stream; /* owned; has no name when nothing is to be left behind */
    char *path;   /* owned; "" without a name */
    hone_token_header header;
} hone_token_cache;

/* Sets *found when `path` is a whole cache of this key; then it is open. */
HONE_MUST_USE hone_status hone_token_cache_open(hone_token_cache *out, bool *found,
                                                const char *path, const char *key);
void hone_token_cache_close(hone_token_cache *cache); /* takes a zeroed one */

HONE_MUST_USE hone_status hone_token_cache_entries(hone_token_entry *out,
                                                   const hone_token_cache *cache, int64_t first,
                                                   int64_t count);
HONE_MUST_USE hone_status hone_token_cache_words(uint32_t *out, const hone_token_cache *cache,
                                                 int64_t first, int64_t count);

/* A cache being written. */
typedef struct hone_token_writer {
    hone_file file; /* zeroed when the cache has no name */
    FILE *stream;
    FILE *index; /* entries, put behind the words at the end */
    const char *path;
    int64_t samples, tokens;
} hone_token_writer;

/* `path` (borrowed) names the cache, or its neighbour when it is to have no name. */
HONE_MUST_USE hone_status hone_token_writer_new(hone_token_writer *out, const char *path,
                                                bool named);

/* Adds a sample; entry->begin is set here. */
HONE_MUST_USE hone_status hone_token_writer_add(hone_token_writer *writer, hone_token_entry *entry,
                                                const uint32_t *words);

/* Completes the file and opens it for reading. Either way the writer is released. */
HONE_MUST_USE hone_status hone_token_writer_commit(hone_token_cache *out, hone_token_writer *writer,
                                                   const char *key,
                                                   const hone_samples_ledger *ledger);
void hone_token_writer_abandon(hone_token_writer *writer); /* takes a zeroed one */

#endif
