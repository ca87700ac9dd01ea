#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

#include "text/unicode_recent.h"

/* The second byte is limited further after some lead bytes: no overlong forms, surrogates or codes above U+10FFFF. */
static bool second_fits(unsigned char lead, unsigned char second) {
    switch (lead) {
    case 0xe0:
        return second >= 0xa0 && second <= 0xbf;
    case 0xed:
        return second >= 0x80 && second <= 0x9f;
    case 0xf0:
        return second >= 0x90 && second <= 0xbf;
    case 0xf4:
        return second >= 0x80 && second <= 0x8f;
    default:
        return second >= 0x80 && second <= 0xbf;
    }
}

size_t hone_utf8_next(int32_t *code, const char *text, size_t length) {
    unsigned char lead = (unsigned char)text[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    *code = -1;
    if (lead < 0xc2 || lead > 0xf4) return 1;
    size_t need = hone_utf8_length(text[0]);
    int32_t value = lead & (0xff >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if (i >= length) return i;
        unsigned char byte = (unsigned char)text[i];
        if (i == 1 ? !second_fits(lead, byte) : (byte & 0xc0) != 0x80) return i;
        value = value << 6 | (byte & 0x3f);
    }
    *code = value;
    return need;
}

size_t hone_utf8_before(int32_t *code, const char *text, size_t end) {
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    hone_utf8_next(code, text + at, end - at);
    return at;
}

size_t hone_utf8_put(char out[4], int32_t code) {
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out);
}

size_t hone_utf8_valid(const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) { /* eight ASCII bytes at once */
            memcpy(&word, text + at, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                at += sizeof word;
                continue;
            }
        }
        int32_t code;
        size_t bytes = hone_utf8_next(&code, text + at, length - at);
        if (code < 0) return at;
        at += bytes;
    }
    return at;
}

hone_status hone_utf8_repair(hone_buf *out, const char *text, size_t length) {
    size_t at = 0;
    for (;;) {
        size_t good = hone_utf8_valid(text + at, length - at);
        HONE_TRY(hone_buf_append(out, text + at, good));
        at += good;
        if (at == length) return HONE_OK;
        int32_t code;
        at += hone_utf8_next(&code, text + at, length - at);
        HONE_TRY(hone_buf_puts(out, HONE_UTF8_REPLACEMENT));
    }
}

bool hone_utf8_is_space(int32_t code) {
    return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool hone_utf8_is_word(int32_t code) {
    switch (utf8proc_category(hone_unicode_like(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* joiners, and the circled and squared letters, which are alphabetic symbols */
        return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) ||
               (code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
               (code >= 0x1f170 && code <= 0x1f189);
    }
}
