/*
 * SHA-256 of bytes and files (Nettle), as lower-case hexadecimal text.
 */
#ifndef HONE_BASE_SHA256_H
#define HONE_BASE_SHA256_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { HONE_SHA256_TEXT = 65 }; /* 64 digits and the terminator */

void hone_sha256_bytes(char out[HONE_SHA256_TEXT], const void *bytes, size_t length);
HONE_MUST_USE hone_status hone_sha256_file(char out[HONE_SHA256_TEXT], const char *path);

/* As above; HONE_ERR_INTERRUPTED soon after *stop, which another thread may set, has become true. */
HONE_MUST_USE hone_status hone_sha256_file_until(char out[HONE_SHA256_TEXT], const char *path,
                                                 const atomic_bool *stop);

#endif
