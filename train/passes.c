#include "train/passes.h"

#include <string.h>

void hone_passes_record(hone_passes *passes, const hone_device *device) {
    passes->device = device;
    passes->on = hone_device_records(device);
}

void hone_passes_free(hone_passes *passes) {
    for (size_t i = 0; i < passes->count; i++)
        hone_recording_free(passes->shapes[i].recording, passes->device);
    *passes = (hone_passes){0};
}

static hone_status run(hone_tape *tape, const hone_forward *forward, const hone_loss_call *loss) {
    hone_tape_begin(tape);
    HONE_TRY(hone_transformer_loss(tape, forward, loss));
    return hone_tape_backward(tape);
}

static hone_status record(hone_recording **out, const hone_device *device, hone_tape *tape,
                          const hone_forward *forward, const hone_loss_call *loss) {
    HONE_TRY(hone_device_record(device));
    hone_status status = run(tape, forward, loss);
    hone_status ended = hone_device_record_end(out, device);
    return status == HONE_OK ? ended : status;
}

/* All that decides on what is queued. The longest text counts where its angles depend on it. */
static hone_pass_key key_of(const hone_forward *f, const hone_loss_call *loss) {
    const hone_tokens *tokens = f->tokens;
    return (hone_pass_key){tokens->count, tokens->segment_count, loss->count,
                           hone_arch_rope_table(&f->model->arch, 0, tokens->longest_k)};
}

static size_t find(const hone_passes *passes, const hone_pass_key *key) {
    size_t i = 0;
    while (i < passes->count && memcmp(&passes->shapes[i].key, key, sizeof *key) != 0) i++;
    return i;
}

hone_status hone_passes_run(hone_passes *passes, hone_tape *tape, const hone_forward *forward,
                            const hone_loss_call *loss) {
    if (!passes || !passes->on) return run(tape, forward, loss);
    hone_pass_key key = key_of(forward, loss);
    size_t i = find(passes, &key);
    if (i == passes->count) {
        if (i < HONE_PASSES_SHAPES) passes->shapes[passes->count++].key = key;
        return run(tape, forward, loss);
    }
    hone_recording **recording = &passes->shapes[i].recording;
    if (!*recording) HONE_TRY(record(recording, passes->device, tape, forward, loss));
    return hone_device_replay(passes->device, *recording);
}
