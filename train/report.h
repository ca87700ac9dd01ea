/*
 * report.html: one self-contained page about a run, with inline CSS and SVG, no scripts, nothing fetched.
 */
#ifndef HONE_TRAIN_REPORT_H
#define HONE_TRAIN_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"
#include "train/metrics.h"

/* One question put to the model before and after training. */
typedef struct hone_report_sample {
    const char *prompt;
    const char *before; /* NULL when it was not generated */
    const char *after;
    const char *reference; /* what the data says; NULL when unknown */
    bool held_out;         /* not among the records trained on */
} hone_report_sample;

/* A line of a two-column table. */
typedef struct hone_report_row {
    const char *name, *value;
} hone_report_row;

typedef struct hone_report_table {
    const hone_report_row *rows;
    size_t count;
} hone_report_table;

/* All borrowed; empty parts are left out of the page. Texts may hold anything: they are escaped. */
typedef struct hone_report {
    const char *title; /* the run's name */
    const hone_metrics_history *history;
    const hone_report_sample *samples;
    size_t sample_count;
    hone_report_table summary;  /* the first lines: steps, losses, time, memory */
    hone_report_table ledger;   /* records read, trained on, held out, skipped and why */
    hone_report_table settings; /* options and plan */
    hone_report_table times;    /* where the time went */
    hone_report_table files;    /* name and what it is for */
    hone_report_table verified; /* what was compared after the export, and how it came out */
} hone_report;

/* Appends the page. */
HONE_MUST_USE hone_status hone_report_format(hone_buf *out, const hone_report *report);

/* Writes it to a file, whole or not at all. */
HONE_MUST_USE hone_status hone_report_write(const char *path, const hone_report *report);

#endif
