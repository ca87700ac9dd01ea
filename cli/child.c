#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MOST = 16 << 20, READ_END = 0, WRITE_END = 1 };

void hone_child_free(hone_child_result *result) {
    hone_buf_free(&result->output);
    hone_buf_free(&result->errors);
    *result = (hone_child_result){0};
}

static void close_both(int ends[2]) {
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) close(ends[i]);
        ends[i] = -1;
    }
}

static hone_status start(pid_t *child, const char *const *argv, int out[2], int err[2]) {
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed)
        return hone_fail(HONE_ERR_MEMORY, "%s: cannot start: %s", argv[0], strerror(failed));
    failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&actions, out[WRITE_END], STDOUT_FILENO);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&actions, err[WRITE_END], STDERR_FILENO);
    if (!failed) {
        failed =
            posix_spawnp(child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    if (!failed) return HONE_OK;
    return hone_fail(HONE_ERR_IO, "%s: cannot start: %s", argv[0], strerror(failed));
}

/* Reads what is there; *end is closed and -1 at the end. What is beyond the most is read and forgotten. */
static hone_status drain(hone_buf *to, int *end) {
    char block[1 << 14];
    ssize_t got = read(*end, block, sizeof block);
    if (got < 0 && errno == EINTR) return HONE_OK;
    if (got <= 0) {
        close(*end);
        *end = -1;
        return HONE_OK;
    }
    return to->length < MOST ? hone_buf_append(to, block, (size_t)got) : HONE_OK;
}

static hone_status listen(hone_child_result *result, int *out, int *err) {
    while (*out >= 0 || *err >= 0) {
        struct pollfd ends[2] = {{.fd = *out, .events = POLLIN}, {.fd = *err, .events = POLLIN}};
        if (poll(ends, 2, -1) < 0 && errno != EINTR) {
            return hone_fail_errno(HONE_ERR_IO, "cannot wait for a program");
        }
        if (ends[0].revents) HONE_TRY(drain(&result->output, out));
        if (ends[1].revents) HONE_TRY(drain(&result->errors, err));
    }
    return HONE_OK;
}

static int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

hone_status hone_child_run(hone_child_result *result, const char *const *argv) {
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    *result = (hone_child_result){0};
    pid_t child = -1;
    hone_status status = HONE_OK;
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot start", argv[0]);
    }
    if (status == HONE_OK) status = start(&child, argv, out, err);
    if (status == HONE_OK) {
        close(out[WRITE_END]);
        close(err[WRITE_END]);
        out[WRITE_END] = err[WRITE_END] = -1;
        status = listen(result, &out[READ_END], &err[READ_END]);
    }
    close_both(out);
    close_both(err);
    if (child > 0) result->status = wait_for(child);
    if (status == HONE_OK) status = hone_buf_puts(&result->output, "");
    if (status == HONE_OK) status = hone_buf_puts(&result->errors, "");
    return status;
}
