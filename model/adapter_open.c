/*
 * An adapter by its path, whichever form it has.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/adapter_gguf.h"
#include "model/adapter_peft.h"

hone_status hone_adapter_check_base(const char *recorded, const char *base_hash, const char *file,
                                    const char *base_path) {
    if (!recorded || !base_hash || strcmp(recorded, base_hash) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_DATA,
                     "%s: the adapter was trained on a base model with SHA-256 %s, but %s has %s; "
                     "give the base it was trained on",
                     file, recorded, base_path, base_hash);
}

static bool holds(const char *folder, const char *name) {
    char *path = hone_path_join(folder, name);
    bool there = path && hone_path_exists(path);
    hone_free(path);
    return there;
}

static hone_status refuse_folder(const char *folder) {
    if (holds(folder, "adapters.safetensors")) {
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: holds an MLX adapter (adapters.safetensors), which is not supported; "
                         "convert it to PEFT's form",
                         folder);
    }
    if (holds(folder, "model")) {
        return hone_fail(HONE_ERR_USAGE,
                         "%s: holds a whole model, no adapter; give %s/model as the model itself",
                         folder, folder);
    }
    if (holds(folder, "run.yaml")) {
        return hone_fail(HONE_ERR_DATA,
                         "%s: the run has no adapter yet; finish it with train --resume, or give "
                         "another run",
                         folder);
    }
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: no adapter_config.json in it; give a run folder, a PEFT folder or an "
                     "adapter .gguf",
                     folder);
}

static hone_status open_folder(hone_adapter **out, const hone_model *model, const char *folder,
                               const char *base_hash) {
    if (holds(folder, "adapter_config.json")) {
        return hone_adapter_open_peft(out, model, folder, base_hash);
    }
    char *inner = hone_path_join(folder, "adapter");
    if (!inner) return HONE_ERR_MEMORY;
    hone_status status = holds(inner, "adapter_config.json")
                             ? hone_adapter_open_peft(out, model, inner, base_hash)
                             : refuse_folder(folder);
    hone_free(inner);
    return status;
}

hone_status hone_adapter_open(hone_adapter **out, const hone_model *model, const char *path,
                              const char *base_hash) {
    if (hone_path_is_dir(path)) return open_folder(out, model, path, base_hash);
    if (!hone_path_exists(path)) {
        return hone_fail(HONE_ERR_IO,
                         "%s: no such adapter; give a run folder, a PEFT folder or an adapter "
                         ".gguf",
                         path);
    }
    if (hone_path_ends(path, ".gguf")) {
        return hone_adapter_open_gguf(out, model, path, base_hash);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: not an adapter hone can read; give a run folder, a PEFT folder or an "
                     "adapter .gguf",
                     path);
}
