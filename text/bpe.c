#include "text/bpe.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/byte_level.h"
#include "text/utf8.h"

static const char MARKER[] = "\xe2\x96\x81"; /* U+2581, a space in the vocabulary */
enum { MARKER_BYTES = sizeof MARKER - 1 };

void hone_bpe_free(hone_bpe *bpe) {
    hone_free(bpe->pairs);
    hone_free(bpe->prefix);
    hone_free(bpe->suffix);
    *bpe = (hone_bpe){0};
}

/* --- The table of pairs --- */

static size_t pair_start(const hone_bpe *bpe, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (bpe->pair_slots - 1);
}

static hone_bpe_pair *pair_slot(const hone_bpe *bpe, int32_t left, int32_t right) {
    size_t mask = bpe->pair_slots - 1;
    size_t at = pair_start(bpe, left, right);
    for (;; at = (at + 1) & mask) {
        hone_bpe_pair *pair = &bpe->pairs[at];
        if (pair->left < 0 || (pair->left == left && pair->right == right)) return pair;
    }
}

const hone_bpe_pair *hone_bpe_find(const hone_bpe *bpe, int32_t left, int32_t right) {
    if (left < 0 || right < 0 || bpe->pair_slots == 0) return NULL;
    const hone_bpe_pair *pair = pair_slot(bpe, left, right);
    return pair->left < 0 ? NULL : pair;
}

hone_status hone_bpe_reserve(hone_bpe *bpe, size_t count) {
    size_t slots = bpe->pair_slots ? bpe->pair_slots : 64;
    while (slots / 2 < count) slots *= 2;
    if (slots == bpe->pair_slots) return HONE_OK;
    hone_bpe_pair *old = bpe->pairs;
    size_t old_slots = bpe->pair_slots;
    hone_bpe_pair *pairs = hone_alloc(slots, sizeof *pairs);
    if (!pairs) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < slots; i++) pairs[i].left = -1;
    bpe->pairs = pairs;
    bpe->pair_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].left >= 0) *pair_slot(bpe, old[i].left, old[i].right) = old[i];
    }
    hone_free(old);
    return HONE_OK;
}

hone_status hone_bpe_add(hone_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t joined,
                         bool last) {
    if (2 * (bpe->pair_count + 1) > bpe->pair_slots) {
        HONE_TRY(hone_bpe_reserve(bpe, bpe->pair_count + 1));
    }
    hone_bpe_pair *pair = pair_slot(bpe, left, right);
    if (pair->left >= 0 && !last) return HONE_OK;
    if (pair->left < 0) bpe->pair_count++;
    *pair = (hone_bpe_pair){left, right, rank, joined};
    return HONE_OK;
}

/* --- After loading --- */

static void fill_byte_tables(hone_bpe *bpe) {
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        int32_t fallback = hone_vocab_find_own(bpe->vocab, name, strlen(name));
        bpe->byte_token[byte] = fallback < bpe->token_count ? fallback : -1;
        char spelling[4] = {(char)byte};
        size_t length = bpe->bytes ? hone_byte_level_put(spelling, (unsigned char)byte) : 1;
        bpe->byte_symbol[byte] =
            bpe->bytes || byte < 0x80 ? hone_vocab_find_own(bpe->vocab, spelling, length) : -1;
        if (!bpe->bytes || !bpe->fallback_last) continue;
        /* llama.cpp spells what is no token byte by byte, and only ASCII survives that */
        int32_t symbol = bpe->byte_symbol[byte];
        bpe->byte_token[byte] = length == 1 && symbol < bpe->token_count ? symbol : -1;
    }
}

/* Whether a marker stands in the text right after something that is no marker. */
static bool has_inner_marker(const char *text, size_t length) {
    bool after_other = false;
    for (size_t at = 0; at < length;) {
        size_t bytes = hone_utf8_length(text[at]);
        bool marker = length - at >= MARKER_BYTES && memcmp(text + at, MARKER, MARKER_BYTES) == 0;
        if (marker && after_other) return true;
        after_other = !marker;
        at += bytes;
    }
    return false;
}

static bool cuts_at_marker(const hone_bpe *bpe) {
    if (bpe->bytes || bpe->ignore_merges || bpe->prefix || bpe->suffix) return false;
    if (hone_vocab_find_own(bpe->vocab, MARKER, MARKER_BYTES) < 0) return false;
    for (size_t i = 0; i < bpe->pair_slots; i++) {
        if (bpe->pairs[i].left < 0) continue;
        const hone_token *token = hone_vocab_at(bpe->vocab, bpe->pairs[i].joined);
        if (token && has_inner_marker(hone_vocab_text(bpe->vocab, token), token->length)) {
            return false;
        }
    }
    return true;
}

