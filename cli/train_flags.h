/*
 * The command line of `train`, and of commands that take the options of a run: the table of train/options.h as flags,
 * with --config, --set and --resume.
 */
#ifndef HONE_CLI_TRAIN_FLAGS_H
#define HONE_CLI_TRAIN_FLAGS_H

#include "cli/flags.h"
#include "train/options.h"

typedef struct hone_train_flags {
    hone_train_options options; /* resolved: option > config file > default; owned */
    bool resume;
    bool profile;
    bool json;
    bool help; /* the help was printed: nothing more is to be done */
} hone_train_flags;

/* Reads argv[1 ..], the config file that --config names (with --resume and without --config: <out>/run.yaml, where there is
 * one), and checks the whole. Free it in any case. */
HONE_MUST_USE hone_status hone_train_flags_parse(hone_train_flags *out, const hone_command *command,
                                                 int argc, char **argv);

/* As above for a plan: no --resume, and --out may be missing. */
HONE_MUST_USE hone_status hone_train_flags_parse_plan(hone_train_flags *out,
                                                      const hone_command *command, int argc,
                                                      char **argv);
void hone_train_flags_free(hone_train_flags *flags);

#endif
