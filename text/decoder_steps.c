#include <string.h>

#include "text/byte_level.h"
#include "text/decoder.h"
#include "text/steps.h"
#include "text/unicode_recent.h"
#include "text/utf8.h"

/* --- Bytes --- */

/* Whether every character is of the byte-level alphabet: else the token stands for its own text. */
static bool spells_bytes(const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        int32_t code;
        at += hone_utf8_next(&code, text + at, length - at);
        if (hone_byte_level_of(code) < 0) return false;
    }
    return true;
}

hone_status hone_decode_byte_level(const hone_decode_step *step, hone_decoding *decoding) {
    (void)step;
    hone_buf *bytes = decoding->part ? &decoding->out.bytes : &decoding->work.bytes;
    hone_strings_clear(&decoding->work);
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        HONE_TRY(spells_bytes(text, length) ? hone_byte_level_decode(bytes, text, length)
                                            : hone_buf_append(bytes, text, length));
    }
    if (!decoding->part) {
        const char *text = bytes->data ? bytes->data : "";
        HONE_TRY(hone_utf8_repair(&decoding->out.bytes, text, bytes->length));
    }
    return hone_strings_end(&decoding->out);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a token `<0xNN>`, or -1. */
static int fallback_byte(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int low = hex_digit(text[4]);
    int high = text[3] == '+' ? 0 : hex_digit(text[3]); /* Rust's numbers may have a sign */
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* Bytes gathered in `work`: as they are when they are UTF-8, else U+FFFD for each. */
static hone_status put_bytes(hone_decoding *decoding) {
    hone_buf *bytes = &decoding->work.bytes;
    size_t length = bytes->length;
    if (length == 0) return HONE_OK;
    bool valid = decoding->part || hone_utf8_valid(bytes->data, length) == length;
    if (valid) HONE_TRY(hone_strings_add(&decoding->out, bytes->data, length));
    for (size_t i = 0; i < length && !valid; i++) {
        HONE_TRY(hone_strings_add(&decoding->out, HONE_UTF8_REPLACEMENT, 3));
    }
    hone_buf_clear(bytes);
    return HONE_OK;
}

hone_status hone_decode_byte_fallback(const hone_decode_step *step, hone_decoding *decoding) {
    (void)step;
    hone_strings_clear(&decoding->work);
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        int byte = fallback_byte(text, length);
        if (byte >= 0) {
            HONE_TRY(hone_buf_append(&decoding->work.bytes, &(char){(char)byte}, 1));
            continue;
        }
        HONE_TRY(put_bytes(decoding));
        HONE_TRY(hone_strings_add(&decoding->out, text, length));
    }
    return put_bytes(decoding);
}

hone_status hone_decode_fuse(const hone_decode_step *step, hone_decoding *decoding) {
    (void)step;
    return hone_strings_add(&decoding->out, decoding->in.bytes.data ? decoding->in.bytes.data : "",
                            decoding->in.bytes.length);
}

/* --- Characters --- */

static hone_status replace_one(const hone_decode_step *step, hone_decoding *decoding,
                               const char *text, size_t length) {
    const char *view;
    HONE_TRY(hone_unicode_view(&view, &decoding->work.bytes, text, length));
    hone_matches matches = {view, length, 0, SIZE_MAX};
    size_t done = 0;
    while (length > 0) {
        size_t from, to;
        HONE_TRY(hone_matches_next(&from, &to, &matches, step->regex, decoding->matcher));
        if (from == SIZE_MAX) break;
        HONE_TRY(hone_buf_append(&decoding->out.bytes, text + done, from - done));
        HONE_TRY(hone_buf_append(&decoding->out.bytes, step->text, step->text_length));
        done = to;
    }
    HONE_TRY(hone_buf_append(&decoding->out.bytes, text + done, length - done));
    return hone_strings_end(&decoding->out);
}

hone_status hone_decode_replace(const hone_decode_step *step, hone_decoding *decoding) {
    if (!decoding->matcher) HONE_TRY(hone_matcher_new(&decoding->matcher));
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        if (hone_utf8_valid(text, length) < length) { /* bytes of a character in parts */
            HONE_TRY(hone_strings_add(&decoding->out, text, length));
        } else {
            HONE_TRY(replace_one(step, decoding, text, length));
        }
    }
    return HONE_OK;
}

