#include "train/device_batch.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"

enum {
    COLUMNS = 5, /* ids, positions, records, rows, targets: 4 bytes a token each */
    LINE = 64,
    PARTS = 8, /* of the tokens: predicting rows are filled up to whole ones */
    FEWEST_SEGMENTS = 4,
};

/* What the memory begins with. */
typedef struct step_numbers {
    double sum, weight; /* of hone_loss_call */
} step_numbers;

static size_t column_bytes(int64_t capacity) {
    return ((size_t)capacity * 4 + LINE - 1) / LINE * LINE;
}

size_t hone_device_batch_bytes(int64_t capacity) {
    return LINE + COLUMNS * column_bytes(capacity) + (size_t)capacity * sizeof(hone_segment);
}

/* Where the parts of the memory lie. */
static void divide(hone_device_batch *batch) {
    unsigned char *at = batch->memory.base;
    size_t column = column_bytes(batch->capacity);
    step_numbers *numbers = (void *)at;
    batch->loss.sum = &numbers->sum;
    batch->loss.weight = &numbers->weight;
    at += LINE;
    batch->tokens.ids = (const int32_t *)(void *)at;
    batch->tokens.positions = (const int32_t *)(void *)(at + column);
    batch->tokens.records = (const uint32_t *)(void *)(at + 2 * column);
    batch->loss.rows = (const int32_t *)(void *)(at + 3 * column);
    batch->loss.targets = (const int32_t *)(void *)(at + 4 * column);
    batch->tokens.segments = (const hone_segment *)(void *)(at + COLUMNS * column);
}

hone_status hone_device_batch_new(hone_device_batch *out, const hone_device *device,
                                  int64_t capacity, int64_t longest) {
    *out = (hone_device_batch){.device = device, .capacity = capacity, .longest = longest};
    size_t bytes = hone_device_batch_bytes(capacity);
    HONE_TRY(hone_buffer_new(&out->memory, device, bytes));
    out->image = hone_buffer_on_host(&out->memory);
    if (!out->image) out->image = hone_alloc(1, bytes);
    if (!out->image) {
        hone_device_batch_free(out);
        return HONE_ERR_MEMORY;
    }
    divide(out);
    return HONE_OK;
}

void hone_device_batch_free(hone_device_batch *batch) {
    if (batch->image != batch->memory.base) hone_free(batch->image);
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

/* The part of the image for a part of the memory. */
static void *in_image(const hone_device_batch *batch, const void *on_device) {
    const unsigned char *base = batch->memory.base;
    return batch->image + ((const unsigned char *)on_device - base);
}

static void write_column(const hone_device_batch *batch, const void *to, const void *from,
                         int64_t count) {
    if (count > 0) memcpy(in_image(batch, to), from, (size_t)count * 4);
}

static void write_documents(hone_device_batch *batch, const hone_batch *host) {
    hone_tokens *tokens = &batch->tokens;
    hone_segment *segments = in_image(batch, tokens->segments);
    tokens->count = host->tokens;
    tokens->segment_count = host->documents;
    tokens->longest_q = 0;
    for (int64_t d = 0; d < host->documents; d++) {
        int32_t begin = host->document_begin[d], length = host->document_length[d];
        segments[d] = (hone_segment){begin, length, begin, length};
        if (length > tokens->longest_q) tokens->longest_q = length;
    }
    tokens->longest_k = tokens->longest_q;
    batch->loss.count = host->rows;
    write_column(batch, tokens->ids, host->ids, host->tokens);
    write_column(batch, tokens->positions, host->positions, host->tokens);
    write_column(batch, tokens->records, host->records, host->tokens);
    write_column(batch, batch->loss.rows, host->row, host->rows);
    write_column(batch, batch->loss.targets, host->target, host->rows);
}

/* --- Padding --- */

/* Documents of token 0 up to `end` tokens. */
static void pad_tokens(hone_device_batch *batch, int64_t end) {
    hone_tokens *tokens = &batch->tokens;
    int32_t *ids = in_image(batch, tokens->ids), *positions = in_image(batch, tokens->positions);
    uint32_t *records = in_image(batch, tokens->records);
    hone_segment *segments = in_image(batch, tokens->segments);
    for (int64_t begin = tokens->count; begin < end; begin += batch->longest) {
        int32_t at = (int32_t)begin;
        int32_t length = (int32_t)(end - begin < batch->longest ? end - begin : batch->longest);
        segments[tokens->segment_count++] = (hone_segment){at, length, at, length};
        for (int32_t i = 0; i < length; i++) {
            ids[at + i] = 0;
            positions[at + i] = i;
            records[at + i] = 0;
        }
    }
    tokens->count = end;
}

static void pad_segments(hone_device_batch *batch) {
    hone_tokens *tokens = &batch->tokens;
    hone_segment *segments = in_image(batch, tokens->segments);
    int64_t wanted = FEWEST_SEGMENTS;
    while (wanted < tokens->segment_count) wanted *= 2;
    if (wanted > batch->capacity) wanted = batch->capacity;
    int32_t end = (int32_t)tokens->count;
    while (tokens->segment_count < wanted)
        segments[tokens->segment_count++] = (hone_segment){end, 0, end, 0};
}

/* Rows of tokens that predict nothing: those that no row names yet, in order. */
static void pad_rows(hone_device_batch *batch) {
    hone_loss_call *loss = &batch->loss;
    int32_t *rows = in_image(batch, loss->rows), *targets = in_image(batch, loss->targets);
    int64_t tokens = batch->tokens.count, part = (tokens + PARTS - 1) / PARTS;
    int64_t real = loss->count, wanted = (real + part - 1) / part * part;
    if (wanted > tokens) wanted = tokens;
    int64_t next = 0; /* of the real rows, which rise */
    for (int32_t t = 0; loss->count < wanted; t++) {
        if (next < real && rows[next] == t) {
            next++;
            continue;
        }
        rows[loss->count] = t;
        targets[loss->count++] = -1;
    }
}

static void pad(hone_device_batch *batch, int64_t bins) {
    pad_tokens(batch, bins * batch->longest);
    pad_segments(batch);
    pad_rows(batch);
    batch->tokens.room = batch->longest;
}

/* --- Steps --- */

hone_status hone_device_batch_begin(hone_device_batch *batch, double weight) {
    step_numbers numbers = {0, weight};
    return hone_device_copy_in(batch->device, batch->memory.base, &numbers, sizeof numbers);
}

hone_status hone_device_batch_load(hone_device_batch *batch, const hone_batch *host) {
    assert(host->tokens <= batch->capacity && host->documents <= batch->capacity);
    assert(!batch->pads || host->bins * batch->longest <= batch->capacity);
    write_documents(batch, host);
    if (batch->pads) pad(batch, host->bins);
    if (hone_device_is_host(batch->device)) return HONE_OK;
    const unsigned char *begin = batch->memory.base;
    const unsigned char *end =
        (const unsigned char *)(batch->tokens.segments + batch->tokens.segment_count);
    return hone_device_copy_in(batch->device, (unsigned char *)batch->memory.base + LINE,
                               batch->image + LINE, (size_t)(end - begin) - LINE);
}

hone_status hone_device_batch_loss(double *out, const hone_device_batch *batch) {
    return hone_device_copy_out(batch->device, out, batch->loss.sum, sizeof *out);
}
