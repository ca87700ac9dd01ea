/*
 * The commands of the program: one file cmd_<name>.c each, listed once in main.c.
 */
#ifndef HONE_CLI_COMMAND_H
#define HONE_CLI_COMMAND_H

#include "base/status.h"

typedef struct hone_command {
    const char *name;    /* as it is called: "train", "data add" */
    const char *usage;   /* what follows the name: "FILE.h5 INPUT... [options]" */
    const char *summary; /* one line */
    /* argv[0] is the command's own last word. HONE_ERR_USAGE becomes exit status 2. */
    hone_status (*run)(int argc, char **argv);
} hone_command;

extern const hone_command hone_command_chat;
extern const hone_command hone_command_data;
extern const hone_command hone_command_data_add;
extern const hone_command hone_command_data_list;
extern const hone_command hone_command_data_show;
extern const hone_command hone_command_doctor;
extern const hone_command hone_command_eval;
extern const hone_command hone_command_export;
extern const hone_command hone_command_generate;
extern const hone_command hone_command_inspect;
extern const hone_command hone_command_plan;
extern const hone_command hone_command_tokenize;
extern const hone_command hone_command_train;
extern const hone_command hone_command_verify;

/* Runs the command of a list whose name ends with argv[0]; `family` is NULL or the word before it ("data"). An unknown one
 * is HONE_ERR_USAGE with the nearest. */
HONE_MUST_USE hone_status hone_command_dispatch(const hone_command *const *list, const char *family,
                                                int argc, char **argv);

/* Prints the names and summaries of a list as help. */
void hone_command_help(const hone_command *const *list);

#endif
