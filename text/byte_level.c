#include "text/byte_level.h"

#include "text/utf8.h"

/* The bytes that have no printable character of their own: 0-32, 127-160 and 173. */
static int moved_rank(int byte) {
    if (byte <= 32) return byte;
    if (byte >= 127 && byte <= 160) return 33 + byte - 127;
    return byte == 173 ? 67 : -1;
}

size_t hone_byte_level_put(char out[4], unsigned char byte) {
    int rank = moved_rank(byte);
    return hone_utf8_put(out, rank < 0 ? byte : 0x100 + rank);
}

int hone_byte_level_of(int32_t code) {
    if (code < 0 || code > 0x143) return -1;
    if (code < 0x100) return moved_rank(code) < 0 ? code : -1;
    int rank = code - 0x100;
    if (rank <= 32) return rank;
    return rank <= 66 ? rank - 33 + 127 : 173;
}

hone_status hone_byte_level_decode(hone_buf *out, const char *text, size_t length) {
    size_t at = 0;
    while (at < length) {
        int32_t code;
        size_t bytes = hone_utf8_next(&code, text + at, length - at);
        int byte = hone_byte_level_of(code);
        char one = (char)byte;
        HONE_TRY(byte < 0 ? hone_buf_append(out, text + at, bytes) : hone_buf_append(out, &one, 1));
        at += bytes;
    }
    return HONE_OK;
}
