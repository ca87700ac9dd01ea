#include "train/replay.h"

#include <string.h>

void hone_replay_start(hone_replay *replay, const hone_device *device) {
    replay->device = device;
    replay->on = hone_device_records(device);
}

void hone_replay_free(hone_replay *replay) {
    for (size_t i = 0; i < replay->count; i++)
        hone_recording_free(replay->shapes[i].recording, replay->device);
    *replay = (hone_replay){0};
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

static size_t find(const hone_replay *replay, const hone_pass_key *key) {
    size_t i = 0;
    while (i < replay->count && memcmp(&replay->shapes[i].key, key, sizeof *key) != 0) i++;
    return i;
}

hone_status hone_replay_pass(hone_replay *replay, hone_tape *tape, const hone_forward *forward,
                             const hone_loss_call *loss) {
    if (!replay->on) return run(tape, forward, loss);
    hone_pass_key key = key_of(forward, loss);
    size_t i = find(replay, &key);
    if (i == replay->count) {
        if (i < HONE_REPLAY_SHAPES) replay->shapes[replay->count++].key = key;
        return run(tape, forward, loss);
    }
    hone_recording **recording = &replay->shapes[i].recording;
    if (!*recording) HONE_TRY(record(recording, replay->device, tape, forward, loss));
    return hone_device_replay(replay->device, *recording);
}
