#include "data/sample_build.h"

#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "data/record.h"

/* A block of records is read, encoded by all threads, and written. */
enum { BLOCK_RECORDS = 256, BLOCK_BYTES = 1 << 22, KEPT_BYTES = 1 << 16 };

/* One record on its way; its memory is used again. */
typedef struct job {
    hone_data_record record;
    hone_record parsed;
    hone_chat_samples samples; /* of a text record, one without a rendering */
    hone_status status;
} job;

typedef struct builder {
    const hone_sample_recipe *recipe;
    hone_token_writer *writer;
    hone_samples_ledger *ledger;
    int64_t longest_record; /* which one is the longest */
    job *jobs;              /* [BLOCK_RECORDS] */
    uint32_t *words;
    size_t word_capacity;
} builder;

/* --- one record ------------------------------------------------------------------------------------------------ */

static hone_status append_id(hone_encoding *encoding, int32_t id, size_t at) {
    size_t need = encoding->count + 1;
    if (need > encoding->capacity) {
        int32_t *ids = hone_realloc(encoding->ids, need, sizeof *ids);
        if (!ids) return HONE_ERR_MEMORY;
        encoding->ids = ids;
        hone_span *spans = hone_realloc(encoding->spans, need, sizeof *spans);
        if (!spans) return HONE_ERR_MEMORY;
        encoding->spans = spans;
        encoding->capacity = need;
    }
    encoding->ids[encoding->count] = id;
    encoding->spans[encoding->count++] = (hone_span){at, at};
    return HONE_OK;
}

/* Room for the one sample of a text record. */
static hone_status one_sample(hone_chat_sample **out, hone_chat_samples *samples) {
    if (samples->capacity == 0) {
        HONE_TRY(hone_grow(&samples->items, &samples->capacity, 1, sizeof *samples->items));
        memset(samples->items, 0, samples->capacity * sizeof *samples->items);
    }
    samples->count = 1;
    samples->reasoned = samples->unthinking = 0;
    *out = samples->items;
    return HONE_OK;
}

/* Plain text: what the tokenizer adds, and an end that the model can learn to say. Every token counts. */
static hone_status encode_text(job *j, const hone_tokenizer *tokenizer) {
    hone_encode_options options = {.add_special = true};
    hone_chat_sample *sample;
    HONE_TRY(one_sample(&sample, &j->samples));
    hone_encoding *encoding = &sample->encoding;
    hone_encoding_clear(encoding);
    HONE_TRY(hone_tokenizer_encode(tokenizer, encoding, j->parsed.text, j->parsed.text_length,
                                   &options));
    int32_t eos = hone_tokenizer_eos(tokenizer);
    bool ended = eos < 0 || (encoding->count > 0 && encoding->ids[encoding->count - 1] == eos);
    if (!ended) HONE_TRY(append_id(encoding, eos, j->parsed.text_length));
    HONE_TRY(hone_grow(&sample->mask, &sample->mask_capacity, encoding->count + 1, 1));
    memset(sample->mask, 1, encoding->count);
    sample->mask[0] = 0;
    return HONE_OK;
}

static hone_status encode_record(job *j, const hone_sample_recipe *recipe) {
    char name[64];
    snprintf(name, sizeof name, "record %lld", (long long)j->record.index);
    HONE_TRY(hone_record_parse(&j->parsed, j->record.json.data, j->record.json.length, name));
    if (j->parsed.text) return encode_text(j, recipe->tokenizer);
    if (!recipe->chat)
        return hone_fail(HONE_ERR_USAGE,
                         "a conversation, but no chat template is named; choose one of %s",
                         hone_chat_names());
    return hone_chat_samples_make(&j->samples, recipe->chat, recipe->tokenizer,
                                  &j->parsed.conversation,
                                  recipe->options->train_on == HONE_TRAIN_ON_ALL);
}

/* What messages call the data: the file it was made of where that is one, for the data file may be one that hone made
 * in passing and that is gone when the message is read. */
