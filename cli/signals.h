/*
 * Signals that end a run in good order.
 */
#ifndef HONE_CLI_SIGNALS_H
#define HONE_CLI_SIGNALS_H

#include <signal.h>

/* From now on SIGINT, SIGTERM and SIGHUP set the number that the result points at, for the work to stop and save at its
 * next good place. A second signal quits at once. */
const volatile sig_atomic_t *hone_signals_catch(void);

/* The signal that came; 0 when none has. */
int hone_signals_caught(void);

#endif
