#include <stdatomic.h>

#include "base/alloc.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

/* What a call works with and the next one can use again. */
struct hone_encode_scratch {
    hone_work repaired;
    hone_work work;
    hone_matcher *matcher;
    hone_bpe_scratch bpe; /* tokens of any model gather in it */
    hone_unigram_scratch unigram;
};

/* One call. */
typedef struct run {
    const hone_tokenizer *tokenizer;
    const hone_encode_options *options;
    hone_encoding *out;
    const char *text; /* valid UTF-8: the input, or the repaired copy */
    size_t length;
    const hone_span *origin; /* of the repaired copy; NULL: it is the input */
    hone_encode_scratch *scratch;
} run;

static hone_status put(hone_encoding *out, int32_t id, hone_span span) {
    if (out->count == out->capacity) {
        size_t capacity = out->capacity;
        HONE_TRY(hone_grow(&out->spans, &capacity, out->count + 1, sizeof *out->spans));
        HONE_TRY(hone_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids));
    }
    if (out->count > 0) { /* spans rise, also where a token lies in what another has swallowed */
        size_t last = out->spans[out->count - 1].begin;
        if (span.begin < last) span.begin = last;
        if (span.end < span.begin) span.end = span.begin;
    }
    out->ids[out->count] = id;
    out->spans[out->count++] = span;
    return HONE_OK;
}

/* A copy of the input with U+FFFD for what is no UTF-8. */
static hone_status repair(run *r, size_t good) {
    hone_work *work = &r->scratch->repaired;
    HONE_TRY(hone_work_set(work, r->text, r->length, NULL, 0));
    hone_work_rewrite(work);
    size_t at = 0;
    for (;;) {
        HONE_TRY(hone_work_copy(work, at, at + good));
        at += good;
        if (at == r->length) break;
        int32_t code;
        size_t bytes = hone_utf8_next(&code, r->text + at, r->length - at);
        HONE_TRY(hone_work_put(work, HONE_UTF8_REPLACEMENT, 3, (hone_span){at, at + bytes}));
        at += bytes;
        good = hone_utf8_valid(r->text + at, r->length - at);
    }
    hone_work_rewritten(work);
    r->text = work->data;
    r->length = work->length;
    r->origin = work->origin;
    return HONE_OK;
}

/* --- Stretches without special tokens --- */

static hone_status encode_remembering(run *r, size_t begin, size_t end) {
    const hone_tokenizer *tokenizer = r->tokenizer;
    const char *text = r->scratch->work.data;
    hone_bpe_scratch *out = &r->scratch->bpe;
    bool known;
    HONE_TRY(hone_bpe_recall(&known, out, text, begin, end));
    if (known) return HONE_OK;
    size_t first = out->count;
    HONE_TRY(
        tokenizer->model == HONE_MODEL_UNIGRAM
            ? hone_unigram_encode(&tokenizer->unigram, &r->scratch->unigram, out, text, begin, end)
            : hone_words_encode(&tokenizer->words, out, text, begin, end));
    hone_bpe_remember(out, text, begin, end, first);
    return HONE_OK;
}

static hone_status encode_piece(run *r, size_t begin, size_t end) {
    const hone_tokenizer *tokenizer = r->tokenizer;
    if (tokenizer->model != HONE_MODEL_BPE) return encode_remembering(r, begin, end);
    return hone_bpe_encode(&tokenizer->bpe, &r->scratch->bpe, r->scratch->work.data, begin, end);
}

static hone_status encode_pieces(run *r) {
    const hone_work *work = &r->scratch->work;
    if (work->length > UINT32_MAX - 1) {
        return hone_fail(HONE_ERR_DATA,
                         "a text of %zu bytes is longer than 4 GB; cut it into "
                         "records",
                         work->length);
    }
    for (size_t i = 0; i < work->pieces.count; i++) {
        hone_piece piece = work->pieces.items[i];
        if (piece.id >= 0) {
            HONE_TRY(put(r->out, piece.id, hone_work_origin(work, piece.begin, piece.end)));
            continue;
        }
        size_t first = r->scratch->bpe.count;
        HONE_TRY(encode_piece(r, piece.begin, piece.end));
        for (size_t k = first; k < r->scratch->bpe.count; k++) {
            hone_bpe_token token = r->scratch->bpe.tokens[k];
            HONE_TRY(put(r->out, token.id, hone_work_origin(work, token.begin, token.end)));
        }
    }
    return HONE_OK;
}

static bool overlaps(const hone_span *spans, size_t count, hone_span with) {
    size_t low = 0; /* the first span that ends behind with.begin */
    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (spans[middle].end <= with.begin) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && spans[low].begin < with.end;
}

/* Whether a token found at these bytes of the input may stand for them. */
static bool allowed(const run *r, const hone_added_token *token, hone_span origin) {
    if (!token->control) return true;
    const hone_encode_options *options = r->options;
    return options->parse_special && !overlaps(options->literal, options->literal_count, origin);
}

/* Marks the normalised added tokens in the work text as pieces of their own. */
static hone_status cut_normalized(run *r) {
    const hone_added *added = &r->tokenizer->normalized;
    hone_work *work = &r->scratch->work;
    if (added->count == 0 || work->length == 0) return HONE_OK;
    work->spare.count = 0;
    size_t done = 0;
    size_t begin;
    const hone_added_token *token;
    for (size_t at = 0; (token = hone_added_find(&begin, added, work->data, work->length, at));) {
        size_t end = begin + token->length;
        at = end;
        if (!hone_added_fits(token, work->data, work->length, begin, end)) continue;
        if (!allowed(r, token, hone_work_origin(work, begin, end))) continue;
        hone_added_strip(&begin, &end, token, work->data, work->length, done);
        if (begin >= end) continue; /* white space that the one before took */
        if (begin > done) HONE_TRY(hone_pieces_add(&work->spare, done, begin, -1));
        HONE_TRY(hone_pieces_add(&work->spare, begin, end, token->id));
        done = end;
    }
    if (done < work->length) HONE_TRY(hone_pieces_add(&work->spare, done, work->length, -1));
    hone_work_take_spare(work);
    return HONE_OK;
}

