#include "cli/help.h"

#include <stdio.h>
#include <string.h>

enum { INDENT = 28, WIDTH = 100 };

/* Bytes of `text` that fit a line: up to the last space, or the whole word when it is longer. */
static size_t fitting(const char *text, size_t room) {
    size_t length = strlen(text);
    if (length <= room) return length;
    size_t cut = room;
    while (cut > 0 && text[cut] != ' ') cut--;
    return cut > 0 ? cut : strcspn(text, " ");
}

void hone_help_row(const char *left, const char *right) {
    int used = printf("  %s", left);
    if (used >= INDENT) {
        putchar('\n');
        used = 0;
    }
    do {
        size_t length = fitting(right, WIDTH - INDENT);
        printf("%*s%.*s\n", INDENT - used, "", (int)length, right);
        right += length;
        right += strspn(right, " ");
        used = 0;
    } while (*right);
}

static void print_words(char *out, size_t size, const hone_flag *flag) {
    size_t used = 0;
    for (int i = 0; flag->words[i] && used < size; i++) {
        int wrote = snprintf(out + used, size - used, "%s%s", i ? "," : "", flag->words[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

static void print_flag(const hone_flag *flag) {
    char unit[128] = "VALUE";
    if (flag->unit) {
        snprintf(unit, sizeof unit, "%s", flag->unit);
    } else if (flag->words) {
        print_words(unit, sizeof unit, flag);
    }
    bool bare = flag->type == HONE_FLAG_SWITCH || flag->type == HONE_FLAG_SET_TRUE;
    char left[256], right[1024];
    snprintf(left, sizeof left, bare ? "--%s" : "--%s %s", flag->name, unit);
    snprintf(right, sizeof right, flag->shown && *flag->shown ? "%s [%s]" : "%s", flag->text,
             flag->shown);
    hone_help_row(left, right);
}

void hone_help_print(const hone_command *command, const hone_flag *flags, size_t count) {
    printf("usage: hone %s %s\n\n%s\n\noptions:\n", command->name, command->usage,
           command->summary);
    for (size_t i = 0; i < count; i++) print_flag(&flags[i]);
    hone_help_row("-q, --quiet", "no messages but warnings and errors");
    hone_help_row("-h, --help", "this page");
    hone_help_row("-V, --version", "the program's version");
}
