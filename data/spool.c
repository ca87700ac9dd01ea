#include "data/spool.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/extsort.h"
#include "data/tempfile.h"

/* What stands before each record in the temporary file. */
typedef struct spool_head {
    int64_t row;
    int64_t length;
    hone_data_hash hash;
    int32_t file;
    int32_t zero; /* no unset bytes are written */
} spool_head;

struct hone_spool {
    const char *neighbour;
    FILE *stream;
    hone_extsort *hashes;     /* by hash, then order of coming */
    hone_extsort *duplicates; /* order of coming of those to be left out */
    int64_t count;            /* that came, those present included */
    int64_t present;
    int64_t next; /* of those, the next to be read */
    int64_t next_duplicate;
    bool more_duplicates;
};

hone_status hone_spool_new(hone_spool **out, const char *neighbour) {
    *out = hone_alloc(1, sizeof **out);
    if (!*out) return HONE_ERR_MEMORY;
    (*out)->neighbour = neighbour;
    hone_status status = hone_temp_open(&(*out)->stream, neighbour);
    if (status == HONE_OK) status = hone_extsort_new(&(*out)->hashes, neighbour);
    if (status == HONE_OK) status = hone_extsort_new(&(*out)->duplicates, neighbour);
    if (status == HONE_OK) return HONE_OK;
    hone_spool_free(*out);
    *out = NULL;
    return status;
}

void hone_spool_free(hone_spool *spool) {
    if (!spool) return;
    if (spool->stream) fclose(spool->stream);
    hone_extsort_free(spool->hashes);
    hone_extsort_free(spool->duplicates);
    hone_free(spool);
}

static hone_status push_hash(hone_spool *spool, hone_data_hash hash) {
    hone_sort_entry entry = {.key = {hash.word[0], hash.word[1]}, .value = spool->count++};
    return hone_extsort_push(spool->hashes, entry);
}

hone_status hone_spool_present(hone_spool *spool, hone_data_hash hash) {
    spool->present++;
    return push_hash(spool, hash);
}

hone_status hone_spool_put(hone_spool *spool, int32_t file, int64_t row, const char *json,
                           size_t length) {
    spool_head head = {.row = row,
                       .length = (int64_t)length,
                       .hash = hone_data_hash_of(json, length),
                       .file = file};
    if (fwrite(&head, sizeof head, 1, spool->stream) != 1 ||
        fwrite(json, 1, length, spool->stream) != length) {
        return hone_fail_errno(HONE_ERR_IO,
                               "%s: cannot write a temporary file beside it (is the disk full?)",
                               spool->neighbour);
    }
    return push_hash(spool, head.hash);
}

/* In order of hash, all but the first of equal ones are duplicates. */
static hone_status find_duplicates(hone_spool *spool) {
    hone_sort_entry last = {0};
    for (bool first = true;; first = false) {
        hone_sort_entry entry;
        bool more;
        HONE_TRY(hone_extsort_next(&entry, &more, spool->hashes));
        if (!more) return HONE_OK;
        if (!first && memcmp(entry.key, last.key, sizeof entry.key) == 0) {
            hone_sort_entry found = {.key = {(uint64_t)entry.value, 0}, .value = entry.value};
            HONE_TRY(hone_extsort_push(spool->duplicates, found));
        }
        last = entry;
    }
}

static hone_status advance_duplicate(hone_spool *spool) {
    hone_sort_entry entry = {0};
    HONE_TRY(hone_extsort_next(&entry, &spool->more_duplicates, spool->duplicates));
    spool->next_duplicate = entry.value;
    return HONE_OK;
}

hone_status hone_spool_finish(hone_spool *spool) {
    HONE_TRY(hone_extsort_finish(spool->hashes));
    HONE_TRY(find_duplicates(spool));
    HONE_TRY(hone_extsort_finish(spool->duplicates));
    HONE_TRY(advance_duplicate(spool));
    spool->next = spool->present;
    if (fflush(spool->stream) == 0 && fseek(spool->stream, 0, SEEK_SET) == 0) return HONE_OK;
    return hone_fail_errno(HONE_ERR_IO,
                           "%s: cannot write a temporary file beside it (is the disk full?)",
                           spool->neighbour);
}

static hone_status read_record(hone_spool_record *out, hone_spool *spool) {
    spool_head head;
    bool got = fread(&head, sizeof head, 1, spool->stream) == 1;
    hone_buf_clear(&out->json);
    if (got) {
        size_t length = (size_t)head.length;
        HONE_TRY(hone_grow(&out->json.data, &out->json.capacity, length + 1, 1));
        got = fread(out->json.data, 1, length, spool->stream) == length;
        out->json.length = length;
        out->json.data[length] = '\0';
    }
    if (!got)
        return hone_fail_errno(HONE_ERR_IO, "%s: cannot read a temporary file beside it",
                               spool->neighbour);
    out->file = head.file;
    out->row = head.row;
    out->hash = head.hash;
    return HONE_OK;
}

hone_status hone_spool_next(hone_spool_record *out, bool *more, hone_spool *spool) {
    *more = spool->next < spool->count;
    if (!*more) return HONE_OK;
    HONE_TRY(read_record(out, spool));
    /* Present records may be equal among themselves only in a file that others wrote. */
    while (spool->more_duplicates && spool->next_duplicate < spool->next)
        HONE_TRY(advance_duplicate(spool));
    out->duplicate = spool->more_duplicates && spool->next_duplicate == spool->next;
    spool->next++;
    return HONE_OK;
}