hone_status hone_decode_strip(const hone_decode_step *step, hone_decoding *decoding) {
    size_t unit = step->text_length;
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t begin = 0, end;
        const char *text = hone_strings_at(&end, &decoding->in, i);
        size_t start = decoding->part ? 0 : step->start, stop = decoding->part ? 0 : step->stop;
        for (; start > 0 && end - begin >= unit; start--, begin += unit) {
            if (memcmp(text + begin, step->text, unit) != 0) break;
        }
        for (; stop > 0 && end - begin >= unit; stop--, end -= unit) {
            if (memcmp(text + end - unit, step->text, unit) != 0) break;
        }
        HONE_TRY(hone_strings_add(&decoding->out, text + begin, end - begin));
    }
    return HONE_OK;
}

/* Appends text with every `from`, not empty, written as `to`. */
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

hone_status hone_decode_metaspace(const hone_decode_step *step, hone_decoding *decoding) {
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        bool drops = i == 0 && step->flag && !decoding->part;
        HONE_TRY(replace_all(&decoding->out.bytes, text, length, step->text, step->text_length, " ",
                             drops ? 0 : 1));
        HONE_TRY(hone_strings_end(&decoding->out));
    }
    return HONE_OK;
}

/* --- Words --- */

/* Takes back the spaces that splitting at punctuation left, as the library has it: one rule after the other. */
static hone_status clean_up(hone_buf *out, hone_buf *other, size_t start) {
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules && out->length > start; i++) {
        hone_buf_clear(other);
        HONE_TRY(replace_all(other, out->data + start, out->length - start, rules[i][0],
                             strlen(rules[i][0]), rules[i][1], strlen(rules[i][1])));
        out->length = start;
        HONE_TRY(hone_buf_append(out, other->data ? other->data : "", other->length));
    }
    return HONE_OK;
}

hone_status hone_decode_wordpiece(const hone_decode_step *step, hone_decoding *decoding) {
    hone_buf *out = &decoding->out.bytes;
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length, start = out->length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        bool first = i == 0 && !decoding->part;
        size_t prefix = step->text_length;
        if (!first && length >= prefix && memcmp(text, step->text, prefix) == 0) {
            text += prefix;
            length -= prefix;
        } else if (!first) {
            HONE_TRY(hone_buf_append(out, " ", 1));
        }
        HONE_TRY(hone_buf_append(out, text, length));
        if (step->flag) HONE_TRY(clean_up(out, &decoding->work.bytes, start));
        HONE_TRY(hone_strings_end(&decoding->out));
    }
    return HONE_OK;
}

hone_status hone_decode_suffix(const hone_decode_step *step, hone_decoding *decoding) {
    for (size_t i = 0; i < decoding->in.count; i++) {
        size_t length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        bool last = i + 1 == decoding->in.count && !decoding->part;
        HONE_TRY(replace_all(&decoding->out.bytes, text, length, step->text, step->text_length, " ",
                             last ? 0 : 1));
        HONE_TRY(hone_strings_end(&decoding->out));
    }
    return HONE_OK;
}

static bool repeats_previous(const hone_strings *strings, size_t index) {
    if (index == 0) return false;
    size_t length, before;
    const char *text = hone_strings_at(&length, strings, index);
    const char *previous = hone_strings_at(&before, strings, index - 1);
    return length == before && memcmp(text, previous, length) == 0;
}

hone_status hone_decode_ctc(const hone_decode_step *step, hone_decoding *decoding) {
    hone_buf *out = &decoding->out.bytes, *work = &decoding->work.bytes;
    for (size_t i = 0; i < decoding->in.count; i++) {
        if (repeats_previous(&decoding->in, i)) continue;
        size_t length, start = out->length;
        const char *text = hone_strings_at(&length, &decoding->in, i);
        HONE_TRY(replace_all(out, text, length, step->text, step->text_length, "", 0));
        if (step->flag) {
            HONE_TRY(clean_up(out, work, start));
            hone_buf_clear(work);
            HONE_TRY(replace_all(work, out->data ? out->data + start : "", out->length - start,
                                 step->other, step->other_length, " ", 1));
            out->length = start;
            HONE_TRY(hone_buf_append(out, work->data ? work->data : "", work->length));
        }
        if (out->length > start) HONE_TRY(hone_strings_end(&decoding->out));
    }
    return HONE_OK;
}
