#include "train/report.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "train/chart.h"

/* No script, no link, nothing fetched: the policy in the head holds a browser to it. */
static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n"
    ":root{--ink:#1f2328;--soft:#656d76;--line:#d8dee4;--paper:#fff;--panel:#f6f8fa;"
    "--blue:#0969da;--red:#cf222e;--green:#1a7f37}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#8d96a0;--line:#30363d;"
    "--paper:#0d1117;--panel:#161b22;--blue:#58a6ff;--red:#ff7b72;--green:#3fb950}}\n"
    "body{margin:2rem auto;max-width:50rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;"
    "color:var(--ink);background:var(--paper)}\n"
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;"
    "border-bottom:1px solid var(--line)}\n"
    "table{border-collapse:collapse;width:100%}"
    "td{padding:.2rem .6rem .2rem 0;vertical-align:top;border-bottom:1px solid var(--line);"
    "overflow-wrap:anywhere}td:first-child{color:var(--soft);width:38%}\n"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--soft)}"
    ".end{text-anchor:end}.middle{text-anchor:middle}\n"
    ".grid{stroke:var(--line)}.line{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".raw{stroke:var(--line)}.loss,.lr{stroke:var(--blue)}.eval{stroke:var(--red)}"
    "circle.eval{fill:var(--red)}\n"
    ".sample{background:var(--panel);border-radius:.5rem;padding:.6rem 1rem;margin:.8rem 0}"
    ".sample p{margin:.3rem 0;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".sample b{color:var(--soft);font-weight:600}"
    ".tag{float:right;color:var(--green);font-size:.85rem}\n"
    "</style>\n<title>";

static const char privacy[] = "<p><small>A model can repeat what it was trained on: share the "
                              "adapter, and this page, like the "
                              "data they were made of.</small></p>\n";

static hone_status put_heading(hone_buf *out, const char *title) {
    HONE_TRY(hone_buf_puts(out, "<h2>"));
    HONE_TRY(hone_html_text(out, title));
    return hone_buf_puts(out, "</h2>\n");
}

static hone_status put_table(hone_buf *out, const char *title, const hone_report_table *table) {
    if (table->count == 0) return HONE_OK;
    if (title) HONE_TRY(put_heading(out, title));
    HONE_TRY(hone_buf_puts(out, "<table>\n"));
    for (size_t i = 0; i < table->count; i++) {
        HONE_TRY(hone_buf_puts(out, "<tr><td>"));
        HONE_TRY(hone_html_text(out, table->rows[i].name));
        HONE_TRY(hone_buf_puts(out, "</td><td>"));
        HONE_TRY(hone_html_text(out, table->rows[i].value));
        HONE_TRY(hone_buf_puts(out, "</td></tr>\n"));
    }
    return hone_buf_puts(out, "</table>\n");
}

/* The curves as arrays of numbers, in one block of memory. */
typedef struct curves {
    double *block;
    double *step, *loss, *smooth, *lr; /* [steps] */
    double *eval_step, *eval_loss;     /* [evals] */
} curves;

/* Exponential mean over about a twentieth of the run; what is no number does not enter it. */
static void smooth_losses(double *out, const double *loss, size_t count) {
    double weight = 2.0 / (2 + (double)count / 20);
    double mean = NAN;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(loss[i])) mean = isnan(mean) ? loss[i] : mean + weight * (loss[i] - mean);
        out[i] = mean;
    }
}

static hone_status make_curves(curves *out, const hone_metrics_history *history) {
    size_t steps = history->step_count, evals = history->eval_count;
    out->block = hone_alloc(4 * steps + 2 * evals, sizeof(double));
    if (!out->block) return HONE_ERR_MEMORY;
    out->step = out->block;
    out->loss = out->step + steps;
    out->smooth = out->loss + steps;
    out->lr = out->smooth + steps;
    out->eval_step = out->lr + steps;
    out->eval_loss = out->eval_step + evals;
    for (size_t i = 0; i < steps; i++) {
        out->step[i] = (double)history->steps[i].step;
        out->loss[i] = history->steps[i].loss;
        out->lr[i] = history->steps[i].lr;
    }
    smooth_losses(out->smooth, out->loss, steps);
    for (size_t i = 0; i < evals; i++) {
        out->eval_step[i] = (double)history->evals[i].step;
        out->eval_loss[i] = history->evals[i].eval_loss;
    }
    return HONE_OK;
}

