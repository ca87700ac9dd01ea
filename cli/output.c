#include "cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/signals.h"
#include "text/utf8.h"

enum { LINE = 4096 };

static bool is_quiet;
static bool line_open; /* a progress line stands on the terminal */

void hone_output_quiet(void) {
    is_quiet = true;
}

bool hone_colours(FILE *stream) {
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (no_color && *no_color) return false;
    return isatty(fileno(stream)) && term && strcmp(term, "dumb") != 0;
}

/* Messages quote files: what they hold must not steer the terminal. */
static void tame(char *text) {
    for (char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) *at = '?';
    }
}

static void clear_progress(void) {
    if (line_open) fputs("\r\033[K", stderr);
    line_open = false;
}

static void put_line(const char *prefix, const char *format, va_list arguments) {
    char line[LINE];
    vsnprintf(line, sizeof line, format, arguments);
    tame(line);
    clear_progress();
    fprintf(stderr, "%s%s\n", prefix, line);
}

void hone_say(const char *format, ...) {
    if (is_quiet) return;
    va_list arguments;
    va_start(arguments, format);
    put_line("", format, arguments);
    va_end(arguments);
}

void hone_warn(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    put_line("hone: warning: ", format, arguments);
    va_end(arguments);
}

void hone_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    put_line("hone: ", format, arguments);
    va_end(arguments);
}

bool hone_progress_shown(void) {
    const char *term = getenv("TERM");
    return !is_quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static size_t terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
    return size.ws_col;
}

void hone_progress(const char *format, ...) {
    if (!hone_progress_shown()) return;
    char line[LINE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    tame(line);
    /* a wrapped line could not be rewritten */
    size_t width = terminal_width() - 1;
    if (strlen(line) > width) line[width] = 0;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    line_open = true;
}

hone_status hone_print_json(json_t *value) {
    if (!value) return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make JSON");
    int failed = json_dumpf(value, stdout, JSON_REAL_PRECISION(9));
    json_decref(value);
    putchar('\n');
    fflush(stdout);
    if (failed) return hone_fail_errno(HONE_ERR_IO, "standard output: cannot write");
    return HONE_OK;
}

json_t *hone_json_text(const char *text, size_t length) {
    hone_buf repaired = {0};
    json_t *string = NULL;
    if (hone_utf8_repair(&repaired, text, length) == HONE_OK)
        string = json_stringn(repaired.data ? repaired.data : "", repaired.length);
    hone_buf_free(&repaired);
    return string;
}

void hone_print_text(const char *text, size_t length) {
    if (!isatty(STDOUT_FILENO)) {
        fwrite(text, 1, length, stdout);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
        putchar(control ? ' ' : text[i]);
    }
}

hone_status hone_output_finish(void) {
    clear_progress();
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return HONE_OK;
    if (errno == 0) errno = EIO;
    return hone_fail_errno(HONE_ERR_IO, "standard output: cannot write");
}

int hone_exit_status(hone_status status) {
    if (status == HONE_OK) return 0;
    if (status == HONE_ERR_USAGE) return 2;
    if (status == HONE_ERR_INTERRUPTED) return hone_signals_caught() == SIGINT ? 130 : 143;
    return 1;
}
