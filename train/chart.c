#include "train/chart.h"

#include <math.h>
#include <string.h>

#include "text/utf8.h"

/* The drawing's size, and the frame of the plot in it. */
enum { WIDTH = 760, HEIGHT = 280, LEFT = 64, RIGHT = 744, TOP = 34, BOTTOM = 246, MOST_TICKS = 12 };

typedef struct range {
    double low, high, step; /* step of the ticks */
} range;

static const char *escape_of(int32_t point) {
    switch (point) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case -1:
        return HONE_UTF8_REPLACEMENT;
    default:
        break;
    }
    bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
    return control && point != '\n' && point != '\t' ? " " : NULL;
}

hone_status hone_html_text(hone_buf *out, const char *text) {
    size_t length = strlen(text);
    size_t plain = 0; /* start of what was not written yet */
    for (size_t at = 0; at < length;) {
        int32_t point;
        size_t bytes = hone_utf8_next(&point, text + at, length - at);
        const char *escape = escape_of(point);
        if (escape) {
            HONE_TRY(hone_buf_append(out, text + plain, at - plain));
            HONE_TRY(hone_buf_puts(out, escape));
            plain = at + bytes;
        }
        at += bytes;
    }
    return hone_buf_append(out, text + plain, length - plain);
}

/* Widens a range to whole steps of 1, 2 or 5 times a power of ten, about five of them. */
static range round_range(double low, double high) {
    if (high <= low) {
        double pad = low == 0 ? 1 : fabs(low) / 10;
        low -= pad;
        high += pad;
    }
    double rough = (high - low) / 5;
    double power = pow(10, floor(log10(rough)));
    double part = rough / power;
    double step = power * (part > 5 ? 10 : part > 2 ? 5 : part > 1 ? 2 : 1);
    return (range){floor(low / step) * step, ceil(high / step) * step, step};
}

/* False when no point can be drawn. */
static bool ranges_of(range *x, range *y, const hone_chart_line *lines, size_t count) {
    double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
    for (size_t l = 0; l < count; l++) {
        for (size_t i = 0; i < lines[l].count; i++) {
            if (!isfinite(lines[l].y[i])) continue;
            x_low = fmin(x_low, lines[l].x[i]);
            x_high = fmax(x_high, lines[l].x[i]);
            y_low = fmin(y_low, lines[l].y[i]);
            y_high = fmax(y_high, lines[l].y[i]);
        }
    }
    if (!(x_low <= x_high)) return false;
    *x = round_range(x_low, x_high);
    x->low = x_low < x_high ? x_low : x->low; /* the time axis ends where the run does */
    x->high = x_low < x_high ? x_high : x->high;
    *y = round_range(y_low, y_high);
    return true;
}

static double place_x(const range *x, double value) {
    return LEFT + (value - x->low) / (x->high - x->low) * (RIGHT - LEFT);
}

static double place_y(const range *y, double value) {
    return BOTTOM - (value - y->low) / (y->high - y->low) * (BOTTOM - TOP);
}

static hone_status put_axes(hone_buf *out, const range *x, const range *y) {
    for (int i = 0; i <= MOST_TICKS && y->low + i * y->step <= y->high + y->step / 2; i++) {
        double v = y->low + i * y->step;
        double shown = fabs(v) < y->step / 2 ? 0 : v;
        HONE_TRY(hone_buf_printf(out,
                                 "<path class=\"grid\" d=\"M%d %.1fH%d\"/>"
                                 "<text class=\"end\" x=\"%d\" y=\"%.1f\">%.4g</text>\n",
                                 LEFT, place_y(y, v), RIGHT, LEFT - 8, place_y(y, v) + 4, shown));
    }
    double first = ceil(x->low / x->step) * x->step;
    for (int i = 0; i <= MOST_TICKS && first + i * x->step <= x->high * (1 + 1e-9); i++) {
        double v = first + i * x->step;
        HONE_TRY(hone_buf_printf(out,
                                 "<path class=\"grid\" d=\"M%.1f %dV%d\"/>"
                                 "<text class=\"middle\" x=\"%.1f\" y=\"%d\">%.6g</text>\n",
                                 place_x(x, v), BOTTOM, BOTTOM + 4, place_x(x, v), BOTTOM + 18, v));
    }
    return hone_buf_printf(out, "<text class=\"end\" x=\"%d\" y=\"%d\">step</text>\n", RIGHT,
                           HEIGHT - 2);
}

