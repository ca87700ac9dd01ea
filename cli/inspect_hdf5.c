#include <string.h>

#include "cli/data_print.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "train/checkpoint.h"

static hone_status add_tensor(void *context, const char *name, int dims, const int64_t *shape) {
    return hone_inspect_add_tensor(context, name, "f32", dims, shape);
}

static json_t *state_json(const hone_checkpoint_state *state) {
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:s, s:o, s:o}", "step",
        (json_int_t)state->step, "epoch", (json_int_t)state->epoch, "bin", (json_int_t)state->bin,
        "seed", (json_int_t)state->seed, "tokens", (json_int_t)state->tokens, "supervised_tokens",
        (json_int_t)state->supervised_tokens, "finished", (int)state->finished, "model_sha256",
        state->model_hash, "data_sha256", state->data_hash, "tokenizer_sha256",
        state->tokenizer_hash, "plan", hone_json_text(state->plan, strlen(state->plan)), "config",
        hone_json_text(state->config, strlen(state->config)));
    if (object && state->has_best) {
        json_object_set_new(object, "best_eval_loss", json_real(state->best_eval_loss));
        json_object_set_new(object, "best_step", json_integer(state->best_step));
    }
    return object;
}

static hone_status inspect_checkpoint(json_t **out, const char *path) {
    hone_checkpoint_state state;
    HONE_TRY(hone_checkpoint_read_state(&state, path));
    hone_status status = hone_checkpoint_verify(path);
    if (status == HONE_OK) status = hone_inspect_begin(out, path, "checkpoint", path);
    if (status == HONE_OK) {
        json_object_set_new(*out, "metadata", state_json(&state));
        status = hone_checkpoint_list(path, add_tensor, *out);
    }
    hone_checkpoint_state_free(&state);
    return status;
}

static hone_status inspect_data(json_t **out, const char *path) {
    hone_datafile *file;
    HONE_TRY(hone_datafile_open(&file, path));
    hone_status status = hone_inspect_begin(out, path, "data", path);
    if (status == HONE_OK) json_object_set_new(*out, "metadata", hone_datafile_json(file));
    if (status == HONE_OK) json_object_del(*out, "tensors");
    hone_datafile_free(file);
    return status;
}

hone_status hone_inspect_hdf5(json_t **out, const char *path) {
    if (hone_checkpoint_is(path)) return inspect_checkpoint(out, path);
    return inspect_data(out, path);
}
