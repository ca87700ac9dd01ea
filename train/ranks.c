#include "train/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "train/checkpoint.h"

enum { READ_END, WRITE_END, LINE = 2048, POLL_MS = 50 };

static const double grace =
    5; /* seconds in which children may end by themselves when one has failed */

/* What a child sends in one piece: less than PIPE_BUF. */
typedef struct report {
    int rank, status;
    char message[LINE];
} report;

typedef struct child {
    pid_t pid;
    bool ended, killed; /* killed: by the parent */
    int how;            /* as of waitpid() */
    hone_status status; /* that it reported */
    char *message;      /* owned; NULL: it reported none */
    int lines;          /* end of the pipe of what it writes; -1: closed */
    hone_buf part;      /* of a line that is not ended */
} child;

struct hone_ranks {
    const char *folder;
    bool found; /* the folder was there before */
    child *children;
    int count;
    int first; /* the first to report what is no consequence; -1: none has */
    int reports;
    double failed_at; /* 0: none has */
};

/* --- In the children --- */

void hone_rank_report(const hone_rank *rank, hone_status status) {
    report r = {.rank = rank->rank, .status = (int)status};
    snprintf(r.message, sizeof r.message, "%s", hone_fail_message());
    if (rank->reports >= 0) (void)!write(rank->reports, &r, sizeof r);
}

