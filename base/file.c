#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

hone_status hone_map_open(hone_map *out, const char *path) {
    *out = (hone_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
    struct stat info;
    hone_status status = HONE_OK;
    void *data = NULL;
    if (fstat(fd, &info) != 0) {
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot read its size", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = hone_fail(HONE_ERR_IO, "%s: not a regular file", path);
    } else if (info.st_size > 0) {
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) status = hone_fail_errno(HONE_ERR_IO, "%s: cannot map", path);
    }
    close(fd);
    if (status != HONE_OK) return status;
    *out = (hone_map){.data = data, .length = (size_t)info.st_size, .path = hone_strdup(path)};
    if (out->path) return HONE_OK;
    hone_map_close(out);
    return HONE_ERR_MEMORY;
}

void hone_map_let_go(const void *data, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void hone_map_close(hone_map *map) {
    if (!map) return;
    if (map->data) munmap((void *)(uintptr_t)map->data, map->length);
    hone_free(map->path);
    *map = (hone_map){0};
}

void hone_map_drop(const hone_map *map) {
    if (map->data) (void)madvise((void *)(uintptr_t)map->data, map->length, MADV_DONTNEED);
}

hone_status hone_file_reserve(hone_file *out, const char *path) {
    *out = (hone_file){.path = hone_strdup(path)};
    hone_buf temporary = {0};
    hone_status status =
        out->path ? hone_buf_printf(&temporary, "%s.partial", path) : HONE_ERR_MEMORY;
    out->temporary = temporary.data;
    if (status != HONE_OK) hone_file_abandon(out);
    return status;
}

hone_status hone_file_create(hone_file *out, const char *path) {
    HONE_TRY(hone_file_reserve(out, path));
    int fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) out->stream = fdopen(fd, "wb");
    if (out->stream) return HONE_OK;
    hone_status status = hone_fail_errno(HONE_ERR_IO, "%s: cannot create", out->temporary);
    if (fd >= 0) close(fd);
    hone_file_abandon(out);
    return status;
}

hone_status hone_file_write(hone_file *file, const void *bytes, size_t length) {
    if (length == 0 || fwrite(bytes, 1, length, file->stream) == length) return HONE_OK;
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot write (is the disk full?)", file->temporary);
}

static hone_status sync_path(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open to sync", path);
    int failed = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    return failed ? hone_fail_errno(HONE_ERR_IO, "%s: cannot sync to disk", path) : HONE_OK;
}

static hone_status sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return sync_path(".", O_RDONLY | O_DIRECTORY);
    char *folder = hone_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = sync_path(folder, O_RDONLY | O_DIRECTORY);
    hone_free(folder);
    return status;
}

static hone_status close_stream(hone_file *file) {
    FILE *stream = file->stream;
    file->stream = NULL;
    if (!stream || fclose(stream) == 0) return HONE_OK;
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot write (is the disk full?)", file->temporary);
}

hone_status hone_file_commit(hone_file *file) {
    hone_status status = close_stream(file);
    if (status == HONE_OK) status = sync_path(file->temporary, O_RDONLY);
    if (status == HONE_OK && rename(file->temporary, file->path) != 0) {
        status =
            hone_fail_errno(HONE_ERR_IO, "%s: cannot rename to %s", file->temporary, file->path);
    }
    if (status == HONE_OK) {
        hone_free(file->temporary);
        file->temporary = NULL;
        status = sync_folder_of(file->path);
    }
    hone_file_abandon(file);
    return status;
}

void hone_file_abandon(hone_file *file) {
    if (file->stream) fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    hone_free(file->temporary);
    hone_free(file->path);
    *file = (hone_file){0};
}

hone_status hone_file_put(const char *path, const void *bytes, size_t length) {
    hone_file file;
    HONE_TRY(hone_file_create(&file, path));
    hone_status status = hone_file_write(&file, bytes, length);
    if (status == HONE_OK) return hone_file_commit(&file);
    hone_file_abandon(&file);
    return status;
}

hone_status hone_file_get(hone_buf *out, const char *path) {
    FILE *stream = fopen(path, "rbe");
    if (!stream) return hone_fail_errno(HONE_ERR_IO, "%s: cannot open", path);
    char chunk[1 << 16];
    hone_status status = HONE_OK;
    size_t got;
    while (status == HONE_OK && (got = fread(chunk, 1, sizeof chunk, stream)) > 0) {
        status = hone_buf_append(out, chunk, got);
    }
    if (status == HONE_OK && ferror(stream))
        status = hone_fail_errno(HONE_ERR_IO, "%s: cannot read", path);
    fclose(stream);
    if (status == HONE_OK && !out->data) status = hone_buf_puts(out, "");
    return status;
}

bool hone_path_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool hone_path_is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool hone_path_ends(const char *path, const char *suffix) {
    size_t length = strlen(path), tail = strlen(suffix);
    return length > tail && strcmp(path + length - tail, suffix) == 0;
}

hone_status hone_dir_make_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return HONE_OK;
    char *parent = hone_strndup(path, (size_t)(slash - path));
    if (!parent) return HONE_ERR_MEMORY;
    hone_status status = hone_dir_make(parent);
    hone_free(parent);
    return status;
}

hone_status hone_dir_make(const char *path) {
    if (hone_path_is_dir(path)) return HONE_OK;
    HONE_TRY(hone_dir_make_parent(path));
    if (mkdir(path, 0700) == 0 || (errno == EEXIST && hone_path_is_dir(path))) return HONE_OK;
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot make the folder", path);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void hone_dir_remove(const char *path) {
    enum { OPEN_FOLDERS = 8 };
    nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

char *hone_path_join(const char *dir, const char *name) {
    hone_buf path = {0};
    if (hone_buf_printf(&path, "%s/%s", dir, name) != HONE_OK) hone_buf_free(&path);
    return path.data;
}
