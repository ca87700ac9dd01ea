/*
 * A file without a name, for what does not fit in memory: gone when it is closed, readable by nobody else.
 */
#ifndef HONE_DATA_TEMPFILE_H
#define HONE_DATA_TEMPFILE_H

#include <stdio.h>

#include "base/status.h"

/* Opens one for reading and writing in the folder of `neighbour`, so that private data stays on that disk. The caller
 * closes it with fclose. */
HONE_MUST_USE hone_status hone_temp_open(FILE **out, const char *neighbour);

#endif
