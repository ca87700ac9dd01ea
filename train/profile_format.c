#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/profile.h"

static const char *const phase_names[] = {"forward", "replay", "backward", "loop"};

/* "576x1536 q8_0", or "576x1536 int8" of a product that is taken so. */
static const char *shape_text(char out[64], const hone_profile_row *row) {
    int at = 0;
    out[0] = '\0';
    for (int i = 0; i < HONE_WORK_SHAPE && row->shape[i] > 0; i++)
        at += snprintf(out + at, 64 - (size_t)at, "%s%lld", i ? "x" : "", (long long)row->shape[i]);
    if (row->mode || row->weights != HONE_F32)
        snprintf(out + at, 64 - (size_t)at, " %s",
                 row->mode ? row->mode : hone_dtype_name(row->weights));
    return out;
}

/* --- The table --- */

/* A number in a column, or a dash where there is none. */
static hone_status put(hone_buf *out, int width, int digits, double number) {
    if (number == 0) return hone_buf_printf(out, " %*s", width, "-");
    return hone_buf_printf(out, " %*.*f", width, digits, number);
}

/* "103.1  78%": per second, and of the limit, at which the same would take `least` seconds. */
static hone_status put_rate(hone_buf *out, double amount, double seconds, double least) {
    double rate = seconds > 0 ? amount / seconds : 0;
    if (rate == 0) return put(out, 12, 0, 0);
    return hone_buf_printf(out, " %7.1f %3.0f%%", rate / 1e9, 100 * least / seconds);
}

/* What the products of a row would take at the limit of their mode; of the sum of rows, each in its own. */
static double least_seconds(const hone_profile_row *row, const hone_limits *limits) {
    double other = row->flops - row->mode_flops, in_mode = row->mode_flops;
    return other / limits->flops + (in_mode > 0 ? in_mode / limits->mode_flops : 0);
}

static hone_status put_row(hone_buf *out, const hone_profile *p, const hone_profile_row *row,
                           const hone_limits *limits) {
    char shape[64];
    double steps = (double)p->steps, calls = (double)row->calls / steps;
    HONE_TRY(hone_buf_printf(out, "%-14s %-16s", row->name, shape_text(shape, row)));
    HONE_TRY(put(out, 5, row->calls % p->steps ? 2 : 0, calls));
    for (int i = 0; i < HONE_PHASES; i++) HONE_TRY(put(out, 8, 2, 1e3 * row->phase[i] / steps));
    HONE_TRY(put(out, 8, 2, 1e3 * row->seconds / steps));
    if (row->between) return hone_buf_puts(out, "\n");
    HONE_TRY(hone_buf_printf(out, " %5.1f%%", 100 * row->seconds / p->seconds));
    HONE_TRY(put_rate(out, row->flops, row->seconds, least_seconds(row, limits)));
    HONE_TRY(put_rate(out, row->bytes, row->seconds, row->bytes / limits->bytes));
    return hone_buf_puts(out, "\n");
}

