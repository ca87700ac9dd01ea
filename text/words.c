#include "text/words.h"

#include "base/alloc.h"
#include "text/utf8.h"

void hone_words_free(hone_words *words) {
    hone_free(words->prefix);
    *words = (hone_words){0};
}

static hone_status put_unknown(const hone_words *words, hone_bpe_scratch *out, size_t begin,
                               size_t end) {
    if (words->unknown >= 0) {
        return hone_bpe_put(out, words->unknown, (uint32_t)begin, (uint32_t)end);
    }
    return hone_fail(HONE_ERR_DATA,
                     "byte %zu of a text: a word that is no token, and the tokenizer has no token "
                     "for the unknown",
                     begin);
}

static bool too_long(const hone_words *words, const char *text, size_t begin, size_t end) {
    size_t count = 0;
    for (; begin < end && count <= words->most; count++) begin += hone_utf8_length(text[begin]);
    return count > words->most;
}

/* The longest token at `at`, inside a word with the prefix of what continues one; -1 for none. */
static hone_status longest_token(int32_t *id, size_t *stop, const hone_words *words,
                                 hone_buf *spelling, const char *text, size_t at, size_t end,
                                 bool first) {
    hone_buf_clear(spelling);
    size_t prefix = first ? 0 : words->prefix_length;
    if (prefix) HONE_TRY(hone_buf_append(spelling, words->prefix, prefix));
    size_t most = end - at;
    if (most > words->longest) most = words->longest;
    HONE_TRY(hone_buf_append(spelling, text + at, most));
    while (most > 0 && at + most < end && (text[at + most] & 0xc0) == 0x80) most--;
    for (*stop = at + most; *stop > at;) {
        *id = hone_vocab_find_own(words->vocab, spelling->data, prefix + (*stop - at));
        if (*id >= 0) return HONE_OK;
        int32_t code;
        *stop = hone_utf8_before(&code, text, *stop);
    }
    *id = -1;
    return HONE_OK;
}

hone_status hone_words_encode(const hone_words *words, hone_bpe_scratch *out, const char *text,
                              size_t begin, size_t end) {
    size_t before = out->count;
    if (words->whole) {
        int32_t id = hone_vocab_find_own(words->vocab, text + begin, end - begin);
        if (id < 0) return put_unknown(words, out, begin, end);
        return hone_bpe_put(out, id, (uint32_t)begin, (uint32_t)end);
    }
    if (too_long(words, text, begin, end)) return put_unknown(words, out, begin, end);
    for (size_t at = begin; at < end;) {
        int32_t id;
        size_t stop;
        HONE_TRY(longest_token(&id, &stop, words, &out->spelling, text, at, end, at == begin));
        if (id < 0) {
            out->count = before;
            return put_unknown(words, out, begin, end);
        }
        HONE_TRY(hone_bpe_put(out, id, (uint32_t)at, (uint32_t)stop));
        at = stop;
    }
    return HONE_OK;
}
