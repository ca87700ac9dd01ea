#include "data/extsort.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "data/tempfile.h"

enum { IN_MEMORY = 65536 }; /* entries: 1.5 MB */

/* A sorted run in the file, with the part of the buffer that its next entries are read into. */
typedef struct run {
    int64_t next, end; /* entries in the file that are still to be read */
    hone_sort_entry *buffer;
    int64_t at, filled;
} run;

struct hone_extsort {
    const char *neighbour;
    hone_sort_entry *entries; /* [IN_MEMORY] */
    int64_t count;            /* pending */
    FILE *file;
    run *runs;
    size_t run_count, run_capacity;
    size_t *heap; /* runs that have entries, smallest first */
    size_t heap_count;
    int64_t share; /* entries of the buffer for each run */
};

static int compare(const void *left, const void *right) {
    const hone_sort_entry *a = left;
    const hone_sort_entry *b = right;
    for (int i = 0; i < 2; i++) {
        if (a->key[i] != b->key[i]) return a->key[i] < b->key[i] ? -1 : 1;
    }
    return (a->value > b->value) - (a->value < b->value);
}

hone_status hone_extsort_new(hone_extsort **out, const char *neighbour) {
    *out = hone_alloc(1, sizeof **out);
    if (!*out) return HONE_ERR_MEMORY;
    (*out)->neighbour = neighbour;
    (*out)->entries = hone_alloc(IN_MEMORY, sizeof(hone_sort_entry));
    if ((*out)->entries) return HONE_OK;
    hone_extsort_free(*out);
    *out = NULL;
    return HONE_ERR_MEMORY;
}

void hone_extsort_free(hone_extsort *sort) {
    if (!sort) return;
    if (sort->file) fclose(sort->file);
    hone_free(sort->entries);
    hone_free(sort->runs);
    hone_free(sort->heap);
    hone_free(sort);
}

static void sort_pending(hone_extsort *sort) {
    qsort(sort->entries, (size_t)sort->count, sizeof *sort->entries, compare);
}

static hone_status spill(hone_extsort *sort) {
    if (!sort->file) HONE_TRY(hone_temp_open(&sort->file, sort->neighbour));
    HONE_TRY(hone_grow(&sort->runs, &sort->run_capacity, sort->run_count + 1, sizeof *sort->runs));
    sort_pending(sort);
    size_t count = (size_t)sort->count;
    if (fwrite(sort->entries, sizeof *sort->entries, count, sort->file) != count)
        return hone_fail_errno(HONE_ERR_IO, "%s: cannot write a temporary file beside it",
                               sort->neighbour);
    int64_t begin = sort->run_count ? sort->runs[sort->run_count - 1].end : 0;
    sort->runs[sort->run_count++] = (run){.next = begin, .end = begin + sort->count};
    sort->count = 0;
    return HONE_OK;
}

hone_status hone_extsort_push(hone_extsort *sort, hone_sort_entry entry) {
    if (sort->count == IN_MEMORY) HONE_TRY(spill(sort));
    sort->entries[sort->count++] = entry;
    return HONE_OK;
}

static hone_status refill(hone_extsort *sort, run *r) {
    int64_t left = r->end - r->next;
    int64_t count = left < sort->share ? left : sort->share;
    size_t bytes = (size_t)count * sizeof *r->buffer;
    off_t offset = (off_t)r->next * (off_t)sizeof *r->buffer;
    if (pread(fileno(sort->file), r->buffer, bytes, offset) != (ssize_t)bytes)
        return hone_fail_errno(HONE_ERR_IO, "%s: cannot read a temporary file beside it",
                               sort->neighbour);
    r->next += count;
    r->at = 0;
    r->filled = count;
    return HONE_OK;
}

static const hone_sort_entry *head_of(const hone_extsort *sort, size_t place) {
    const run *r = &sort->runs[sort->heap[place]];
    return &r->buffer[r->at];
}

static void sift_down(hone_extsort *sort, size_t place) {
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= sort->heap_count) return;
        if (child + 1 < sort->heap_count &&
            compare(head_of(sort, child + 1), head_of(sort, child)) < 0) {
            child++;
        }
        if (compare(head_of(sort, place), head_of(sort, child)) <= 0) return;
        size_t moved = sort->heap[place];
        sort->heap[place] = sort->heap[child];
        sort->heap[child] = moved;
        place = child;
    }
}

/* The buffer that runs were sorted in is shared out among them for merging. */
static hone_status start_merge(hone_extsort *sort) {
    if (fflush(sort->file) != 0)
        return hone_fail_errno(HONE_ERR_IO, "%s: cannot write a temporary file beside it",
                               sort->neighbour);
    if (sort->run_count > IN_MEMORY)
        return hone_fail(HONE_ERR_UNSUPPORTED, "%s: more than 4 billion records in one file",
                         sort->neighbour);
    sort->share = IN_MEMORY / (int64_t)sort->run_count;
    sort->heap = hone_alloc(sort->run_count, sizeof *sort->heap);
    if (!sort->heap) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < sort->run_count; i++) {
        sort->runs[i].buffer = sort->entries + (int64_t)i * sort->share;
        HONE_TRY(refill(sort, &sort->runs[i]));
        sort->heap[i] = i;
    }
    sort->heap_count = sort->run_count;
    for (size_t i = sort->heap_count; i-- > 0;) sift_down(sort, i);
    return HONE_OK;
}

hone_status hone_extsort_finish(hone_extsort *sort) {
    if (sort->run_count == 0) {
        sort_pending(sort);
        sort->runs = hone_alloc(1, sizeof *sort->runs);
        sort->heap = hone_alloc(1, sizeof *sort->heap);
        if (!sort->runs || !sort->heap) return HONE_ERR_MEMORY;
        sort->runs[0] = (run){.buffer = sort->entries, .filled = sort->count};
        sort->run_count = 1;
        sort->heap_count = sort->count > 0;
        return HONE_OK;
    }
    if (sort->count > 0) HONE_TRY(spill(sort));
    return start_merge(sort);
}

hone_status hone_extsort_next(hone_sort_entry *out, bool *more, hone_extsort *sort) {
    *more = sort->heap_count > 0;
    if (!*more) return HONE_OK;
    run *r = &sort->runs[sort->heap[0]];
    *out = r->buffer[r->at++];
    if (r->at == r->filled && r->next < r->end) HONE_TRY(refill(sort, r));
    if (r->at == r->filled) sort->heap[0] = sort->heap[--sort->heap_count];
    sift_down(sort, 0);
    return HONE_OK;
}
