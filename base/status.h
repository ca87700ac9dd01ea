/*
 * Status codes and the error message that goes with them.
 *
 * Every function that can fail returns a hone_status. Where the failure is first seen, the message is set with
 * hone_fail(): it names the file, the place, the cause and the remedy. Callers on the way up return the status
 * unchanged or add context with hone_fail_context(). Only cli/ prints the message.
 */
#ifndef HONE_BASE_STATUS_H
#define HONE_BASE_STATUS_H

#include <stdbool.h>

typedef enum hone_status_code {
    HONE_OK = 0,
    HONE_ERR_USAGE,       /* command line or config is wrong: exit status 2 */
    HONE_ERR_IO,          /* the system refused: open, read, write, sync, rename */
    HONE_ERR_FORMAT,      /* a file does not hold what its format asks for */
    HONE_ERR_UNSUPPORTED, /* well-formed, but not something hone can do */
    HONE_ERR_DATA,        /* records that cannot be trained on */
    HONE_ERR_MEMORY,      /* an allocation failed, or a run cannot fit */
    HONE_ERR_NUMERIC,     /* NaN or infinity where a number is needed */
    HONE_ERR_PEER,        /* another process of the same run failed or was lost */
    HONE_ERR_INTERRUPTED, /* stopped: by a signal, after saving, or by who wanted the result */
} hone_status_code;

#define HONE_MUST_USE          __attribute__((warn_unused_result))
#define HONE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef hone_status_code hone_status;

/* Sets this thread's message and returns `code`. Messages are cut at 2 kB. */
hone_status hone_fail(hone_status code, const char *format, ...) HONE_PRINTF(2, 3);

/* Puts "context: " before the present message and returns `code` unchanged. */
hone_status hone_fail_context(hone_status code, const char *format, ...) HONE_PRINTF(2, 3);

/* As hone_fail, ending with the text of errno. */
hone_status hone_fail_errno(hone_status code, const char *format, ...) HONE_PRINTF(2, 3);

/* Both give back what they were given: said here, so that the compiler sees at the call that it is no HONE_OK. */
static inline hone_status hone_fail_code(hone_status set, hone_status code) {
    (void)set;
    return code;
}
#define hone_fail(code, ...)       hone_fail_code(hone_fail(code, __VA_ARGS__), code)
#define hone_fail_errno(code, ...) hone_fail_code(hone_fail_errno(code, __VA_ARGS__), code)

/* The message of the last failure on this thread; "" when there was none. Valid until the next failure. */
const char *hone_fail_message(void);

/* Returns from the calling function when `expr` fails. Only where the function owns nothing yet. */
#define HONE_TRY(expr)                                                                             \
    do {                                                                                           \
        hone_status hone_try_status_ = (expr);                                                     \
        if (hone_try_status_ != HONE_OK) return hone_try_status_;                                  \
    } while (0)

#endif
