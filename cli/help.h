/*
 * Help pages, made from the tables.
 */
#ifndef HONE_CLI_HELP_H
#define HONE_CLI_HELP_H

#include "cli/flags.h"

/* Usage, summary and options of a command, on standard output. */
void hone_help_print(const hone_command *command, const hone_flag *flags, size_t count);

/* One line of two columns; a long left one gets a line of its own, the right one is wrapped. */
void hone_help_row(const char *left, const char *right);

#endif
