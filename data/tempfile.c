#include "data/tempfile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"

static int open_unlinked(const char *folder, const char *neighbour) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    /* Not every file system has O_TMPFILE. */
    hone_buf name = {0};
    if (hone_buf_printf(&name, "%s.XXXXXX", neighbour) == HONE_OK) {
        fd = mkostemp(name.data, O_CLOEXEC);
        if (fd >= 0) unlink(name.data);
    }
    hone_buf_free(&name);
    return fd;
}

hone_status hone_temp_open(FILE **out, const char *neighbour) {
    const char *slash = strrchr(neighbour, '/');
    char *folder =
        slash ? hone_strndup(neighbour, (size_t)(slash - neighbour) + 1) : hone_strdup(".");
    if (!folder) return HONE_ERR_MEMORY;
    int fd = open_unlinked(folder, neighbour);
    *out = fd < 0 ? NULL : fdopen(fd, "w+b");
    hone_status status =
        *out ? HONE_OK
             : hone_fail_errno(HONE_ERR_IO, "%s: cannot make a temporary file there", folder);
    if (!*out && fd >= 0) close(fd);
    hone_free(folder);
    return status;
}
