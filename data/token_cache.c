#include "data/token_cache.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "data/tempfile.h"

static const char magic[8] = "honetok1";

static int64_t index_begin(const hone_token_header *header) {
    return (int64_t)sizeof *header + header->tokens * (int64_t)sizeof(uint32_t);
}

static hone_status read_at(const hone_token_cache *cache, void *out, int64_t offset,
                           size_t length) {
    char *to = out;
    while (length > 0) {
        ssize_t got = pread(fileno(cache->stream), to, length, (off_t)offset);
        if (got <= 0)
            return hone_fail_errno(HONE_ERR_IO,
                                   "%s: cannot read the token cache; delete it, it will be made "
                                   "again",
                                   cache->path);
        to += got;
        offset += got;
        length -= (size_t)got;
    }
    return HONE_OK;
}

/* A header that fits the key and the size of the file. Sizes are compared without overflow: both counts are bounded. */
static bool is_whole(const hone_token_header *header, const char *key, int64_t size) {
    if (memcmp(header->magic, magic, sizeof magic) != 0) return false;
    if (memcmp(header->key, key, HONE_SHA256_TEXT) != 0) return false;
    if (header->tokens < 0 || header->tokens > size || header->samples < 0) return false;
    if (header->samples > size) return false;
    return index_begin(header) + header->samples * (int64_t)sizeof(hone_token_entry) == size;
}

hone_status hone_token_cache_open(hone_token_cache *out, bool *found, const char *path,
                                  const char *key) {
    *out = (hone_token_cache){.path = hone_strdup(path)};
    *found = false;
    if (!out->path) return HONE_ERR_MEMORY;
    out->stream = fopen(path, "rbe");
    struct stat info;
    if (out->stream && fstat(fileno(out->stream), &info) == 0 &&
        fread(&out->header, sizeof out->header, 1, out->stream) == 1) {
        *found = is_whole(&out->header, key, (int64_t)info.st_size);
    }
    if (!*found) hone_token_cache_close(out);
    return HONE_OK;
}

void hone_token_cache_close(hone_token_cache *cache) {
    if (cache->stream) fclose(cache->stream);
    hone_free(cache->path);
    *cache = (hone_token_cache){0};
}

hone_status hone_token_cache_entries(hone_token_entry *out, const hone_token_cache *cache,
                                     int64_t first, int64_t count) {
    int64_t size = (int64_t)sizeof *out;
    return read_at(cache, out, index_begin(&cache->header) + first * size, (size_t)(count * size));
}

hone_status hone_token_cache_words(uint32_t *out, const hone_token_cache *cache, int64_t first,
                                   int64_t count) {
    if (first < 0 || count < 0 || first > cache->header.tokens - count)
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: the token cache is damaged; delete it, it will be made again",
                         cache->path);
    int64_t size = (int64_t)sizeof *out;
    return read_at(cache, out, (int64_t)sizeof cache->header + first * size,
                   (size_t)(count * size));
}

static hone_status write_failed(const hone_token_writer *writer) {
    return hone_fail_errno(HONE_ERR_IO, "%s: cannot write the token cache (is the disk full?)",
                           writer->path);
}

hone_status hone_token_writer_new(hone_token_writer *out, const char *path, bool named) {
    *out = (hone_token_writer){.path = path};
    hone_status status = HONE_OK;
    if (named) {
        status = hone_file_create(&out->file, path);
        out->stream = out->file.stream;
    } else {
        status = hone_temp_open(&out->stream, path);
    }
    if (status == HONE_OK) status = hone_temp_open(&out->index, path);
    hone_token_header header = {.magic = ""};
    if (status == HONE_OK && fwrite(&header, sizeof header, 1, out->stream) != 1)
        status = write_failed(out);
    if (status != HONE_OK) hone_token_writer_abandon(out);
    return status;
}

hone_status hone_token_writer_add(hone_token_writer *writer, hone_token_entry *entry,
                                  const uint32_t *words) {
    size_t length = (size_t)entry->length;
    entry->begin = writer->tokens;
    if (fwrite(words, sizeof *words, length, writer->stream) != length ||
        fwrite(entry, sizeof *entry, 1, writer->index) != 1) {
        return write_failed(writer);
    }
    writer->tokens += entry->length;
    writer->samples++;
    return HONE_OK;
}

static hone_status append_index(hone_token_writer *writer) {
    enum { CHUNK = 1 << 14 };
    char chunk[CHUNK];
    size_t got;
    if (fflush(writer->index) != 0 || fseek(writer->index, 0, SEEK_SET) != 0)
        return write_failed(writer);
    while ((got = fread(chunk, 1, CHUNK, writer->index)) > 0) {
        if (fwrite(chunk, 1, got, writer->stream) != got) return write_failed(writer);
    }
    return ferror(writer->index) ? write_failed(writer) : HONE_OK;
}

static hone_status put_header(hone_token_header *header, hone_token_writer *writer, const char *key,
                              const hone_samples_ledger *ledger) {
    *header = (hone_token_header){
        .samples = writer->samples, .tokens = writer->tokens, .ledger = *ledger};
    memcpy(header->magic, magic, sizeof magic);
    memcpy(header->key, key, HONE_SHA256_TEXT);
    if (fflush(writer->stream) != 0 || fseek(writer->stream, 0, SEEK_SET) != 0 ||
        fwrite(header, sizeof *header, 1, writer->stream) != 1 || fflush(writer->stream) != 0) {
        return write_failed(writer);
    }
    return HONE_OK;
}

/* The nameless file is read through the stream that wrote it. */
static hone_status keep_nameless(hone_token_cache *out, hone_token_writer *writer,
                                 const hone_token_header *header) {
    *out = (hone_token_cache){.stream = writer->stream, .path = hone_strdup(""), .header = *header};
    writer->stream = NULL;
    if (out->path) return HONE_OK;
    hone_token_cache_close(out);
    return HONE_ERR_MEMORY;
}

hone_status hone_token_writer_commit(hone_token_cache *out, hone_token_writer *writer,
                                     const char *key, const hone_samples_ledger *ledger) {
    *out = (hone_token_cache){0};
    hone_token_header header;
    bool named = writer->file.path != NULL;
    hone_status status = append_index(writer);
    if (status == HONE_OK) status = put_header(&header, writer, key, ledger);
    if (status == HONE_OK && !named) status = keep_nameless(out, writer, &header);
    if (status == HONE_OK && named) {
        writer->stream = NULL;
        status = hone_file_commit(&writer->file);
        bool found = false;
        if (status == HONE_OK) status = hone_token_cache_open(out, &found, writer->path, key);
        if (status == HONE_OK && !found)
            status =
                hone_fail(HONE_ERR_IO, "%s: the token cache cannot be read back", writer->path);
    }
    hone_token_writer_abandon(writer);
    return status;
}

void hone_token_writer_abandon(hone_token_writer *writer) {
    if (writer->file.path) {
        hone_file_abandon(&writer->file);
    } else if (writer->stream) {
        fclose(writer->stream);
    }
    if (writer->index) fclose(writer->index);
    *writer = (hone_token_writer){0};
}
