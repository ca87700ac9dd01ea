#include "cli/signals.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static sigset_t watched(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

static void *watch(void *unused) {
    sigset_t set = watched();
    int number;
    while (sigwait(&set, &number) == 0) {
        if (caught) _exit(128 + number);
        caught = number;
    }
    return unused;
}

/* A thread of its own waits for the signals, and all others block them. A handler would run on the stack of whatever
 * thread was interrupted, and oneDNN's generated products keep data below it: seen as a damaged heap once in some runs. */
const volatile sig_atomic_t *hone_signals_catch(void) {
    sigset_t set = watched();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, NULL) == 0) {
        pthread_detach(thread);
    } else {
        pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* they end the program at once */
    }
    return &caught;
}

int hone_signals_caught(void) {
    return caught;
}
