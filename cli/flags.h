/*
 * The options of a command: a table that feeds the parser and the help.
 *
 * Long options, as `--rank 8` or `--rank=8`; -h, -q and -V besides; `--` ends the options. What is unknown is
 * HONE_ERR_USAGE with the nearest option there is.
 */
#ifndef HONE_CLI_FLAGS_H
#define HONE_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "cli/command.h"

/* Texts in the order they were given. Borrowed from argv; the array is owned. */
typedef struct hone_flag_list {
    const char **items;
    size_t count, capacity;
} hone_flag_list;

void hone_flag_list_free(hone_flag_list *list); /* takes a zeroed one */

/* What `target` points at. */
typedef enum hone_flag_type {
    HONE_FLAG_SWITCH,   /* bool, set to true */
    HONE_FLAG_TEXT,     /* const char *, borrowed from argv */
    HONE_FLAG_INT,      /* int64_t */
    HONE_FLAG_REAL,     /* double */
    HONE_FLAG_CHOICE,   /* int: the number of one of `words` */
    HONE_FLAG_LIST,     /* hone_flag_list: may be given again and again */
    HONE_FLAG_SETTING,  /* hone_flag_list: name and value are appended, for the caller to apply */
    HONE_FLAG_SET_TRUE, /* as SETTING, without a value of its own: "true" */
} hone_flag_type;

typedef struct hone_flag {
    const char *name; /* without dashes */
    hone_flag_type type;
    void *target;
    const char *unit;         /* what stands for the value in the help */
    const char *text;         /* one line of help */
    double minimum, maximum;  /* of numbers, inclusive */
    const char *const *words; /* of choices, NULL-ended */
    const char *shown;        /* the default, for the help; NULL: none is shown */
} hone_flag;

/* What is left after the options. */
typedef struct hone_arguments {
    int minimum, maximum; /* set by the caller; maximum -1: any number */
    char **operands;      /* [count], borrowed from argv, which is reordered */
    int count;
    bool help; /* the help or the version was asked for and printed: nothing more is to be done */
    bool version; /* it was the version */
} hone_arguments;

/* Reads argv[1 .. argc-1]. */
HONE_MUST_USE hone_status hone_flags_parse(hone_arguments *out, const hone_command *command,
                                           const hone_flag *flags, size_t count, int argc,
                                           char **argv);

#define HONE_COUNT(array) (sizeof(array) / sizeof *(array))

#endif
