#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static hone_status reserve(hone_buf *buf, size_t more) {
    size_t need;
    if (__builtin_add_overflow(buf->length, more, &need) ||
        __builtin_add_overflow(need, (size_t)1, &need)) {
        return hone_fail(HONE_ERR_MEMORY, "out of memory: a text of more than %zu bytes",
                         buf->length);
    }
    return hone_grow(&buf->data, &buf->capacity, need, 1);
}

hone_status hone_buf_append(hone_buf *buf, const void *bytes, size_t length) {
    HONE_TRY(reserve(buf, length));
    if (length) memcpy(buf->data + buf->length, bytes, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
    return HONE_OK;
}

hone_status hone_buf_puts(hone_buf *buf, const char *text) {
    return hone_buf_append(buf, text, strlen(text));
}

hone_status hone_buf_printf(hone_buf *buf, const char *format, ...) {
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    hone_status status =
        length < 0 ? hone_fail(HONE_ERR_FORMAT, "text cannot be formatted") : HONE_OK;
    if (status == HONE_OK) status = reserve(buf, (size_t)length);
    if (status == HONE_OK) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    return status;
}

void hone_buf_clear(hone_buf *buf) {
    buf->length = 0;
    if (buf->data) buf->data[0] = '\0';
}

void hone_buf_free(hone_buf *buf) {
    if (!buf) return;
    hone_free(buf->data);
    *buf = (hone_buf){0};
}
