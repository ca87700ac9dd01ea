#include "data/batch.h"

#include "base/alloc.h"
#include "data/packing.h"

struct hone_loader {
    const hone_samples *samples;
    hone_split split;
    int64_t seq_len;
    hone_packing *packing;
    hone_sample sample; /* scratch */
};

void hone_batch_free(hone_batch *batch) {
    hone_free(batch->ids);
    hone_free(batch->positions);
    hone_free(batch->records);
    hone_free(batch->document_begin);
    hone_free(batch->document_length);
    hone_free(batch->row);
    hone_free(batch->target);
    *batch = (hone_batch){0};
}

/* --- the loader ------------------------------------------------------------------------------------------------ */

/* A sample of the other split has no length here. */
static hone_status length_in_split(int32_t *out, void *context, int64_t index) {
    const hone_loader *loader = context;
    hone_sample_info info;
    HONE_TRY(hone_samples_info(&info, loader->samples, index));
    bool wanted =
        loader->split == HONE_SPLIT_ALL || info.is_eval == (loader->split == HONE_SPLIT_EVAL);
    *out = wanted ? info.length : 0;
    return HONE_OK;
}

static int64_t longest_in(const hone_samples *samples, hone_split split) {
    int64_t train = hone_samples_split(samples, false)->longest;
    int64_t eval = hone_samples_split(samples, true)->longest;
    if (split == HONE_SPLIT_TRAIN) return train;
    if (split == HONE_SPLIT_EVAL) return eval;
    return train > eval ? train : eval;
}

static hone_status check_split(int64_t longest, hone_split split) {
    if (longest > 0) return HONE_OK;
    return hone_fail(HONE_ERR_DATA,
                     "no record falls into the %s split; change the part of the records that is "
                     "kept for evaluation, or add records",
                     split == HONE_SPLIT_EVAL ? "evaluation" : "training");
}

hone_status hone_loader_new(hone_loader **out, const hone_samples *samples, hone_split split,
                            int64_t seq_len, uint64_t seed) {
    *out = NULL;
    int64_t longest = longest_in(samples, split);
    HONE_TRY(check_split(longest, split));
    hone_loader *loader = hone_alloc(1, sizeof *loader);
    if (!loader) return HONE_ERR_MEMORY;
    loader->samples = samples;
    loader->split = split;
    loader->seq_len = seq_len > 0 ? seq_len : longest;
    hone_status status = hone_packing_new(&loader->packing, length_in_split, loader,
                                          hone_samples_count(samples), loader->seq_len, seed);
    if (status != HONE_OK) {
        hone_loader_free(loader);
        return status;
    }
    *out = loader;
    return HONE_OK;
}

void hone_loader_free(hone_loader *loader) {
    if (!loader) return;
    hone_packing_free(loader->packing);
    hone_sample_free(&loader->sample);
    hone_free(loader);
}

int64_t hone_loader_bins(const hone_loader *loader) {
    return hone_packing_bins(loader->packing);
}

int64_t hone_loader_samples(const hone_loader *loader) {
    return hone_packing_samples(loader->packing);
}

int64_t hone_loader_tokens(const hone_loader *loader) {
    return hone_packing_tokens(loader->packing);
}

int64_t hone_loader_seq_len(const hone_loader *loader) {
    return loader->seq_len;
}

void hone_loader_skip(const hone_loader *loader, hone_cursor *cursor, int64_t bins) {
    int64_t in_epoch = hone_loader_bins(loader);
    int64_t at = cursor->bin + bins;
    cursor->epoch += at / in_epoch;
    cursor->bin = at % in_epoch;
}

/* --- what is next ---------------------------------------------------------------------------------------------- */

static hone_status count_bin(hone_loader_counts *out, const hone_loader *loader,
                             const hone_bin *bin) {
    for (int64_t k = 0; k < bin->count; k++) {
        hone_sample_info info;
        HONE_TRY(hone_samples_info(&info, loader->samples, bin->samples[k]));
        out->supervised += info.supervised;
    }
    out->documents += bin->count;
    out->tokens += bin->tokens;
    return HONE_OK;
}

