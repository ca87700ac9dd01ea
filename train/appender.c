#include "train/appender.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"

hone_status hone_appender_open(hone_appender *out, const char *path, bool fresh) {
    *out = (hone_appender){.path = hone_strdup(path)};
    if (!out->path) return HONE_ERR_MEMORY;
    out->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (fresh ? O_EXCL : 0), 0600);
    if (out->fd >= 0) return HONE_OK;
    int saved = errno;
    hone_free(out->path);
    *out = (hone_appender){0};
    errno = saved;
    hone_status status = hone_fail_errno(HONE_ERR_IO, "%s: cannot open to append", path);
    errno = saved;
    return status;
}

hone_status hone_appender_write(hone_appender *file, const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t wrote = write(file->fd, at, length);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0)
            return hone_fail_errno(HONE_ERR_IO, "%s: cannot write (is the disk full?)", file->path);
        at += wrote;
        length -= (size_t)wrote;
    }
    return HONE_OK;
}

hone_status hone_appender_sync(hone_appender *file) {
    if (fsync(file->fd) == 0) return HONE_OK;
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot sync to disk", file->path);
}

void hone_appender_close(hone_appender *file) {
    if (!file->path) return;
    close(file->fd);
    hone_free(file->path);
    *file = (hone_appender){0};
}
