/*
 * Line charts as inline SVG, for the report.
 */
#ifndef HONE_TRAIN_CHART_H
#define HONE_TRAIN_CHART_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

/* One line. x rises. Points with a y that is no finite number break the line. */
typedef struct hone_chart_line {
    const char *name;  /* in the legend; plain text */
    const char *style; /* class of the line, without special characters */
    const double *x, *y;
    size_t count;
    bool dots; /* mark every point */
} hone_chart_line;

/* Appends a chart with axes, ticks and legend; nothing when there is no point to draw. Long lines are thinned to what can
 * be seen, keeping the lowest and the highest point of every column. */
HONE_MUST_USE hone_status hone_chart(hone_buf *out, const char *title, const hone_chart_line *lines,
                                     size_t count);

/* Appends text as HTML: & < > " ' escaped, control characters as spaces, U+FFFD for what is not UTF-8. */
HONE_MUST_USE hone_status hone_html_text(hone_buf *out, const char *text);

#endif
