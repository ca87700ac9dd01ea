/*
 * Rows of named fields to records: the shapes that people's files have, found by looking at the rows.
 */
#ifndef HONE_DATA_ROW_H
#define HONE_DATA_ROW_H

#include <jansson.h>

#include "base/buf.h"
#include "base/status.h"
#include "data/import.h"

typedef struct hone_row_kind hone_row_kind; /* a row of the table of shapes */

typedef struct hone_row_shape {
    const hone_row_kind *kind; /* NULL until the first row was seen */
    const hone_data_map *map;  /* for the mapped shape */
    size_t map_count;
} hone_row_shape;

/* Called with each record of a row, in order. */
typedef hone_status (*hone_row_take)(void *context, const hone_buf *record);

/* Checks --map: known roles, something to learn, text alone. */
HONE_MUST_USE hone_status hone_row_check_map(const hone_data_map *map, size_t count);

/* Sets the shape by the fields of `row`, or by the map; the message lists the fields found and the shapes known. */
HONE_MUST_USE hone_status hone_row_find_shape(hone_row_shape *shape, const json_t *row);

/* Whether the row has the fields that make the shape what it is. A mapped shape fits every row. */
bool hone_row_fits(const hone_row_shape *shape, const json_t *row);

/* The shape in words: "question/answer", "q=prompt a=completion". */
void hone_row_describe(char *out, size_t size, const hone_row_shape *shape);

/* Makes the records of a row in `record` and hands each to `take`; *made counts them, 0 when the row has nothing to
 * learn. The message of a row that lacks a field names it. */
HONE_MUST_USE hone_status hone_row_records(int64_t *made, const hone_row_shape *shape,
                                           const json_t *row, hone_buf *record, hone_row_take take,
                                           void *context);

#endif