/* The index after the points that share a column of the picture with point `begin`; all are finite. */
static size_t column_end(const hone_chart_line *line, const range *x, size_t begin) {
    double column = floor(place_x(x, line->x[begin]));
    size_t end = begin + 1;
    while (end < line->count && isfinite(line->y[end]) && floor(place_x(x, line->x[end])) == column)
        end++;
    return end;
}

static hone_status put_point(hone_buf *out, const hone_chart_line *line, const range *x,
                             const range *y, size_t i, bool *open) {
    HONE_TRY(hone_buf_printf(out, "%s%.1f %.1f", *open ? "L" : "M", place_x(x, line->x[i]),
                             place_y(y, line->y[i])));
    *open = true;
    return HONE_OK;
}

/* Of each column: the first, lowest, highest and last point, as far as they differ, in order. */
static hone_status put_column(hone_buf *out, const hone_chart_line *line, const range *x,
                              const range *y, size_t begin, size_t end, bool *open) {
    size_t low = begin, high = begin;
    for (size_t i = begin; i < end; i++) {
        if (line->y[i] < line->y[low]) low = i;
        if (line->y[i] > line->y[high]) high = i;
    }
    for (size_t i = begin; i < end; i++) {
        if (i == begin || i == low || i == high || i + 1 == end)
            HONE_TRY(put_point(out, line, x, y, i, open));
    }
    return HONE_OK;
}

static hone_status put_line(hone_buf *out, const hone_chart_line *line, const range *x,
                            const range *y) {
    HONE_TRY(hone_buf_printf(out, "<path class=\"line %s\" d=\"", line->style));
    bool open = false;
    for (size_t i = 0; i < line->count;) {
        if (!isfinite(line->y[i])) {
            open = false;
            i++;
            continue;
        }
        size_t end = column_end(line, x, i);
        HONE_TRY(put_column(out, line, x, y, i, end, &open));
        i = end;
    }
    HONE_TRY(hone_buf_puts(out, "\"/>\n"));
    for (size_t i = 0; line->dots && i < line->count; i++) {
        if (!isfinite(line->y[i])) continue;
        HONE_TRY(hone_buf_printf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n",
                                 line->style, place_x(x, line->x[i]), place_y(y, line->y[i])));
    }
    return HONE_OK;
}

static hone_status put_legend(hone_buf *out, const hone_chart_line *lines, size_t count) {
    int at = LEFT;
    for (size_t i = 0; i < count; i++) {
        if (lines[i].count == 0) continue;
        HONE_TRY(hone_buf_printf(
            out, "<path class=\"line %s\" d=\"M%d 16h22\"/><text x=\"%d\" y=\"20\">",
            lines[i].style, at, at + 28));
        HONE_TRY(hone_html_text(out, lines[i].name));
        HONE_TRY(hone_buf_puts(out, "</text>\n"));
        at += 44 + 7 * (int)strlen(lines[i].name);
    }
    return HONE_OK;
}

hone_status hone_chart(hone_buf *out, const char *title, const hone_chart_line *lines,
                       size_t count) {
    range x, y;
    if (!ranges_of(&x, &y, lines, count)) return HONE_OK;
    HONE_TRY(
        hone_buf_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", WIDTH, HEIGHT));
    HONE_TRY(hone_html_text(out, title));
    HONE_TRY(hone_buf_puts(out, "</title>\n"));
    HONE_TRY(put_axes(out, &x, &y));
    for (size_t i = 0; i < count; i++) HONE_TRY(put_line(out, &lines[i], &x, &y));
    HONE_TRY(put_legend(out, lines, count));
    return hone_buf_puts(out, "</svg>\n");
}
