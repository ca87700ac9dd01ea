#include "cli/signals.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "cli/output.h"

static volatile sig_atomic_t caught;

/* Those that are not ignored, as nohup has it with SIGHUP: a blocked signal would be taken all the same. */
static sigset_t watched(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction present;
        bool ignored = sigaction(numbers[i], NULL, &present) == 0 && present.sa_handler == SIG_IGN;
        if (!ignored) sigaddset(&set, numbers[i]);
    }
    return set;
}

static void *watch(void *unused) {
    sigset_t set = watched();
    int number;
    while (sigwait(&set, &number) == 0) {
        if (caught) _exit(number == SIGINT ? 130 : 143);
        caught = number;
        hone_say("finishing this step, then saving; once more quits at once");
    }
    return unused;
}

/* A thread of its own waits for the signals, and all others block them. A handler would run on the stack of the thread
 * that is interrupted, and some products that oneDNN 2.6 generates run with their stack pointer inside a block of the
 * heap (oneDNN issue 4845): the signal's frame would overwrite what lies below. */
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