static int by_time(const void *a, const void *b) {
    const hone_profile_row *x = a, *y = b;
    if (x->between != y->between) return x->between ? 1 : -1;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

/* What all rows of a step come to, without names. */
static hone_profile_row sum_of(const hone_profile *p) {
    hone_profile_row sum = {.name = ""};
    for (int i = 0; i < p->row_count; i++) {
        const hone_profile_row *row = &p->rows[i];
        if (row->between) continue;
        sum.seconds += row->seconds;
        sum.flops += row->flops;
        sum.mode_flops += row->mode_flops;
        sum.bytes += row->bytes;
        for (int k = 0; k < HONE_PHASES; k++) sum.phase[k] += row->phase[k];
    }
    return sum;
}

static hone_status put_head(hone_buf *out, const hone_profile *p, const hone_limits *limits) {
    HONE_TRY(hone_buf_printf(out,
                             "where the time goes: %lld steps of %.2f ms; limits: %.1f GFLOP/s "
                             "(product of f32), ",
                             (long long)p->steps, 1e3 * p->seconds / (double)p->steps,
                             limits->flops / 1e9));
    if (limits->mode)
        HONE_TRY(
            hone_buf_printf(out, "%.1f GFLOP/s (in %s), ", limits->mode_flops / 1e9, limits->mode));
    HONE_TRY(hone_buf_printf(out, "%.1f GB/s (copy of %.0f MiB)\n", limits->bytes / 1e9,
                             limits->copied / (1 << 20)));
    return hone_buf_printf(out, "%-14s %-16s %5s %8s %8s %8s %8s %6s %12s %12s\n", "operation",
                           "shape", "calls", "forward", "replay", "backward", "ms/step", "part",
                           "GFLOP/s", "GB/s");
}

hone_status hone_profile_table(hone_buf *out, const hone_profile *p, const hone_limits *limits) {
    if (p->steps == 0) return hone_buf_puts(out, "where the time goes: no step was taken\n");
    hone_profile sorted = *p;
    qsort(sorted.rows, (size_t)p->row_count, sizeof *sorted.rows, by_time);
    HONE_TRY(put_head(out, p, limits));
    int i = 0;
    for (; i < p->row_count && !sorted.rows[i].between; i++)
        HONE_TRY(put_row(out, p, &sorted.rows[i], limits));
    hone_profile_row step = sum_of(p), rest = {.name = "unaccounted"};
    rest.seconds = p->seconds - step.seconds;
    step.name = "step";
    step.seconds = p->seconds;
    HONE_TRY(put_row(out, p, &rest, limits));
    HONE_TRY(put_row(out, p, &step, limits));
    if (i < p->row_count) HONE_TRY(hone_buf_puts(out, "between steps\n"));
    for (; i < p->row_count; i++) HONE_TRY(put_row(out, p, &sorted.rows[i], limits));
    return HONE_OK;
}

/* --- The trace --- */

enum { STEPS_TRACK = 1, WORK_TRACK = 2 };

/* Whole nanoseconds since the first step, so that neighbours do not overlap by rounding. */
static int64_t since(const hone_profile *p, double time) {
    return (int64_t)llround((time - p->traced[0].start) * 1e9);
}

static hone_status put_event(hone_buf *out, const hone_profile *p, int track, double start,
                             double end) {
    int64_t from = since(p, start), length = since(p, end) - from;
    return hone_buf_printf(out,
                           "\", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, \"ts\": %lld.%03lld, "
                           "\"dur\": %lld.%03lld",
                           track, (long long)from / 1000, (long long)from % 1000,
                           (long long)length / 1000, (long long)length % 1000);
}

static hone_status put_work(hone_buf *out, const hone_profile *p, const hone_profile_event *event) {
    const hone_profile_row *row = &p->rows[event->row];
    char shape[64];
    shape_text(shape, row);
    HONE_TRY(hone_buf_printf(out, ",\n{\"name\": \"%s%s%s", row->name, *shape ? " " : "", shape));
    HONE_TRY(put_event(out, p, WORK_TRACK, event->start, event->end));
    return hone_buf_printf(out, ", \"cat\": \"%s\", \"args\": {\"mflop\": %.6g, \"mb\": %.6g}}",
                           phase_names[event->phase], event->flops / 1e6, event->bytes / 1e6);
}

static hone_status put_track(hone_buf *out, int track, const char *name) {
    return hone_buf_printf(out,
                           "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 1, \"tid\": %d, "
                           "\"args\": {\"name\": \"%s\"}}",
                           track, name);
}

hone_status hone_profile_trace(hone_buf *out, const hone_profile *p) {
    HONE_TRY(hone_buf_puts(out, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n"));
    HONE_TRY(put_track(out, STEPS_TRACK, "steps"));
    HONE_TRY(hone_buf_puts(out, ",\n"));
    HONE_TRY(put_track(out, WORK_TRACK, "operations"));
    for (int i = 0; i < p->steps && i < HONE_PROFILE_TRACED; i++) {
        const hone_profile_step *step = &p->traced[i];
        HONE_TRY(hone_buf_printf(out, ",\n{\"name\": \"step %lld", (long long)step->step));
        HONE_TRY(put_event(out, p, STEPS_TRACK, step->start, step->end));
        HONE_TRY(hone_buf_puts(out, "}"));
    }
    for (int i = 0; i < p->event_count; i++) HONE_TRY(put_work(out, p, &p->events[i]));
    return hone_buf_puts(out, "\n]}\n");
}