static hone_status become(hone_rank *rank, int index, int count, const int names[2], int reports,
                          int out, pid_t parent) {
    *rank = hone_rank_alone();
    rank->rank = rank->gpu = index;
    rank->size = rank->local = count;
    rank->names = names[index == 0 ? WRITE_END : READ_END];
    rank->reports = reports;
    if (index > 0)
        close(names[WRITE_END]); /* the first keeps both: it may write when all others have ended */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigset_t stop; /* until somebody waits for it */
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    /* A parent that ended before this call has left the child to another. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return hone_fail(HONE_ERR_PEER, "the process that was started ended");
    if (index == 0) return HONE_OK;
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        return hone_fail_errno(HONE_ERR_IO, "cannot write to the parent");
    close(out);
    return HONE_OK;
}

/* --- In the parent --- */

static void close_end(int *end) {
    if (*end >= 0) close(*end);
    *end = -1;
}

static void close_both(int ends[2]) {
    close_end(&ends[0]);
    close_end(&ends[1]);
}

void hone_ranks_free(hone_ranks *ranks) {
    if (!ranks) return;
    for (int i = 0; ranks->children && i < ranks->count; i++) {
        child *c = &ranks->children[i];
        close_end(&c->lines);
        hone_buf_free(&c->part);
        hone_free(c->message);
    }
    close_end(&ranks->reports);
    hone_free(ranks->children);
    hone_free(ranks);
}

static hone_status ranks_new(hone_ranks **out, int count) {
    hone_ranks *ranks = hone_alloc(1, sizeof *ranks);
    if (!ranks) return HONE_ERR_MEMORY;
    *ranks = (hone_ranks){.count = count, .first = -1, .reports = -1};
    ranks->children = hone_alloc((size_t)count, sizeof *ranks->children);
    if (!ranks->children) {
        hone_ranks_free(ranks);
        return HONE_ERR_MEMORY;
    }
    for (int i = 0; i < count; i++)
        ranks->children[i] = (child){.lines = -1, .ended = true, .status = HONE_OK};
    *out = ranks;
    return HONE_OK;
}

static void kill_all(hone_ranks *ranks, int signal_number) {
    for (int i = 0; i < ranks->count; i++) {
        child *c = &ranks->children[i];
        if (c->ended) continue;
        kill(c->pid, signal_number);
        c->killed = c->killed || signal_number == SIGKILL;
    }
}

static hone_status fork_one(bool *is_child, hone_ranks *ranks, hone_rank *rank, int index,
                            const int names[2], const int reports[2]) {
    int out[2] = {-1, -1};
    if (index > 0 && pipe2(out, O_CLOEXEC) < 0)
        return hone_fail_errno(HONE_ERR_IO, "cannot make a pipe");
    pid_t self = getpid(), pid = fork();
    *is_child = pid == 0;
    if (pid == 0) {
        close_end(&out[READ_END]);
        return become(rank, index, ranks->count, names, reports[WRITE_END], out[WRITE_END], self);
    }
    close_end(&out[WRITE_END]);
    ranks->children[index].lines = out[READ_END];
    if (pid < 0) return hone_fail_errno(HONE_ERR_IO, "cannot start a process");
    ranks->children[index].pid = pid;
    ranks->children[index].ended = false;
    return HONE_OK;
}

hone_status hone_ranks_fork(hone_ranks **out, hone_rank *rank, int count, const char *folder) {
    int names[2] = {-1, -1}, reports[2] = {-1, -1};
    hone_ranks *ranks;
    *out = NULL;
    HONE_TRY(ranks_new(&ranks, count));
    ranks->folder = folder;
    ranks->found = hone_path_exists(folder);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, nobody can wait for children */
    hone_status status = HONE_OK;
    if (pipe2(names, O_CLOEXEC) < 0 || pipe2(reports, O_CLOEXEC) < 0 ||
        fcntl(reports[READ_END], F_SETFL, O_NONBLOCK) < 0)
        status = hone_fail_errno(HONE_ERR_IO, "cannot make a pipe");
    for (int i = 0; i < count && status == HONE_OK; i++) {
        bool is_child = false;
        status = fork_one(&is_child, ranks, rank, i, names, reports);
        if (!is_child) continue;
        close_end(&reports[READ_END]);
        hone_ranks_free(ranks);
        return status;
    }
    close_both(names);
    close_end(&reports[WRITE_END]);
    ranks->reports = reports[READ_END];
    if (status == HONE_OK) {
        *out = ranks;
        return HONE_OK;
    }
    kill_all(ranks, SIGKILL);
    hone_ranks_free(ranks);
    return status;
}

/* --- Waiting --- */

static hone_status take_reports(hone_ranks *ranks) {
    report r;
    ssize_t got;
    while ((got = read(ranks->reports, &r, sizeof r)) == (ssize_t)sizeof r) {
        child *c = &ranks->children[r.rank];
        c->status = (hone_status)r.status;
        c->message = hone_strdup(r.message);
        if (!c->message) return HONE_ERR_MEMORY;
        if (ranks->first < 0 && c->status != HONE_ERR_PEER) ranks->first = r.rank;
    }
    if (got == 0) close_end(&ranks->reports);
    return HONE_OK;
}

static void show_lines(child *c, int rank, hone_ranks_line_fn line, void *context) {
    char *at = c->part.data, *end;
    for (; at && (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        line(context, rank, at);
    }
    size_t left = at ? strlen(at) : 0;
    if (left > 0) memmove(c->part.data, at, left + 1);
    c->part.length = left;
}

static hone_status take_lines(child *c, int rank, hone_ranks_line_fn line, void *context) {
    char block[LINE];
    ssize_t got = read(c->lines, block, sizeof block);
    if (got < 0 && errno == EINTR) return HONE_OK;
    if (got > 0) HONE_TRY(hone_buf_append(&c->part, block, (size_t)got));
    if (got <= 0) {
        close_end(&c->lines);
        if (c->part.length > 0) HONE_TRY(hone_buf_puts(&c->part, "\n"));
    }
    show_lines(c, rank, line, context);
    return HONE_OK;
}

/* What the children have to say, for POLL_MS at most. */
static hone_status listen(hone_ranks *ranks, hone_ranks_line_fn line, void *context) {
    struct pollfd ends[HONE_GROUP_MOST + 1];
    for (int i = 0; i < ranks->count; i++)
        ends[i] = (struct pollfd){.fd = ranks->children[i].lines, .events = POLLIN};
    ends[ranks->count] = (struct pollfd){.fd = ranks->reports, .events = POLLIN};
    if (poll(ends, (nfds_t)ranks->count + 1, POLL_MS) < 0 && errno != EINTR)
        return hone_fail_errno(HONE_ERR_IO, "cannot wait for the processes of the run");
    for (int i = 0; i < ranks->count; i++) {
        if (ends[i].revents) HONE_TRY(take_lines(&ranks->children[i], i, line, context));
    }
    return ends[ranks->count].revents ? take_reports(ranks) : HONE_OK;
}

/* Whether any child is left. */
static bool reap(hone_ranks *ranks) {
    bool left = false;
    for (int i = 0; i < ranks->count; i++) {
        child *c = &ranks->children[i];
        if (!c->ended) c->ended = waitpid(c->pid, &c->how, WNOHANG) == c->pid;
        left = left || !c->ended;
    }
    return left;
}

/* Of those that have ended or told why they will. After a signal the first one is still saving. */
static void note_failure(hone_ranks *ranks) {
    for (int i = 0; i < ranks->count && ranks->failed_at == 0; i++) {
        const child *c = &ranks->children[i];
        bool failed = c->message || (c->ended && c->how != 0);
        if (failed && c->status != HONE_ERR_INTERRUPTED) ranks->failed_at = hone_seconds();
    }
}

static bool any_open(const hone_ranks *ranks) {
    bool open = ranks->reports >= 0;
    for (int i = 0; i < ranks->count; i++) open = open || ranks->children[i].lines >= 0;
    return open;
}

/* "; the last checkpoint is kept: …" */
static const char *what_is_kept(char text[512], const char *folder) {
    char *path = NULL, *checkpoints = hone_path_join(folder, "checkpoints");
    hone_checkpoint_state state = {0};
    bool there = checkpoints && hone_path_exists(checkpoints) &&
                 hone_checkpoint_latest(&path, &state, NULL, checkpoints) == HONE_OK && path;
    if (there) {
        snprintf(text, 512,
                 "the checkpoint of step %lld is kept: go on with hone train --resume --out %s",
                 (long long)state.step, folder);
    } else {
        snprintf(text, 512, "no checkpoint was due yet");
    }
    hone_checkpoint_state_free(&state);
    hone_free(path);
    hone_free(checkpoints);
    return text;
}

/* A child that ended without a word, and not by the parent's hand; NULL: there is none. */
static const child *find_dead(const hone_ranks *ranks) {
    for (int i = 0; i < ranks->count; i++) {
        const child *c = &ranks->children[i];
        if (c->how != 0 && !c->message && !c->killed) return c;
    }
    return NULL;
}

static hone_status tell_dead(const hone_ranks *ranks, const child *c) {
    char kept[512], how[64];
    if (WIFSIGNALED(c->how)) {
        snprintf(how, sizeof how, "was ended by signal %d (%s)", WTERMSIG(c->how),
                 strsignal(WTERMSIG(c->how)));
    } else {
        snprintf(how, sizeof how, "ended with status %d", WEXITSTATUS(c->how));
    }
    return hone_fail(HONE_ERR_PEER, "GPU %d: its process %s, and the run with it; %s",
                     (int)(c - ranks->children), how, what_is_kept(kept, ranks->folder));
}

static bool all_say(const hone_ranks *ranks, const char *message) {
    for (int i = 0; i < ranks->count; i++) {
        const char *other = ranks->children[i].message;
        if (!other || strcmp(other, message) != 0) return false;
    }
    return true;
}

static hone_status judge(const hone_ranks *ranks) {
    const child *dead = find_dead(ranks);
    if (dead) return tell_dead(ranks, dead);
    int first = ranks->first;
    for (int i = 0; i < ranks->count && first < 0; i++) {
        if (ranks->children[i].message) first = i;
    }
    if (first < 0) return HONE_OK;
    const child *c = &ranks->children[first];
    if (all_say(ranks, c->message)) return hone_fail(c->status, "%s", c->message);
    return hone_fail(c->status, "GPU %d: %s", first, c->message);
}

/* What the first child would have done, had it not been killed. */
static void remove_unused(const hone_ranks *ranks) {
    char *plan = ranks->found ? NULL : hone_path_join(ranks->folder, "run.yaml");
    if (plan && !hone_path_exists(plan)) hone_dir_remove(ranks->folder);
    hone_free(plan);
}

hone_status hone_ranks_wait(hone_ranks *ranks, const volatile sig_atomic_t *stop,
                            hone_ranks_line_fn line, void *context) {
    bool told = false;
    hone_status status = HONE_OK;
    while (status == HONE_OK && (reap(ranks) || any_open(ranks))) {
        status = listen(ranks, line, context);
        note_failure(ranks);
        if (*stop && !told) kill_all(ranks, SIGTERM);
        told = *stop != 0;
        if (ranks->failed_at > 0 && hone_seconds() > ranks->failed_at + grace)
            kill_all(ranks, SIGKILL);
    }
    if (status != HONE_OK) kill_all(ranks, SIGKILL);
    if (status == HONE_OK) status = judge(ranks);
    if (status != HONE_OK) remove_unused(ranks);
    return status;
}
