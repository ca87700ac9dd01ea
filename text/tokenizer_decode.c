#include <string.h>

#include "base/alloc.h"
#include "text/byte_level.h"
#include "text/tokenizer_parts.h"
#include "text/utf8.h"

hone_status hone_decoder_replace(hone_decoder *decoder, const char *from, size_t from_length,
                                 const char *to, size_t to_length) {
    HONE_TRY(hone_grow(&decoder->replacements, &decoder->replacement_capacity,
                       decoder->replacement_count + 1, sizeof *decoder->replacements));
    hone_replacement *replacement = &decoder->replacements[decoder->replacement_count++];
    *replacement = (hone_replacement){.from = hone_strndup(from, from_length),
                                      .to = hone_strndup(to, to_length),
                                      .from_length = from_length,
                                      .to_length = to_length};
    return replacement->from && replacement->to ? HONE_OK : HONE_ERR_MEMORY;
}

void hone_decoder_free(hone_decoder *decoder) {
    for (size_t i = 0; i < decoder->replacement_count; i++) {
        hone_free(decoder->replacements[i].from);
        hone_free(decoder->replacements[i].to);
    }
    hone_free(decoder->replacements);
    hone_free(decoder->marker);
    *decoder = (hone_decoder){0};
}

/* Appends text with every `from` written as `to`; no `from` is empty. */
static hone_status replace_all(hone_buf *out, const char *text, size_t length, const char *from,
                               size_t from_length, const char *to, size_t to_length) {
    size_t done = 0;
    while (done < length) {
        const char *found = memmem(text + done, length - done, from, from_length);
        size_t at = found ? (size_t)(found - text) : length;
        HONE_TRY(hone_buf_append(out, text + done, at - done));
        if (!found) return HONE_OK;
        HONE_TRY(hone_buf_append(out, to, to_length));
        done = at + from_length;
    }
    return HONE_OK;
}

/* Runs the replacements of the decoder over the bytes of `out` from `start` on. */
static hone_status replace_from(hone_buf *out, size_t start, const hone_replacement *replacement) {
    if (out->length == start) return HONE_OK;
    hone_buf changed = {0};
    hone_status status =
        replace_all(&changed, out->data + start, out->length - start, replacement->from,
                    replacement->from_length, replacement->to, replacement->to_length);
    if (status == HONE_OK) {
        out->length = start;
        status = hone_buf_append(out, changed.data, changed.length);
    }
    hone_buf_free(&changed);
    return status;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a token `<0xNN>`, or -1. */
static int fallback_byte(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]);
    int low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* Whether every character is of the byte-level alphabet: else the token stands for its own text. */
static bool spells_bytes(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += hone_utf8_next(&code, text + at, length - at);
        if (hone_byte_level_of(code) < 0) return false;
    }
    return true;
}

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

/* `first`: the token starts a text. */
static hone_status put_piece(hone_buf *out, const hone_tokenizer *tokenizer,
                             const hone_token *token, bool first) {
    const hone_decoder *decoder = &tokenizer->decoder;
    size_t length;
    const char *text = text_of(&length, tokenizer, token);
    if (decoder->added_as_is && is_added(token)) {
        return hone_buf_append(out, text, length);
    }
    int byte = decoder->byte_fallback ? fallback_byte(text, length) : -1;
    if (byte >= 0) {
        char one = (char)byte;
        return hone_buf_append(out, &one, 1);
    }
    if (decoder->byte_level && spells_bytes(text, length)) {
        return hone_byte_level_decode(out, text, length);
    }
    size_t start = out->length;
    if (decoder->marker) {
        HONE_TRY(replace_all(out, text, length, decoder->marker, decoder->marker_length, " ",
                             first ? 0 : 1));
    } else {
        HONE_TRY(hone_buf_append(out, text, length));
    }
    for (size_t i = 0; i < decoder->replacement_count; i++) {
        HONE_TRY(replace_from(out, start, &decoder->replacements[i]));
    }
    return HONE_OK;
}

/* The token of an id that is to be written, or NULL. */
static const hone_token *written(const hone_tokenizer *tokenizer, int32_t id, bool special) {
    if (id >= tokenizer->size) return NULL;
    const hone_token *token = hone_vocab_at(&tokenizer->vocab, id);
    return token && is_control(token) && !special ? NULL : token;
}

hone_status hone_tokenizer_piece(const hone_tokenizer *tokenizer, hone_buf *out, int32_t id,
                                 bool special) {
    const hone_token *token = written(tokenizer, id, special);
    return token ? put_piece(out, tokenizer, token, false) : HONE_OK;
}

hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, hone_buf *out,
                                  const int32_t *ids, size_t count, bool special) {
    hone_buf bytes = {0};
    hone_status status = HONE_OK;
    bool first = true;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        const hone_token *token = written(tokenizer, ids[i], special);
        if (!token) continue;
        status = put_piece(&bytes, tokenizer, token, first);
        first = false;
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
