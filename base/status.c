#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[2048];

hone_status(hone_fail)(hone_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

hone_status hone_fail_context(hone_status code, const char *format, ...) {
    char inner[sizeof message];
    memcpy(inner, message, sizeof inner);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof message) {
        int left = (int)sizeof message - used;
        snprintf(message + used, (size_t)left, ": %.*s", left, inner);
    }
    return code;
}

hone_status(hone_fail_errno)(hone_status code, const char *format, ...) {
    int saved = errno;
    va_list args;
    va_start(args, format);
    int used = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof message) {
        snprintf(message + used, sizeof message - (size_t)used, ": %s", strerror(saved));
    }
    return code;
}

const char *hone_fail_message(void) {
    return message;
}
