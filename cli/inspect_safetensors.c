#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "formats/json.h"
#include "formats/safetensors.h"

/* Files beside the tensors that say what they are. */
static const char *const companions[] = {"config.json", "adapter_config.json"};

static char *folder_of(const char *path) {
    if (hone_path_is_dir(path)) return hone_strdup(path);
    const char *slash = strrchr(path, '/');
    return slash ? hone_strndup(path, (size_t)(slash - path)) : hone_strdup(".");
}

static hone_status add_companions(json_t *metadata, const char *path) {
    char *folder = folder_of(path);
    hone_status status = folder ? HONE_OK : HONE_ERR_MEMORY;
    for (size_t i = 0; i < sizeof companions / sizeof *companions && status == HONE_OK; i++) {
        char *file = hone_path_join(folder, companions[i]);
        json_t *content = NULL;
        if (!file) status = HONE_ERR_MEMORY;
        if (file && hone_path_exists(file)) {
            status = hone_json_load(&content, file);
            if (status == HONE_OK) json_object_set_new(metadata, companions[i], content);
        }
        hone_free(file);
    }
    hone_free(folder);
    return status;
}

static hone_status add_content(json_t *object, const hone_safetensors *tensors) {
    json_t *metadata = json_object_get(object, "metadata");
    const char *key, *value;
    size_t cursor = 0;
    while (hone_safetensors_metadata_next(&key, &value, tensors, &cursor))
        json_object_set_new(metadata, key, hone_json_text(value, strlen(value)));
    for (size_t i = 0; i < hone_safetensors_count(tensors); i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(tensors, i);
        char dtype[32];
        snprintf(dtype, sizeof dtype, "%s", tensor->dtype);
        for (char *at = dtype; *at; at++) *at = (char)tolower((unsigned char)*at);
        HONE_TRY(
            hone_inspect_add_tensor(object, tensor->name, dtype, tensor->n_dims, tensor->shape));
    }
    return HONE_OK;
}

/* Shards have a hash each. */
static hone_status add_files(json_t *object, const hone_safetensors *tensors) {
    size_t count = hone_safetensors_file_count(tensors);
    if (count < 2) return HONE_OK;
    json_t *files = json_array();
    json_object_set_new(object, "files", files);
    for (size_t i = 0; i < count; i++) {
        const char *file = hone_safetensors_file_at(tensors, i);
        char hash[HONE_SHA256_TEXT];
        HONE_TRY(hone_sha256_file(hash, file));
        json_array_append_new(files, json_pack("{s:o, s:s}", "path",
                                               hone_json_text(file, strlen(file)), "sha256", hash));
    }
    return HONE_OK;
}

static hone_status open_tensors(hone_safetensors **out, const char *path) {
    char *adapter = hone_path_join(path, "adapter_model.safetensors");
    if (!adapter) return HONE_ERR_MEMORY;
    bool is_adapter = hone_path_is_dir(path) && hone_path_exists(adapter);
    hone_status status = hone_safetensors_open(out, is_adapter ? adapter : path);
    hone_free(adapter);
    return status;
}

hone_status hone_inspect_safetensors(json_t **out, const char *path) {
    hone_safetensors *tensors;
    HONE_TRY(open_tensors(&tensors, path));
    hone_status status =
        hone_inspect_begin(out, path, "safetensors", hone_safetensors_path(tensors));
    if (status == HONE_OK) status = add_companions(json_object_get(*out, "metadata"), path);
    if (status == HONE_OK) status = add_content(*out, tensors);
    if (status == HONE_OK) status = add_files(*out, tensors);
    hone_safetensors_close(tensors);
    return status;
}
