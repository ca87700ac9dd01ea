#include <string.h>

#include "cli/data_print.h"
#include "cli/flags.h"
#include "cli/output.h"

static hone_status run(int argc, char **argv) {
    bool json = false;
    const hone_flag flags[] = {
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &json,
         .text = "one JSON object on standard output"},
    };
    hone_arguments arguments = {.minimum = 1, .maximum = 1};
    HONE_TRY(hone_flags_parse(&arguments, &hone_command_data_list, flags, HONE_COUNT(flags), argc,
                              argv));
    if (arguments.help) return HONE_OK;
    hone_datafile *file;
    HONE_TRY(hone_datafile_open(&file, arguments.operands[0]));
    hone_status status = HONE_OK;
    if (json) {
        status = hone_print_json(hone_datafile_json(file));
    } else {
        hone_datafile_print(file);
    }
    hone_datafile_free(file);
    return status;
}

const hone_command hone_command_data_list = {
    .name = "data list",
    .usage = "FILE.h5 [options]",
    .summary = "the sources of a data file, and what became of their rows",
    .run = run,
};
