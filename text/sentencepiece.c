#include "text/sentencepiece.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

typedef struct reader {
    const unsigned char *start; /* of the file */
    const unsigned char *at, *end;
    const char *file;
} reader;

/* A field: an integer in `number`, or bytes from `data` on. */
typedef struct field {
    uint64_t key, number;
    const unsigned char *data;
    size_t length;
} field;

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static hone_status corrupt(const reader *r, const char *what) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: byte %zu: %s; this is no SentencePiece model, or cut short", r->file,
                     (size_t)(r->at - r->start), what);
}

static hone_status read_varint(uint64_t *out, reader *r) {
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) return corrupt(r, "a number ends with the file");
        uint64_t byte = *r->at++;
        *out |= (byte & 0x7f) << shift;
        if (byte < 0x80) return HONE_OK;
    }
    return corrupt(r, "a number of more than 64 bits");
}

static hone_status read_field(field *out, reader *r) {
    HONE_TRY(read_varint(&out->key, r));
    uint64_t length;
    switch (out->key & 7) {
    case VARINT:
        return read_varint(&out->number, r);
    case FIXED64:
        length = 8;
        break;
    case FIXED32:
        length = 4;
        break;
    case BYTES:
        HONE_TRY(read_varint(&length, r));
        break;
    default:
        return corrupt(r, "a field of an unknown kind");
    }
    if (length > (uint64_t)(r->end - r->at)) return corrupt(r, "a field longer than what remains");
    out->data = r->at;
    out->length = (size_t)length;
    r->at += length;
    return HONE_OK;
}

#define FIELD(number, kind) ((number) << 3 | (kind))

static reader inside(const reader *r, const field *f) {
    return (reader){r->start, f->data, f->data + f->length, r->file};
}

static hone_status read_piece(hone_sentencepiece *model, reader r) {
    hone_sentencepiece_token token = {.kind = HONE_TOKEN_NORMAL};
    while (r.at < r.end) {
        field f;
        HONE_TRY(read_field(&f, &r));
        if (f.key == FIELD(1, BYTES)) {
            token.text = (const char *)f.data;
            token.length = f.length;
        } else if (f.key == FIELD(2, FIXED32)) {
            memcpy(&token.score, f.data, 4);
        } else if (f.key == FIELD(3, VARINT)) {
            if (f.number < HONE_TOKEN_NORMAL || f.number > HONE_TOKEN_BYTE) {
                return corrupt(&r, "a piece of an unknown type");
            }
            token.kind = (hone_token_kind)f.number;
        }
    }
    if (token.length == 0 || isnan(token.score) || token.length > UINT32_MAX ||
        hone_utf8_valid(token.text, token.length) < token.length) {
        return corrupt(&r, "a piece without text, or with one that is no UTF-8");
    }
    if (model->count >= INT32_MAX / 4) return corrupt(&r, "too many pieces");
    HONE_TRY(hone_grow(&model->tokens, &model->capacity, model->count + 1, sizeof *model->tokens));
    model->tokens[model->count++] = token;
    return HONE_OK;
}

static hone_status read_trainer(hone_sentencepiece *model, reader r) {
    enum { UNIGRAM = 1, BPE = 2 };
    while (r.at < r.end) {
        field f;
        HONE_TRY(read_field(&f, &r));
        if (f.key == FIELD(3, VARINT)) {
            if (f.number != UNIGRAM && f.number != BPE) {
                return hone_fail(HONE_ERR_UNSUPPORTED,
                                 "%s: trainer_spec.model_type %llu is not supported; known are "
                                 "Unigram (1) and BPE (2)",
                                 r.file, (unsigned long long)f.number);
            }
            model->bpe = f.number == BPE;
        } else if (f.key == FIELD(24, VARINT) && f.number) {
            return hone_fail(HONE_ERR_UNSUPPORTED,
                             "%s: trainer_spec.treat_whitespace_as_suffix is not supported",
                             r.file);
        } else if (f.key == FIELD(35, VARINT)) {
            model->byte_fallback = f.number != 0;
        }
    }
    return HONE_OK;
}

static hone_status read_normalizer(hone_sentencepiece *model, reader r) {
    while (r.at < r.end) {
        field f;
        HONE_TRY(read_field(&f, &r));
        if (f.key == FIELD(2, BYTES) && f.length > 0) {
            model->charsmap = f.data;
            model->charsmap_length = f.length;
        } else if (f.key == FIELD(3, VARINT)) {
            model->dummy_prefix = f.number != 0;
        } else if (f.key == FIELD(4, VARINT)) {
            model->remove_extra_spaces = f.number != 0;
        } else if (f.key == FIELD(5, VARINT)) {
            model->escape_spaces = f.number != 0;
        }
    }
    return HONE_OK;
}

static hone_status read_all(hone_sentencepiece *model, reader *r) {
    while (r->at < r->end) {
        field f;
        HONE_TRY(read_field(&f, r));
        if (f.key == FIELD(1, BYTES)) HONE_TRY(read_piece(model, inside(r, &f)));
        if (f.key == FIELD(2, BYTES)) HONE_TRY(read_trainer(model, inside(r, &f)));
        if (f.key == FIELD(3, BYTES)) HONE_TRY(read_normalizer(model, inside(r, &f)));
    }
    if (model->count == 0) return corrupt(r, "no pieces");
    for (size_t i = 0; i < model->count && model->bpe; i++) {
        if (model->tokens[i].kind != HONE_TOKEN_UNUSED) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: piece %zu: BPE with unused pieces is not supported", r->file, i);
    }
    return HONE_OK;
}

hone_status hone_sentencepiece_read(hone_sentencepiece *out, const void *bytes, size_t length,
                                    const char *file) {
    reader r = {bytes, bytes, (const unsigned char *)bytes + length, file};
    *out = (hone_sentencepiece){
        .dummy_prefix = true, .remove_extra_spaces = true, .escape_spaces = true};
    hone_status status = read_all(out, &r);
    if (status != HONE_OK) hone_sentencepiece_free(out);
    return status;
}

void hone_sentencepiece_free(hone_sentencepiece *model) {
    hone_free(model->tokens);
    *model = (hone_sentencepiece){0};
}