static const char *data_name(const builder *b) {
    const hone_datafile *data = b->recipe->data;
    return hone_datafile_sources(data) == 1 ? hone_datafile_source(data, 0)->name
                                            : hone_datafile_path(data);
}

static void encode_range(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    builder *b = context;
    for (int64_t i = begin; i < end; i++) b->jobs[i].status = encode_record(&b->jobs[i], b->recipe);
}

/* Messages belong to the thread they were set on, so the record is tried again on this one. */
static hone_status report_failure(builder *b, job *j) {
    hone_status status = encode_record(j, b->recipe);
    long long record = j->record.index;
    if (hone_datafile_sources(b->recipe->data) == 1)
        return hone_fail_context(status, "%s: record %lld", data_name(b), record);
    const hone_data_source *source = hone_datafile_source(b->recipe->data, j->record.source);
    return hone_fail_context(status, "%s: record %lld (from %s)", data_name(b), record,
                             source ? source->name : "an unknown source");
}

static void free_job(job *j) {
    hone_buf_free(&j->record.json);
    hone_record_free(&j->parsed);
    hone_chat_samples_free(&j->samples);
    *j = (job){0};
}

/* --- the length policy ----------------------------------------------------------------------------------------- */

/* Tokens begin <= i < end of a record become a sample, unless it holds nothing to learn. */
static hone_status write_piece(builder *b, const job *j, const hone_chat_sample *sample,
                               int32_t part, int64_t begin, int64_t end) {
    size_t length = (size_t)(end - begin);
    HONE_TRY(hone_grow(&b->words, &b->word_capacity, length, sizeof *b->words));
    hone_token_entry entry = {.record = j->record.index,
                              .hash = j->record.hash,
                              .part = part,
                              .source = j->record.source,
                              .length = (int32_t)length};
    for (size_t i = 0; i < length; i++) {
        bool target = i > 0 && sample->mask[begin + (int64_t)i];
        b->words[i] =
            (uint32_t)sample->encoding.ids[begin + (int64_t)i] | (target ? HONE_TOKEN_TARGET : 0);
        entry.supervised += target;
    }
    if (entry.supervised == 0) {
        b->ledger->unsupervised++;
        return HONE_OK;
    }
    b->ledger->samples++;
    b->ledger->tokens += entry.length;
    b->ledger->supervised += entry.supervised;
    return hone_token_writer_add(b->writer, &entry, b->words);
}

/* Pieces share one token: the last of one is the first of the next, where it only predicts. */
static hone_status write_split(builder *b, const job *j, const hone_chat_sample *sample,
                               int32_t *part) {
    int64_t count = (int64_t)sample->encoding.count, seq_len = b->recipe->options->seq_len;
    for (int64_t begin = 0; begin + 1 < count; begin += seq_len - 1) {
        int64_t end = begin + seq_len < count ? begin + seq_len : count;
        HONE_TRY(write_piece(b, j, sample, (*part)++, begin, end));
    }
    return HONE_OK;
}

static hone_status write_overlong(builder *b, const job *j, const hone_chat_sample *sample,
                                  int32_t *part) {
    b->ledger->overlong++;
    switch (b->recipe->options->overlong) {
    case HONE_OVERLONG_TRUNCATE:
        b->ledger->truncated++;
        return write_piece(b, j, sample, (*part)++, 0, b->recipe->options->seq_len);
    case HONE_OVERLONG_SPLIT:
        b->ledger->split++;
        return write_split(b, j, sample, part);
    case HONE_OVERLONG_DROP:
        b->ledger->dropped++;
        return HONE_OK;
    case HONE_OVERLONG_REFUSE:
        break; /* all of them are counted before the failure */
    }
    return HONE_OK;
}

