/*
 * An adapter by its path, whichever form it has.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "model/adapter_gguf.h"
#include "model/adapter_mlx.h"
#include "model/adapter_peft.h"

static bool differ(const char *a, const char *b) {
    return a && b && strcmp(a, b) != 0;
}

static hone_status refuse_hash(const char *what, const char *remedy, const char *recorded,
                               const char *used, const char *file, const char *base_path) {
    return hone_fail(HONE_ERR_DATA,
                     "%s: the adapter was trained with a %s of hash %s, but that of %s has %s: it "
                     "would give other token ids; %s",
                     file, what, recorded, base_path, used, remedy);
}

hone_status hone_adapter_check_use(hone_adapter_doubts *doubts, const hone_adapter_info *recorded,
                                   const hone_adapter_info *use, const char *file,
                                   const char *base_path) {
    *doubts = (hone_adapter_doubts){0};
    if (!use) return HONE_OK;
    bool other_base = differ(recorded->base_hash, use->base_hash);
    if (other_base && differ(recorded->vocabulary_hash, use->vocabulary_hash)) {
        return refuse_hash("vocabulary", "give a form of the model that it was trained on",
                           recorded->vocabulary_hash, use->vocabulary_hash, file, base_path);
    }
    if (!other_base && differ(recorded->tokenizer_hash, use->tokenizer_hash)) {
        return refuse_hash("tokenizer", "put back the tokenizer that the base had in training",
                           recorded->tokenizer_hash, use->tokenizer_hash, file, base_path);
    }
    if (other_base) {
        snprintf(doubts->other_base, sizeof doubts->other_base, "%s", recorded->base_hash);
    }
    doubts->other_template = differ(recorded->template_hash, use->template_hash);
    return HONE_OK;
}

hone_status hone_adapter_check_tensors_use(hone_adapter_doubts *doubts,
                                           const hone_safetensors *tensors,
                                           const hone_adapter_info *use, const char *base_path) {
    hone_adapter_info recorded = {
        .base_hash = hone_safetensors_metadata(tensors, HONE_PEFT_BASE_HASH),
        .tokenizer_hash = hone_safetensors_metadata(tensors, HONE_PEFT_TOKENIZER_HASH),
        .vocabulary_hash = hone_safetensors_metadata(tensors, HONE_PEFT_VOCABULARY_HASH),
        .template_hash = hone_safetensors_metadata(tensors, HONE_PEFT_TEMPLATE_HASH),
    };
    return hone_adapter_check_use(doubts, &recorded, use, hone_safetensors_path(tensors),
                                  base_path);
}

static hone_status put_text(hone_safetensors_writer *writer, const char *key, const char *text) {
    return text ? hone_safetensors_set_metadata(writer, key, text) : HONE_OK;
}

hone_status hone_adapter_put_info(hone_safetensors_writer *writer, const hone_adapter_info *info,
                                  const char *format) {
    HONE_TRY(put_text(writer, "format", format));
    HONE_TRY(put_text(writer, HONE_PEFT_BASE_HASH, info->base_hash));
    HONE_TRY(put_text(writer, HONE_PEFT_TOKENIZER_HASH, info->tokenizer_hash));
    HONE_TRY(put_text(writer, HONE_PEFT_VOCABULARY_HASH, info->vocabulary_hash));
    HONE_TRY(put_text(writer, HONE_PEFT_CHAT_TEMPLATE, info->chat_template));
    HONE_TRY(put_text(writer, HONE_PEFT_TEMPLATE_HASH, info->template_hash));
    if (info->chat_variables && *info->chat_variables)
        HONE_TRY(put_text(writer, HONE_PEFT_CHAT_VARIABLES, info->chat_variables));
    return put_text(writer, HONE_PEFT_VERSION, HONE_VERSION);
}

static bool holds(const char *folder, const char *name) {
    char *path = hone_path_join(folder, name);
    bool there = path && hone_path_exists(path);
    hone_free(path);
    return there;
}

static hone_status refuse_folder(const char *folder) {
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
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: no adapter_config.json in it; give a run folder, a folder of PEFT or MLX, or an "
        "adapter .gguf",
        folder);
}

static hone_status open_folder(hone_adapter **out, const hone_model *model, const char *folder,
                               const hone_adapter_info *use) {
    if (holds(folder, "adapters.safetensors")) {
        return hone_adapter_open_mlx(out, model, folder, use);
    }
    if (holds(folder, "adapter_config.json")) {
        return hone_adapter_open_peft(out, model, folder, use);
    }
    char *inner = hone_path_join(folder, "adapter");
    if (!inner) return HONE_ERR_MEMORY;
    hone_status status = holds(inner, "adapter_config.json")
                             ? hone_adapter_open_peft(out, model, inner, use)
                             : refuse_folder(folder);
    hone_free(inner);
    return status;
}

hone_status hone_adapter_open(hone_adapter **out, const hone_model *model, const char *path,
                              const hone_adapter_info *use) {
    if (hone_path_is_dir(path)) return open_folder(out, model, path, use);
    if (!hone_path_exists(path)) {
        return hone_fail(
            HONE_ERR_IO,
            "%s: no such adapter; give a run folder, a folder of PEFT or MLX, or an adapter "
            ".gguf",
            path);
    }
    if (hone_path_ends(path, ".gguf")) {
        return hone_adapter_open_gguf(out, model, path, use);
    }
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: not an adapter hone can read; give a run folder, a folder of PEFT or MLX, or an "
        "adapter .gguf",
        path);
}