void hone_bpe_finish(hone_bpe *bpe) {
    fill_byte_tables(bpe);
    bpe->cuts_at_marker = cuts_at_marker(bpe);
    bpe->longest = 0;
    for (size_t i = 0; i < bpe->vocab->count; i++) {
        size_t length = bpe->vocab->tokens[i].length;
        if (length > bpe->longest) bpe->longest = length;
    }
}

/* --- Symbols --- */

/* Symbols being laid down, with the unknown that may still grow. */
typedef struct start {
    const hone_bpe *bpe;
    hone_bpe_scratch *scratch;
    size_t count;
    bool unknown;
    uint32_t unknown_begin, unknown_end;
} start;

static void lay(start *s, int32_t id, uint32_t begin, uint32_t end) {
    s->scratch->symbols[s->count++] = (hone_bpe_symbol){.id = id, .begin = begin, .end = end};
}

static void lay_unknown(start *s) {
    if (s->unknown) lay(s, s->bpe->unknown, s->unknown_begin, s->unknown_end);
    s->unknown = false;
}

/* All bytes have a fallback token or none is used. The unknown before them stays pending, as tokenizers has it.
 * `bytes` is how text[begin..end) is spelled: longer where there are affixes. */
static bool lay_bytes(start *s, const char *bytes, size_t length, uint32_t begin, uint32_t end) {
    for (size_t i = 0; i < length; i++) {
        if (s->bpe->byte_token[(unsigned char)bytes[i]] < 0) return false;
    }
    bool plain = length == end - begin;
    for (uint32_t i = 0; i < length; i++) {
        int32_t id = s->bpe->byte_token[(unsigned char)bytes[i]];
        lay(s, id, plain ? begin + i : begin, plain ? begin + i + 1 : end);
    }
    return true;
}

static void lay_missing(start *s, const char *bytes, size_t length, uint32_t begin, uint32_t end) {
    const hone_bpe *bpe = s->bpe;
    if (bpe->fallback_last) {
        lay(s, -1, begin, end);
        return;
    }
    if (bpe->byte_fallback && lay_bytes(s, bytes, length, begin, end)) return;
    if (bpe->unknown < 0) return;
    if (s->unknown && !bpe->fuse_unknown) lay_unknown(s);
    if (!s->unknown) s->unknown_begin = begin;
    s->unknown = true;
    s->unknown_end = end;
}

/* Symbols of a model with affixes: each is looked for as it would be spelled. */
static hone_status lay_spelled(const hone_bpe *bpe, hone_bpe_scratch *scratch, size_t *count,
                               const char *text, uint32_t begin, uint32_t end) {
    start s = {.bpe = bpe, .scratch = scratch};
    hone_buf *spelling = &scratch->spelling;
    for (uint32_t at = begin; at < end;) {
        uint32_t next = at + (uint32_t)hone_utf8_length(text[at]);
        hone_buf_clear(spelling);
        if (at > begin && bpe->prefix) HONE_TRY(hone_buf_puts(spelling, bpe->prefix));
        HONE_TRY(hone_buf_append(spelling, text + at, next - at));
        if (next == end && bpe->suffix) HONE_TRY(hone_buf_puts(spelling, bpe->suffix));
        int32_t id = hone_vocab_find_own(bpe->vocab, spelling->data, spelling->length);
        if (id >= 0) {
            lay_unknown(&s);
            lay(&s, id, at, next);
        } else {
            /* room: as many symbols as spelled bytes, and one for each byte of text that is left */
            HONE_TRY(hone_grow(&scratch->symbols, &scratch->symbol_capacity,
                               s.count + spelling->length + (end - at) + 2,
                               sizeof *scratch->symbols));
            lay_missing(&s, spelling->data, spelling->length, at, next);
        }
        at = next;
    }
    lay_unknown(&s);
    *count = s.count;
    return HONE_OK;
}

static size_t lay_symbols(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                          uint32_t begin, uint32_t end) {
    start s = {.bpe = bpe, .scratch = scratch};
    for (uint32_t at = begin; at < end;) {
        unsigned char lead = (unsigned char)text[at];
        uint32_t bytes = bpe->bytes ? 1 : (uint32_t)hone_utf8_length(text[at]);
        int32_t id =
            bytes == 1 ? bpe->byte_symbol[lead] : hone_vocab_find_own(bpe->vocab, text + at, bytes);
        if (id >= 0) {
            lay_unknown(&s);
            lay(&s, id, at, at + bytes);
        } else {
            lay_missing(&s, text + at, bytes, at, at + bytes);
        }
        at += bytes;
    }
    lay_unknown(&s);
    return s.count;
}