static hone_status encode_stretch(run *r, size_t begin, size_t end) {
    if (begin >= end) return HONE_OK;
    HONE_TRY(hone_work_set(&r->scratch->work, r->text + begin, end - begin,
                           r->origin ? r->origin + begin : NULL, begin));
    HONE_TRY(hone_steps_run(&r->tokenizer->normalizers, &r->scratch->work, r->scratch->matcher));
    HONE_TRY(cut_normalized(r));
    HONE_TRY(hone_steps_run(&r->tokenizer->pretokenizers, &r->scratch->work, r->scratch->matcher));
    return encode_pieces(r);
}

/* --- The whole text --- */

static hone_span origin_of(const run *r, size_t begin, size_t end) {
    if (!r->origin) return (hone_span){begin, end};
    return (hone_span){r->origin[begin].begin, r->origin[end - 1].end};
}

static hone_status encode_text(run *r) {
    const hone_added *added = &r->tokenizer->raw;
    size_t done = 0;
    size_t begin;
    const hone_added_token *token;
    for (size_t at = 0; (token = hone_added_find(&begin, added, r->text, r->length, at));) {
        size_t end = begin + token->length;
        at = end;
        if (!hone_added_fits(token, r->text, r->length, begin, end)) continue;
        if (!allowed(r, token, origin_of(r, begin, end))) continue;
        hone_added_strip(&begin, &end, token, r->text, r->length, done);
        if (begin >= end) continue;
        HONE_TRY(encode_stretch(r, done, begin));
        HONE_TRY(put(r->out, token->id, origin_of(r, begin, end)));
        done =
            end; /* white space behind the token can still be a token, as in the tokenizers library */
    }
    return encode_stretch(r, done, r->length);
}

static hone_status put_around(run *r, const hone_ids *ids, size_t at) {
    if (!r->options->add_special) return HONE_OK;
    for (size_t i = 0; i < ids->count; i++) {
        HONE_TRY(put(r->out, ids->items[i], (hone_span){at, at}));
    }
    return HONE_OK;
}

static hone_status encode(run *r, size_t length) {
    size_t good = hone_utf8_valid(r->text, r->length);
    if (good < r->length) HONE_TRY(repair(r, good));
    HONE_TRY(put_around(r, &r->tokenizer->prefix, 0));
    HONE_TRY(encode_text(r));
    return put_around(r, &r->tokenizer->suffix, length);
}

/* --- Scratch --- */

void hone_encode_scratch_free(hone_encode_scratch *scratch) {
    if (!scratch) return;
    hone_work_free(&scratch->repaired);
    hone_work_free(&scratch->work);
    hone_matcher_free(scratch->matcher);
    hone_bpe_scratch_free(&scratch->bpe);
    hone_free(scratch->unigram.nodes);
    hone_free(scratch);
}

static hone_status scratch_new(hone_encode_scratch **out) {
    hone_encode_scratch *scratch = hone_alloc(1, sizeof *scratch);
    if (!scratch) return HONE_ERR_MEMORY;
    hone_status status = hone_matcher_new(&scratch->matcher);
    if (status != HONE_OK) {
        hone_encode_scratch_free(scratch);
        return status;
    }
    *out = scratch;
    return HONE_OK;
}

/* The spare scratches are the one thing that encoding changes: taken and given back as a whole. */
static hone_status take_scratch(hone_encode_scratch **out, const hone_tokenizer *tokenizer) {
    hone_tokenizer *owner = (hone_tokenizer *)(uintptr_t)tokenizer;
    for (int i = 0; i < HONE_SPARE_SCRATCHES; i++) {
        if (!owner->spare[i]) continue;
        *out = atomic_exchange(&owner->spare[i], NULL);
        if (*out) return HONE_OK;
    }
    return scratch_new(out);
}

static void give_scratch(const hone_tokenizer *tokenizer, hone_encode_scratch *scratch) {
    hone_tokenizer *owner = (hone_tokenizer *)(uintptr_t)tokenizer;
    hone_work_trim(&scratch->repaired);
    hone_work_trim(&scratch->work);
    hone_unigram_trim(&scratch->unigram);
    for (int i = 0; i < HONE_SPARE_SCRATCHES; i++) {
        hone_encode_scratch *empty = NULL;
        if (atomic_compare_exchange_strong(&owner->spare[i], &empty, scratch)) return;
    }
    hone_encode_scratch_free(scratch);
}

hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, hone_encoding *out,
                                  const char *text, size_t length,
                                  const hone_encode_options *options) {
    run r = {
        .tokenizer = tokenizer, .options = options, .out = out, .text = text, .length = length};
    size_t before = out->count;
    HONE_TRY(take_scratch(&r.scratch, tokenizer));
    hone_status status = hone_bpe_scratch_begin(&r.scratch->bpe);
    if (status == HONE_OK) status = encode(&r, length);
    if (status != HONE_OK) out->count = before;
    give_scratch(tokenizer, r.scratch);
    return status;
}

void hone_encoding_clear(hone_encoding *encoding) {
    encoding->count = 0;
}

void hone_encoding_free(hone_encoding *encoding) {
    if (!encoding) return;
    hone_free(encoding->ids);
    hone_free(encoding->spans);
    *encoding = (hone_encoding){0};
}
