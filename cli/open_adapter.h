/*
 * An adapter that was named on the command line.
 */
#ifndef HONE_CLI_OPEN_ADAPTER_H
#define HONE_CLI_OPEN_ADAPTER_H

#include "train/session.h"

/* Opens it, and warns of what may do harm. */
HONE_MUST_USE hone_status hone_open_adapter(hone_session *session, const char *path);

#endif