/* --- Tokens --- */

hone_status hone_bpe_put(hone_bpe_scratch *scratch, int32_t id, uint32_t begin, uint32_t end) {
    if (scratch->count == scratch->capacity) {
        HONE_TRY(hone_grow(&scratch->tokens, &scratch->capacity, scratch->count + 1,
                           sizeof *scratch->tokens));
    }
    scratch->tokens[scratch->count++] = (hone_bpe_token){id, begin, end};
    return HONE_OK;
}

/* An unknown symbol; neighbours are one. `first`: tokens before this piece. */
static hone_status put_fused(const hone_bpe *bpe, hone_bpe_scratch *scratch, uint32_t begin,
                             uint32_t end, size_t first) {
    hone_bpe_token *last = scratch->count > first ? &scratch->tokens[scratch->count - 1] : NULL;
    if (!last || last->id != bpe->unknown) return hone_bpe_put(scratch, bpe->unknown, begin, end);
    last->end = end;
    return HONE_OK;
}

/* A symbol that is no token, byte by byte. */
static hone_status put_spelled(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                               uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) {
        int32_t id = bpe->byte_token[(unsigned char)text[i]];
        if (id < 0) id = bpe->unknown;
        if (id >= 0) HONE_TRY(hone_bpe_put(scratch, id, i, i + 1));
    }
    return HONE_OK;
}

static hone_status encode_merging(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                                  uint32_t begin, uint32_t end) {
    HONE_TRY(hone_grow(&scratch->symbols, &scratch->symbol_capacity, (size_t)(end - begin) + 1,
                       sizeof *scratch->symbols));
    size_t count;
    if (bpe->prefix || bpe->suffix) {
        HONE_TRY(lay_spelled(bpe, scratch, &count, text, begin, end));
    } else {
        count = lay_symbols(bpe, scratch, text, begin, end);
    }
    HONE_TRY(hone_bpe_merge(bpe, scratch, &count));
    bool fuses = bpe->fallback_last && bpe->fuse_unknown && !bpe->byte_fallback;
    size_t first = scratch->count;
    for (size_t i = 0; i < count; i++) {
        hone_bpe_symbol symbol = scratch->symbols[i];
        if (symbol.id >= 0 && symbol.id < bpe->token_count) {
            HONE_TRY(hone_bpe_put(scratch, symbol.id, symbol.begin, symbol.end));
        } else if (fuses) {
            HONE_TRY(put_fused(bpe, scratch, symbol.begin, symbol.end, first));
        } else {
            HONE_TRY(put_spelled(bpe, scratch, text, symbol.begin, symbol.end));
        }
    }
    return HONE_OK;
}

/* The token that is exactly the piece, or -1. */
static hone_status find_whole(int32_t *id, const hone_bpe *bpe, hone_bpe_scratch *scratch,
                              const char *piece, size_t length) {
    *id = -1;
    if (length > bpe->longest) return HONE_OK;
    if (bpe->bytes) {
        hone_buf_clear(&scratch->spelling);
        for (size_t i = 0; i < length; i++) {
            char character[4];
            size_t bytes = hone_byte_level_put(character, (unsigned char)piece[i]);
            HONE_TRY(hone_buf_append(&scratch->spelling, character, bytes));
        }
        piece = scratch->spelling.data;
        length = scratch->spelling.length;
    }
    *id = hone_vocab_find_own(bpe->vocab, piece, length);
    if (*id >= bpe->token_count) *id = -1;
    return HONE_OK;
}

static hone_status encode_fresh(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                                uint32_t begin, uint32_t end) {
    if (bpe->ignore_merges || (bpe->whole_newlines && text[begin] == '\n')) {
        int32_t id;
        HONE_TRY(find_whole(&id, bpe, scratch, text + begin, end - begin));
        if (id >= 0) return hone_bpe_put(scratch, id, begin, end);
    }
    return encode_merging(bpe, scratch, text, begin, end);
}

static hone_status repeat_known(hone_bpe_scratch *scratch, const hone_bpe_known *known,
                                uint32_t begin) {
    uint32_t shift = begin - known->begin;
    for (uint32_t i = 0; i < known->count; i++) {
        hone_bpe_token token = scratch->tokens[known->first + i];
        HONE_TRY(hone_bpe_put(scratch, token.id, token.begin + shift, token.end + shift));
    }
    return HONE_OK;
}

