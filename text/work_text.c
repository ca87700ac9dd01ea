#include "text/work_text.h"

#include "base/alloc.h"

hone_status hone_pieces_grow(hone_pieces *pieces) {
    return hone_grow(&pieces->items, &pieces->capacity, pieces->count + 1, sizeof *pieces->items);
}

hone_status hone_work_set(hone_work *work, const char *data, size_t length, const hone_span *origin,
                          size_t base) {
    work->data = data;
    work->length = length;
    work->origin = origin;
    work->base = base;
    work->pieces.count = 0;
    return hone_pieces_add(&work->pieces, 0, length, -1);
}

void hone_work_free(hone_work *work) {
    for (int i = 0; i < 2; i++) {
        hone_buf_free(&work->sides[i].text);
        hone_free(work->sides[i].origin);
    }
    hone_buf_free(&work->view);
    hone_free(work->pieces.items);
    hone_free(work->spare.items);
    *work = (hone_work){0};
}

enum { KEPT_BYTES = 1 << 20 };

void hone_work_trim(hone_work *work) {
    size_t pieces = work->pieces.capacity + work->spare.capacity;
    size_t bytes = pieces * sizeof(hone_piece) + work->view.capacity;
    for (int i = 0; i < 2; i++) {
        bytes += work->sides[i].text.capacity + work->sides[i].origin_capacity * sizeof(hone_span);
    }
    if (bytes > KEPT_BYTES) hone_work_free(work);
}

static hone_span origin_of(const hone_work *work, size_t at) {
    if (work->origin) return work->origin[at];
    return (hone_span){work->base + at, work->base + at + 1};
}

hone_span hone_work_origin(const hone_work *work, size_t begin, size_t end) {
    if (begin < end) {
        return (hone_span){origin_of(work, begin).begin, origin_of(work, end - 1).end};
    }
    size_t at = work->base;
    if (begin < work->length) {
        at = origin_of(work, begin).begin;
    } else if (begin > 0) {
        at = origin_of(work, begin - 1).end;
    }
    return (hone_span){at, at};
}

void hone_work_take_spare(hone_work *work) {
    hone_pieces old = work->pieces;
    work->pieces = work->spare;
    work->spare = old;
    work->spare.count = 0;
}

void hone_work_rewrite(hone_work *work) {
    hone_buf_clear(&work->sides[work->side].text);
    work->spare.count = 0;
}

static hone_status put_room(hone_work_side *side, size_t more) {
    return hone_grow(&side->origin, &side->origin_capacity, side->text.length + more,
                     sizeof *side->origin);
}

hone_status hone_work_put(hone_work *work, const char *bytes, size_t length, hone_span origin) {
    hone_work_side *side = &work->sides[work->side];
    HONE_TRY(put_room(side, length));
    size_t at = side->text.length;
    HONE_TRY(hone_buf_append(&side->text, bytes, length));
    for (size_t i = 0; i < length; i++) side->origin[at + i] = origin;
    return HONE_OK;
}

hone_status hone_work_copy(hone_work *work, size_t begin, size_t end) {
    hone_work_side *side = &work->sides[work->side];
    HONE_TRY(put_room(side, end - begin));
    size_t at = side->text.length;
    HONE_TRY(hone_buf_append(&side->text, work->data + begin, end - begin));
    for (size_t i = begin; i < end; i++) side->origin[at++] = origin_of(work, i);
    return HONE_OK;
}

size_t hone_work_written(const hone_work *work) {
    return work->sides[work->side].text.length;
}

void hone_work_rewritten(hone_work *work) {
    hone_work_side *side = &work->sides[work->side];
    work->data = side->text.data ? side->text.data : "";
    work->length = side->text.length;
    work->origin = side->origin;
    work->side ^= 1;
    hone_work_take_spare(work);
}
