#include <stdio.h>
#include <string.h>

#include "base/distance.h"
#include "cli/command.h"
#include "cli/help.h"

/* The last word of a command's name. */
static const char *word_of(const hone_command *command) {
    const char *space = strrchr(command->name, ' ');
    return space ? space + 1 : command->name;
}

static hone_status unknown_command(const hone_command *const *list, const char *family,
                                   const char *word) {
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (; *list; list++) {
        size_t distance = hone_edit_distance(word, word_of(*list));
        if (distance >= least) continue;
        least = distance;
        nearest = (*list)->name;
    }
    const char *space = family ? " " : "";
    if (!family) family = "";
    if (nearest && hone_edit_is_near(word, least))
        return hone_fail(HONE_ERR_USAGE, "unknown command \"%s%s%s\"; did you mean \"%s\"?", family,
                         space, word, nearest);
    return hone_fail(HONE_ERR_USAGE, "unknown command \"%s%s%s\"; `hone%s%s --help` lists them",
                     family, space, word, space, family);
}

hone_status hone_command_dispatch(const hone_command *const *list, const char *family, int argc,
                                  char **argv) {
    for (size_t i = 0; list[i]; i++) {
        if (strcmp(word_of(list[i]), argv[0]) == 0) return list[i]->run(argc, argv);
    }
    return unknown_command(list, family, argv[0]);
}

void hone_command_help(const hone_command *const *list) {
    puts("commands:");
    for (; *list; list++) hone_help_row((*list)->name, (*list)->summary);
}
