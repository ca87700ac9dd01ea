#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/output.h"

/* In the order of the help. */
static const hone_command *const commands[] = {
    &hone_command_doctor, &hone_command_data,     &hone_command_plan,     &hone_command_train,
    &hone_command_eval,   &hone_command_chat,     &hone_command_generate, &hone_command_export,
    &hone_command_verify, &hone_command_tokenize, &hone_command_inspect,  NULL,
};

static void print_help(void) {
    puts("usage: hone COMMAND [options]\n\n"
         "Fine-tunes small language models on your own data, on your own machine.\n");
    hone_command_help(commands);
    puts("\n`hone COMMAND --help` says more about each.");
}

static bool is(const char *argument, const char *brief, const char *full) {
    return strcmp(argument, brief) == 0 || strcmp(argument, full) == 0;
}

static hone_status run(int argc, char **argv) {
    if (argc < 2) {
        print_help();
        return hone_fail(HONE_ERR_USAGE, "which command?");
    }
    if (is(argv[1], "-h", "--help")) {
        print_help();
        return HONE_OK;
    }
    if (is(argv[1], "-V", "--version")) {
        puts("hone " HONE_VERSION);
        return HONE_OK;
    }
    if (argv[1][0] == '-')
        return hone_fail(HONE_ERR_USAGE, "unknown option %s; a command comes first", argv[1]);
    return hone_command_dispatch(commands, NULL, argc - 1, argv + 1);
}

/* Threads of libgomp that wait spin for some milliseconds before they sleep. On a machine that has other work too they
 * take the processor from the very thread they wait for, and the program crawls. libgomp reads its setting before main
 * begins, so the program starts itself again with a shorter one; a setting of the user's own is left alone. */
static void shorten_spins(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 0) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    shorten_spins(argv);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    hone_status status = run(argc, argv);
    /* the first failure is the one to tell of */
    if (status != HONE_OK) hone_error("%s", hone_fail_message());
    hone_status written = hone_output_finish();
    if (status == HONE_OK && written != HONE_OK) {
        status = written;
        hone_error("%s", hone_fail_message());
    }
    return hone_exit_status(status);
}
