#include "base/alloc.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

static bool is_control(const hone_token *token) {
    return token->kind == HONE_TOKEN_CONTROL || token->kind == HONE_TOKEN_UNKNOWN;
}

static bool is_added(const hone_token *token) {
    return is_control(token) || token->kind == HONE_TOKEN_USER;
}

/* The text that a token stands for: of an added token with `normalized`, what it was looked for by (tokenizers). */
static const char *text_of(size_t *length, const hone_tokenizer *tokenizer,
                           const hone_token *token) {
    const hone_added *added = &tokenizer->normalized;
    int32_t id = (int32_t)(token - tokenizer->vocab.tokens);
    for (size_t i = 0; is_added(token) && i < added->count; i++) {
        if (added->items[i].id != id) continue;
        *length = added->items[i].length;
        return added->items[i].pattern;
    }
    *length = token->length;
    return hone_vocab_text(&tokenizer->vocab, token);
}

/* The token of an id that is to be written, or NULL. */
static const hone_token *written(const hone_tokenizer *tokenizer, int32_t id, bool special) {
    if (id >= tokenizer->size) return NULL;
    const hone_token *token = hone_vocab_at(&tokenizer->vocab, id);
    return token && is_control(token) && !special ? NULL : token;
}

/* Appends one token as it stands inside a text. */
static hone_status put_part(hone_buf *out, const hone_tokenizer *tokenizer, const hone_token *token,
                            hone_decoding *decoding) {
    const hone_decoder *decoder = &tokenizer->decoder;
    size_t length;
    const char *text = text_of(&length, tokenizer, token);
    if (decoder->by_token && is_added(token)) return hone_buf_append(out, text, length);
    if (decoder->count == 0) HONE_TRY(hone_buf_append(out, " ", 1));
    decoding->part = true;
    hone_strings_clear(&decoding->in);
    HONE_TRY(hone_strings_add(&decoding->in, text, length));
    HONE_TRY(hone_decoder_run(decoder, decoding));
    const hone_buf *bytes = &decoding->in.bytes;
    return hone_buf_append(out, bytes->data ? bytes->data : "", bytes->length);
}

hone_status hone_tokenizer_piece(const hone_tokenizer *tokenizer, hone_buf *out, int32_t id,
                                 bool special) {
    const hone_token *token = written(tokenizer, id, special);
    if (!token) return HONE_OK;
    hone_decoding decoding = {0};
    hone_status status = put_part(out, tokenizer, token, &decoding);
    hone_decoding_free(&decoding);
    return status;
}

static hone_status decode_by_token(const hone_tokenizer *tokenizer, hone_buf *out,
                                   const int32_t *ids, size_t count, bool special,
                                   hone_decoding *decoding) {
    hone_buf bytes = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        const hone_token *token = written(tokenizer, ids[i], special);
        if (token) status = put_part(&bytes, tokenizer, token, decoding);
    }
    size_t start = 0;
    while (start < tokenizer->decoder.strip && start < bytes.length && bytes.data[start] == ' ') {
        start++;
    }
    if (status == HONE_OK && bytes.length > start) {
        status = hone_utf8_repair(out, bytes.data + start, bytes.length - start);
    }
    hone_buf_free(&bytes);
    return status;
}

static hone_status decode_list(const hone_tokenizer *tokenizer, hone_buf *out, const int32_t *ids,
                               size_t count, bool special, hone_decoding *decoding) {
    const hone_decoder *decoder = &tokenizer->decoder;
    for (size_t i = 0; i < count; i++) {
        const hone_token *token = written(tokenizer, ids[i], special);
        if (!token) continue;
        size_t length;
        const char *text = text_of(&length, tokenizer, token);
        if (decoder->count == 0 && decoding->in.count > 0) {
            HONE_TRY(hone_buf_append(&decoding->in.bytes, " ", 1));
        }
        HONE_TRY(hone_strings_add(&decoding->in, text, length));
    }
    if (decoding->in.count > 0) HONE_TRY(hone_decoder_run(decoder, decoding));
    const hone_buf *bytes = &decoding->in.bytes;
    return hone_utf8_repair(out, bytes->data ? bytes->data : "", bytes->length);
}

hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, hone_buf *out,
                                  const int32_t *ids, size_t count, bool special) {
    hone_decoding decoding = {0};
    hone_status status = tokenizer->decoder.by_token
                             ? decode_by_token(tokenizer, out, ids, count, special, &decoding)
                             : decode_list(tokenizer, out, ids, count, special, &decoding);
    hone_decoding_free(&decoding);
    return status;
}
