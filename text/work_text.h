/*
 * The text of one stretch between special tokens on its way to the model: rewritten by normalisers, cut into pieces by
 * pre-tokenizers, and at every stage traceable to the bytes of the input.
 */
#ifndef HONE_TEXT_WORK_TEXT_H
#define HONE_TEXT_WORK_TEXT_H

#include "text/tokenizer.h"

/* Bytes begin <= i < end of the work text. `id` >= 0: already a token; no later step looks inside. */
typedef struct hone_piece {
    size_t begin, end;
    int32_t id;
} hone_piece;

typedef struct hone_pieces {
    hone_piece *items; /* owned */
    size_t count, capacity;
} hone_pieces;

/* One side of the text; a rewrite reads one side and fills the other. */
typedef struct hone_work_side {
    hone_buf text;
    hone_span *origin; /* per byte of text: the input bytes it came from; owned */
    size_t origin_capacity;
} hone_work_side;

typedef struct hone_work {
    const char *data; /* the current text: borrowed input, or one of the sides */
    size_t length;
    const hone_span *origin; /* per byte; NULL: byte i came from input byte base + i */
    size_t base;
    hone_pieces pieces;
    hone_pieces spare; /* what a step fills, before it is exchanged with `pieces` */
    hone_work_side sides[2];
    int side;      /* which side the next rewrite fills */
    hone_buf view; /* of the text for regular expressions, where it differs */
} hone_work;

/* Starts over with borrowed bytes as one piece. `origin` is NULL or has `length` entries, borrowed. */
HONE_MUST_USE hone_status hone_work_set(hone_work *work, const char *data, size_t length,
                                        const hone_span *origin, size_t base);
void hone_work_free(hone_work *work);

/* Gives back the memory of a long text; keeps that of a short one. */
void hone_work_trim(hone_work *work);

/* The input bytes of work bytes begin <= i < end; of an empty stretch, the place where it stands. */
hone_span hone_work_origin(const hone_work *work, size_t begin, size_t end);

HONE_MUST_USE hone_status hone_pieces_grow(hone_pieces *pieces);

/* Empty stretches are left out. */
HONE_MUST_USE static inline hone_status hone_pieces_add(hone_pieces *pieces, size_t begin,
                                                        size_t end, int32_t id) {
    if (begin == end) return HONE_OK;
    if (pieces->count == pieces->capacity) HONE_TRY(hone_pieces_grow(pieces));
    pieces->items[pieces->count++] = (hone_piece){begin, end, id};
    return HONE_OK;
}

/* Exchanges `pieces` with what was added to `spare`. */
void hone_work_take_spare(hone_work *work);

/* --- Rewriting: begin, then put and copy in order of the text, then end --- */

void hone_work_rewrite(hone_work *work);
HONE_MUST_USE hone_status hone_work_put(hone_work *work, const char *bytes, size_t length,
                                        hone_span origin);
HONE_MUST_USE hone_status hone_work_copy(hone_work *work, size_t begin, size_t end);
size_t hone_work_written(const hone_work *work); /* bytes since hone_work_rewrite */
void hone_work_rewritten(hone_work *work);       /* pieces: what was added to `spare` */

#endif