static hone_status put_curves(hone_buf *out, const hone_metrics_history *history) {
    if (!history || history->step_count + history->eval_count == 0) return HONE_OK;
    size_t steps = history->step_count;
    curves c;
    HONE_TRY(make_curves(&c, history));
    const hone_chart_line loss[] = {
        {"each step", "raw", c.step, c.loss, steps, false},
        {"training loss", "loss", c.step, c.smooth, steps, false},
        {"held-out records", "eval", c.eval_step, c.eval_loss, history->eval_count, true},
    };
    const hone_chart_line lr = {"learning rate", "lr", c.step, c.lr, steps, false};
    hone_status status = put_heading(out, "Loss (lower is better)");
    if (status == HONE_OK)
        status = hone_chart(out, "Loss by step", loss, sizeof loss / sizeof *loss);
    if (status == HONE_OK && steps > 0) status = put_heading(out, "Learning rate");
    if (status == HONE_OK) status = hone_chart(out, "Learning rate by step", &lr, 1);
    hone_free(c.block);
    return status;
}

static hone_status put_answer(hone_buf *out, const char *label, const char *text) {
    if (!text) return HONE_OK;
    HONE_TRY(hone_buf_printf(out, "<p><b>%s</b> ", label));
    HONE_TRY(hone_html_text(out, text));
    return hone_buf_puts(out, "</p>\n");
}

static hone_status put_samples(hone_buf *out, const hone_report *report) {
    if (report->sample_count == 0) return HONE_OK;
    HONE_TRY(put_heading(out, "Answers before and after"));
    for (size_t i = 0; i < report->sample_count; i++) {
        const hone_report_sample *sample = &report->samples[i];
        HONE_TRY(hone_buf_printf(out, "<div class=\"sample\"><span class=\"tag\">%s</span>\n",
                                 sample->held_out ? "held out" : "trained on"));
        HONE_TRY(put_answer(out, "Asked:", sample->prompt));
        HONE_TRY(put_answer(out, "Before:", sample->before));
        HONE_TRY(put_answer(out, "After:", sample->after));
        HONE_TRY(put_answer(out, "In the data:", sample->reference));
        HONE_TRY(hone_buf_puts(out, "</div>\n"));
    }
    return HONE_OK;
}

hone_status hone_report_format(hone_buf *out, const hone_report *report) {
    HONE_TRY(hone_buf_puts(out, head));
    HONE_TRY(hone_html_text(out, report->title));
    HONE_TRY(hone_buf_puts(out, "</title></head><body>\n<h1>"));
    HONE_TRY(hone_html_text(out, report->title));
    HONE_TRY(hone_buf_puts(out, "</h1>\n"));
    HONE_TRY(put_table(out, NULL, &report->summary));
    HONE_TRY(put_curves(out, report->history));
    HONE_TRY(put_samples(out, report));
    HONE_TRY(put_table(out, "Data ledger", &report->ledger));
    HONE_TRY(put_table(out, "Time", &report->times));
    HONE_TRY(put_table(out, "Exported files against what was trained", &report->verified));
    HONE_TRY(put_table(out, "Files", &report->files));
    HONE_TRY(put_table(out, "Settings", &report->settings));
    HONE_TRY(hone_buf_puts(out, privacy));
    return hone_buf_puts(out, "</body></html>\n");
}

hone_status hone_report_write(const char *path, const hone_report *report) {
    hone_buf text = {0};
    hone_status status = hone_report_format(&text, report);
    if (status == HONE_OK) status = hone_file_put(path, text.data, text.length);
    hone_buf_free(&text);
    return status;
}
