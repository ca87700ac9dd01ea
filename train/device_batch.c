#include "train/device_batch.h"

#include <assert.h>

#include "base/alloc.h"

enum { WORDS = 5, LINE = 64 }; /* ids, positions, records, rows, targets: 4 bytes a token each */

static size_t column_bytes(int64_t capacity) {
    return ((size_t)capacity * 4 + LINE - 1) / LINE * LINE;
}

size_t hone_device_batch_bytes(int64_t capacity) {
    return WORDS * column_bytes(capacity) + (size_t)capacity * sizeof(hone_segment) + LINE;
}

hone_status hone_device_batch_new(hone_device_batch *out, const hone_device *device,
                                  int64_t capacity, int64_t longest) {
    *out = (hone_device_batch){.device = device, .capacity = capacity, .longest = longest};
    out->host_segments = hone_alloc((size_t)capacity, sizeof *out->host_segments);
    if (!out->host_segments) return HONE_ERR_MEMORY;
    hone_status status = hone_buffer_new(&out->memory, device, hone_device_batch_bytes(capacity));
    if (status != HONE_OK) {
        hone_device_batch_free(out);
        return status;
    }
    unsigned char *at = out->memory.base;
    size_t column = column_bytes(capacity);
    out->loss.sum = (double *)(void *)at;
    at += LINE;
    out->tokens.ids = (const int32_t *)(void *)at;
    out->tokens.positions = (const int32_t *)(void *)(at + column);
    out->tokens.records = (const uint32_t *)(void *)(at + 2 * column);
    out->loss.rows = (const int32_t *)(void *)(at + 3 * column);
    out->loss.targets = (const int32_t *)(void *)(at + 4 * column);
    out->tokens.segments = (const hone_segment *)(void *)(at + 5 * column);
    return HONE_OK;
}

void hone_device_batch_free(hone_device_batch *batch) {
    hone_free(batch->host_segments);
    hone_buffer_free(&batch->memory);
    *batch = (hone_device_batch){0};
}

void hone_device_batch_fill_up(hone_device_batch *batch) {
    batch->tokens.count = batch->capacity;
    batch->tokens.segment_count = batch->capacity;
    batch->tokens.longest_q = batch->longest;
    batch->tokens.longest_k = batch->longest;
    batch->loss.count = batch->capacity;
}

static hone_status copy_in(const hone_device_batch *batch, const void *to, const void *from,
                           int64_t count, size_t size) {
    return hone_device_copy_in(batch->device, (void *)(uintptr_t)to, from, (size_t)count * size);
}

hone_status hone_device_batch_load(hone_device_batch *batch, const hone_batch *host) {
    assert(host->tokens <= batch->capacity && host->documents <= batch->capacity);
    hone_tokens *tokens = &batch->tokens;
    tokens->count = host->tokens;
    tokens->segment_count = host->documents;
    tokens->longest_q = 0;
    for (int64_t d = 0; d < host->documents; d++) {
        int32_t begin = host->document_begin[d], length = host->document_length[d];
        batch->host_segments[d] = (hone_segment){begin, length, begin, length};
        if (length > tokens->longest_q) tokens->longest_q = length;
    }
    tokens->longest_k = tokens->longest_q;
    batch->loss.count = host->rows;
    HONE_TRY(copy_in(batch, tokens->ids, host->ids, host->tokens, sizeof(int32_t)));
    HONE_TRY(copy_in(batch, tokens->positions, host->positions, host->tokens, sizeof(int32_t)));
    HONE_TRY(copy_in(batch, tokens->records, host->records, host->tokens, sizeof(uint32_t)));
    HONE_TRY(copy_in(batch, tokens->segments, batch->host_segments, host->documents,
                     sizeof(hone_segment)));
    HONE_TRY(copy_in(batch, batch->loss.rows, host->row, host->rows, sizeof(int32_t)));
    return copy_in(batch, batch->loss.targets, host->target, host->rows, sizeof(int32_t));
}

hone_status hone_device_batch_loss(double *out, const hone_device_batch *batch) {
    return hone_device_copy_out(batch->device, out, batch->loss.sum, sizeof *out);
}