static hone_status write_record(builder *b, const job *j) {
    int64_t seq_len = b->recipe->options->seq_len;
    int32_t part = 0;
    b->ledger->records++;
    b->ledger->reasoned += (int64_t)j->samples.reasoned;
    b->ledger->unthinking += (int64_t)j->samples.unthinking;
    for (size_t i = 0; i < j->samples.count; i++) {
        const hone_chat_sample *sample = &j->samples.items[i];
        int64_t count = (int64_t)sample->encoding.count;
        if (count > b->ledger->longest) {
            b->ledger->longest = count;
            b->longest_record = j->record.index;
        }
        HONE_TRY(seq_len == 0 || count <= seq_len ? write_piece(b, j, sample, part++, 0, count)
                                                  : write_overlong(b, j, sample, &part));
    }
    return HONE_OK;
}

/* --- blocks ---------------------------------------------------------------------------------------------------- */

static hone_status read_block(int64_t *count, builder *b, int64_t first) {
    int64_t records = hone_datafile_count(b->recipe->data);
    size_t bytes = 0;
    *count = 0;
    while (first + *count < records && *count < BLOCK_RECORDS && bytes < BLOCK_BYTES) {
        job *j = &b->jobs[*count];
        HONE_TRY(hone_datafile_read(&j->record, b->recipe->data, first + *count));
        bytes += j->record.json.length;
        ++*count;
    }
    return HONE_OK;
}

static hone_status build_block(int64_t *count, builder *b, int64_t first) {
    HONE_TRY(read_block(count, b, first));
    hone_parallel_each(*count, encode_range, b);
    for (int64_t i = 0; i < *count; i++) {
        job *j = &b->jobs[i];
        if (j->status != HONE_OK) return report_failure(b, j);
        HONE_TRY(write_record(b, j));
        if (j->record.json.capacity > KEPT_BYTES) free_job(j);
    }
    return HONE_OK;
}

static hone_status check_ledger(const builder *b) {
    const hone_samples_ledger *ledger = b->ledger;
    const hone_samples_options *options = b->recipe->options;
    const char *name = data_name(b);
    if (ledger->records == 0)
        return hone_fail(HONE_ERR_DATA, "%s: holds no records; add some with hone data add", name);
    if (ledger->overlong > 0 && options->overlong == HONE_OVERLONG_REFUSE)
        return hone_fail(
            HONE_ERR_DATA,
            "%s: %lld of %lld records are longer than %lld tokens; the longest, record "
            "%lld, has %lld. Take longer rows (--seq-len %lld), or choose what becomes of "
            "them (--set too_long=truncate, split or drop)",
            name, (long long)ledger->overlong, (long long)ledger->records,
            (long long)options->seq_len, (long long)b->longest_record, (long long)ledger->longest,
            (long long)ledger->longest);
    if (ledger->samples == 0)
        return hone_fail(HONE_ERR_DATA,
                         "%s: no token of its %lld records is to be learned (%lld have no "
                         "assistant's turn within the sequence length, %lld were dropped as too "
                         "long)",
                         name, (long long)ledger->records, (long long)ledger->unsupervised,
                         (long long)ledger->dropped);
    return HONE_OK;
}

static hone_status build_all(builder *b) {
    int64_t records = hone_datafile_count(b->recipe->data);
    for (int64_t first = 0; first < records;) {
        int64_t count;
        HONE_TRY(build_block(&count, b, first));
        first += count;
    }
    return check_ledger(b);
}

hone_status hone_samples_build(hone_token_writer *writer, hone_samples_ledger *ledger,
                               const hone_sample_recipe *recipe) {
    *ledger = (hone_samples_ledger){0};
    builder b = {.recipe = recipe, .writer = writer, .ledger = ledger};
    b.jobs = hone_alloc(BLOCK_RECORDS, sizeof *b.jobs);
    if (!b.jobs) return HONE_ERR_MEMORY;
    hone_status status = build_all(&b);
    for (int i = 0; i < BLOCK_RECORDS; i++) free_job(&b.jobs[i]);
    hone_free(b.jobs);
    hone_free(b.words);
    return status;
}
