#include <stdio.h>
#include <string.h>

#include "cli/command.h"

static const hone_command *const commands[] = {
    &hone_command_data_add,
    &hone_command_data_list,
    &hone_command_data_show,
    NULL,
};

static hone_status run(int argc, char **argv) {
    bool help = argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0);
    if (argc < 2 || help) {
        puts("usage: hone data COMMAND FILE.h5 [options]\n");
        hone_command_help(commands);
        return help ? HONE_OK : hone_fail(HONE_ERR_USAGE, "data: which command?");
    }
    return hone_command_dispatch(commands, "data", argc - 1, argv + 1);
}

const hone_command hone_command_data = {
    .name = "data",
    .usage = "COMMAND FILE.h5 [options]",
    .summary = "keep records in a data file: add, list, show",
    .run = run,
};
