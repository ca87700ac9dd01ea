#include "train/schedule.h"

#include <math.h>

int64_t hone_schedule_warmup(int64_t warmup, int64_t steps) {
    if (warmup >= 0) return warmup;
    int64_t part = steps / 20;
    return part < 50 ? part : 50;
}

double hone_schedule_lr(const hone_schedule *schedule, int64_t step) {
    if (step < schedule->warmup) return schedule->lr * ((double)step / (double)schedule->warmup);
    if (schedule->kind == HONE_SCHEDULE_CONSTANT) return schedule->lr;
    double left = 0; /* f of the header */
    if (step < schedule->steps) {
        double done =
            (double)(step - schedule->warmup) / (double)(schedule->steps - schedule->warmup);
        left = schedule->kind == HONE_SCHEDULE_LINEAR ? 1 - done : 0.5 * (1 + cos(M_PI * done));
    }
    return schedule->lr * (schedule->min_lr_ratio + (1 - schedule->min_lr_ratio) * left);
}
