#include <string.h>

#include "base/alloc.h"
#include "text/chat_parts.h"

static hone_status make_mask(hone_chat_sample *out) {
    const hone_rendering *r = &out->rendering;
    HONE_TRY(hone_grow(&out->mask, &out->mask_capacity, out->encoding.count + 1, 1));
    size_t span = 0;
    for (size_t i = 0; i < out->encoding.count; i++) {
        hone_span token = out->encoding.spans[i];
        while (span < r->supervised_count && r->supervised[span].end <= token.begin) span++;
        bool inside = span < r->supervised_count && r->supervised[span].begin <= token.begin;
        out->mask[i] = i > 0 && inside;
    }
    return HONE_OK;
}

hone_status hone_chat_encode(hone_chat_sample *out, const hone_tokenizer *tokenizer) {
    const hone_rendering *r = &out->rendering;
    const hone_encode_options options = {
        .parse_special = true, .literal = r->literal, .literal_count = r->literal_count};
    hone_encoding_clear(&out->encoding);
    HONE_TRY(hone_tokenizer_encode(tokenizer, &out->encoding, r->text.data ? r->text.data : "",
                                   r->text.length, &options));
    return make_mask(out);
}

/* --- the end of a turn ----------------------------------------------------------------------------------------- */

/* Control tokens have no text of their own in running text. */
static bool is_control(const hone_tokenizer *tokenizer, int32_t id, hone_buf *scratch) {
    hone_buf_clear(scratch);
    return hone_tokenizer_piece(tokenizer, scratch, id, false) == HONE_OK && scratch->length == 0;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

hone_status hone_chat_turn_end(size_t *out, const hone_tokenizer *tokenizer, const char *text,
                               size_t from, size_t length) {
    hone_encoding tokens = {0};
    hone_buf scratch = {0};
    const hone_encode_options options = {.parse_special = true};
    hone_status status =
        hone_tokenizer_encode(tokenizer, &tokens, text + from, length - from, &options);
    size_t end = 0, control = 0;
    for (size_t i = 0; status == HONE_OK && i < tokens.count && end == 0; i++) {
        if (hone_tokenizer_ends(tokenizer, tokens.ids[i])) end = tokens.spans[i].end;
        if (control == 0 && is_control(tokenizer, tokens.ids[i], &scratch))
            control = tokens.spans[i].end;
    }
    hone_encoding_free(&tokens);
    hone_buf_free(&scratch);
    if (end == 0) end = control;
    *out = from + end;
    if (end > 0) return status;
    *out = length;
    while (*out > from && is_space(text[*out - 1])) --*out;
    if (*out == from) *out = length;
    return status;
}