/* Where the cache keeps a piece, and the key it has there; NULL for a piece that is too long. */
static hone_bpe_known *known_slot(char key[HONE_BPE_KEY], const hone_bpe_scratch *scratch,
                                  const char *piece, size_t length) {
    if (length >= HONE_BPE_KEY) return NULL;
    memset(key, 0, HONE_BPE_KEY);
    memcpy(key, piece, length);
    key[HONE_BPE_KEY - 1] = (char)length;
    size_t slot = (size_t)(hone_text_hash(piece, length) >> 40);
    return &scratch->known[slot & (HONE_BPE_KNOWN - 1)];
}

hone_status hone_bpe_recall(bool *known, hone_bpe_scratch *scratch, const char *text, size_t begin,
                            size_t end) {
    char key[HONE_BPE_KEY];
    const hone_bpe_known *slot = known_slot(key, scratch, text + begin, end - begin);
    *known = slot && memcmp(slot->key, key, sizeof key) == 0;
    return *known ? repeat_known(scratch, slot, (uint32_t)begin) : HONE_OK;
}

void hone_bpe_remember(hone_bpe_scratch *scratch, const char *text, size_t begin, size_t end,
                       size_t first) {
    char key[HONE_BPE_KEY];
    hone_bpe_known *slot = known_slot(key, scratch, text + begin, end - begin);
    if (!slot) return;
    memcpy(slot->key, key, sizeof key);
    slot->first = first;
    slot->count = (uint32_t)(scratch->count - first);
    slot->begin = (uint32_t)begin;
}

static hone_status encode_piece(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                                uint32_t begin, uint32_t end) {
    char key[HONE_BPE_KEY];
    hone_bpe_known *slot = known_slot(key, scratch, text + begin, end - begin);
    if (!slot) return encode_fresh(bpe, scratch, text, begin, end);
    if (memcmp(slot->key, key, sizeof key) == 0) return repeat_known(scratch, slot, begin);
    size_t first = scratch->count;
    HONE_TRY(encode_fresh(bpe, scratch, text, begin, end));
    memcpy(slot->key, key, sizeof key);
    slot->first = first;
    slot->count = (uint32_t)(scratch->count - first);
    slot->begin = begin;
    return HONE_OK;
}

/* The end of the stretch at `begin` that no pair can reach across. */
static size_t cut_after(const char *text, size_t begin, size_t end) {
    bool after_other = false;
    for (size_t at = begin; at < end;) {
        bool marker = text[at] == MARKER[0] && end - at >= MARKER_BYTES &&
                      memcmp(text + at, MARKER, MARKER_BYTES) == 0;
        if (marker && after_other) return at;
        after_other = !marker;
        at += hone_utf8_length(text[at]);
    }
    return end;
}

hone_status hone_bpe_encode(const hone_bpe *bpe, hone_bpe_scratch *scratch, const char *text,
                            size_t begin, size_t end) {
    while (begin < end) {
        size_t cut = bpe->cuts_at_marker ? cut_after(text, begin, end) : end;
        HONE_TRY(encode_piece(bpe, scratch, text, (uint32_t)begin, (uint32_t)cut));
        begin = cut;
    }
    return HONE_OK;
}

/* --- Scratch --- */

enum { KEPT_TOKENS = 1 << 17, KEPT_SYMBOLS = 1 << 12 };

/* A long text may have left large arrays behind. */
static void shrink(hone_bpe_scratch *scratch) {
    hone_free(scratch->tokens);
    hone_free(scratch->symbols);
    hone_free(scratch->heap);
    scratch->tokens = NULL;
    scratch->symbols = NULL;
    scratch->heap = NULL;
    scratch->count = scratch->capacity = 0;
    scratch->symbol_capacity = 0;
    scratch->heap_count = scratch->heap_capacity = 0;
}

hone_status hone_bpe_scratch_begin(hone_bpe_scratch *scratch) {
    if (!scratch->known) {
        scratch->known = hone_alloc(HONE_BPE_KNOWN, sizeof *scratch->known);
        if (!scratch->known) return HONE_ERR_MEMORY;
    }
    if (scratch->count <= KEPT_TOKENS && scratch->symbol_capacity <= KEPT_SYMBOLS) return HONE_OK;
    memset(scratch->known, 0, HONE_BPE_KNOWN * sizeof *scratch->known);
    shrink(scratch);
    return HONE_OK;
}

void hone_bpe_scratch_free(hone_bpe_scratch *scratch) {
    hone_free(scratch->tokens);
    hone_free(scratch->symbols);
    hone_free(scratch->heap);
    hone_free(scratch->known);
    hone_buf_free(&scratch->spelling);
    *scratch = (hone_bpe_scratch){0};
}