hone_status hone_loader_count(hone_loader_counts *out, hone_loader *loader, hone_cursor cursor,
                              int64_t bins) {
    *out = (hone_loader_counts){0};
    for (int64_t i = 0; i < bins; i++) {
        hone_bin bin;
        HONE_TRY(hone_packing_bin(&bin, loader->packing, cursor.epoch, cursor.bin));
        HONE_TRY(count_bin(out, loader, &bin));
        hone_loader_skip(loader, &cursor, 1);
    }
    return HONE_OK;
}

/* --- filling --------------------------------------------------------------------------------------------------- */

/* One of several arrays that share a capacity, which moves when the last of them has grown. */
static hone_status grow(void *array, size_t capacity, int64_t need, size_t size) {
    return hone_grow(array, &capacity, (size_t)need, size);
}

/* Makes room for one more document. */
static hone_status make_room(hone_batch *batch, const hone_sample_info *info) {
    int64_t tokens = batch->tokens + info->length;
    int64_t rows = batch->rows + info->supervised;
    int64_t documents = batch->documents + 1;
    if (tokens > INT32_MAX)
        return hone_fail(HONE_ERR_USAGE, "a batch of more than 2^31 tokens; make it smaller");
    HONE_TRY(grow(&batch->ids, batch->token_capacity, tokens, sizeof *batch->ids));
    HONE_TRY(grow(&batch->positions, batch->token_capacity, tokens, sizeof *batch->positions));
    HONE_TRY(
        hone_grow(&batch->records, &batch->token_capacity, (size_t)tokens, sizeof *batch->records));
    HONE_TRY(grow(&batch->row, batch->row_capacity, rows, sizeof *batch->row));
    HONE_TRY(hone_grow(&batch->target, &batch->row_capacity, (size_t)rows, sizeof *batch->target));
    HONE_TRY(grow(&batch->document_begin, batch->document_capacity, documents,
                  sizeof *batch->document_begin));
    HONE_TRY(hone_grow(&batch->document_length, &batch->document_capacity, (size_t)documents,
                       sizeof *batch->document_length));
    return HONE_OK;
}

static hone_status check_mask(const hone_sample *sample) {
    int64_t targets = 0;
    for (int32_t i = 0; i < sample->info.length; i++) targets += sample->mask[i];
    if (targets == sample->info.supervised && sample->mask[0] == 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT,
                     "record %lld: the token cache is damaged; delete it, it will be made again",
                     (long long)sample->info.record);
}

static hone_status add_document(hone_batch *batch, const hone_sample *sample, int64_t index) {
    HONE_TRY(check_mask(sample));
    HONE_TRY(make_room(batch, &sample->info));
    int64_t begin = batch->tokens;
    batch->document_begin[batch->documents] = (int32_t)begin;
    batch->document_length[batch->documents++] = sample->info.length;
    for (int32_t i = 0; i < sample->info.length; i++) {
        int64_t t = begin + i;
        batch->ids[t] = sample->ids[i];
        batch->positions[t] = i;
        batch->records[t] = (uint32_t)index;
        if (!sample->mask[i]) continue;
        batch->row[batch->rows] = (int32_t)(t - 1);
        batch->target[batch->rows++] = sample->ids[i];
    }
    batch->tokens += sample->info.length;
    return HONE_OK;
}

static hone_status add_bin(hone_batch *batch, hone_loader *loader, hone_cursor cursor) {
    hone_bin bin;
    HONE_TRY(hone_packing_bin(&bin, loader->packing, cursor.epoch, cursor.bin));
    for (int64_t k = 0; k < bin.count; k++) {
        HONE_TRY(hone_samples_read(&loader->sample, loader->samples, bin.samples[k]));
        HONE_TRY(add_document(batch, &loader->sample, bin.samples[k]));
    }
    batch->bins++;
    return HONE_OK;
}

hone_status hone_loader_fill(hone_batch *out, hone_loader *loader, hone_cursor *cursor,
                             int64_t bins) {
    out->tokens = out->documents = out->rows = out->bins = 0;
    hone_cursor at = *cursor;
    for (int64_t i = 0; i < bins; i++) {
        HONE_TRY(add_bin(out, loader, at));
        hone_loader_skip(loader, &at, 1);
    }
    *cursor = at;
    return HONE_OK;
}
