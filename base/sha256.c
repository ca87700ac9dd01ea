#include "base/sha256.h"

#include <nettle/sha2.h>
#include <stdio.h>

static void write_hex(char out[HONE_SHA256_TEXT], struct sha256_ctx *context) {
    unsigned char digest[SHA256_DIGEST_SIZE];
    sha256_digest(context, sizeof digest, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void hone_sha256_bytes(char out[HONE_SHA256_TEXT], const void *bytes, size_t length) {
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, length, bytes);
    write_hex(out, &context);
}

hone_status hone_sha256_file_until(char out[HONE_SHA256_TEXT], const char *path,
                                   const atomic_bool *stop) {
    FILE *stream = fopen(path, "rbe");
    if (!stream) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
    struct sha256_ctx context;
    sha256_init(&context);
    unsigned char chunk[1 << 16];
    size_t got;
    while (!atomic_load(stop) && (got = fread(chunk, 1, sizeof chunk, stream)) > 0)
        sha256_update(&context, got, chunk);
    hone_status status = HONE_OK;
    if (ferror(stream)) status = hone_fail_errno(HONE_ERR_IO, "%s: cannot read", path);
    if (atomic_load(stop)) status = hone_fail(HONE_ERR_INTERRUPTED, "%s: no longer read", path);
    fclose(stream);
    if (status == HONE_OK) write_hex(out, &context);
    return status;
}

hone_status hone_sha256_file(char out[HONE_SHA256_TEXT], const char *path) {
    const atomic_bool stop = false;
    return hone_sha256_file_until(out, path, &stop);
}
