#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "cli/flags.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "formats/json.h"

hone_status hone_inspect_begin(json_t **out, const char *path, const char *kind, const char *file) {
    char hash[HONE_SHA256_TEXT];
    HONE_TRY(hone_sha256_file(hash, file));
    hone_map map;
    HONE_TRY(hone_map_open(&map, file));
    json_int_t bytes = (json_int_t)map.length;
    hone_map_close(&map);
    *out = json_pack("{s:o, s:s, s:I, s:s, s:{}, s:[]}", "path", hone_json_text(path, strlen(path)),
                     "kind", kind, "bytes", bytes, "sha256", hash, "metadata", "tensors");
    return *out ? HONE_OK : hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make JSON");
}

hone_status hone_inspect_add_tensor(json_t *object, const char *name, const char *dtype, int dims,
                                    const int64_t *shape) {
    json_t *sizes = json_array();
    for (int i = 0; i < dims; i++) json_array_append_new(sizes, json_integer(shape[i]));
    json_t *tensor = json_pack("{s:o, s:s, s:o}", "name", hone_json_text(name, strlen(name)),
                               "dtype", dtype, "shape", sizes);
    if (json_array_append_new(json_object_get(object, "tensors"), tensor) == 0) return HONE_OK;
    return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot make JSON");
}

static bool begins_with(const hone_map *map, const char *bytes, size_t length) {
    return map->length >= length && memcmp(map->data, bytes, length) == 0;
}

static hone_status inspect_file(json_t **out, const char *path) {
    hone_map map;
    HONE_TRY(hone_map_open(&map, path));
    bool gguf = begins_with(&map, "GGUF", 4);
    bool hdf5 = begins_with(&map, "\x89HDF\r\n\x1a\n", 8);
    hone_map_close(&map);
    if (gguf || hone_path_ends(path, ".gguf")) return hone_inspect_gguf(out, path);
    if (hdf5 || hone_path_ends(path, ".h5")) return hone_inspect_hdf5(out, path);
    if (hone_path_ends(path, ".safetensors") || hone_path_ends(path, ".index.json"))
        return hone_inspect_safetensors(out, path);
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: not a kind of file that inspect reads: GGUF, safetensors (a file, its .index.json or "
        "a folder with one), an HDF5 data file or checkpoint",
        path);
}

static bool holds(const char *folder, const char *name) {
    char *path = hone_path_join(folder, name);
    bool there = path && hone_path_exists(path);
    hone_free(path);
    return there;
}

/* A run folder stands for its adapter, or for the model it made. */
static hone_status inspect_folder(json_t **out, const char *path) {
    if (!holds(path, "run.yaml")) return hone_inspect_safetensors(out, path);
    char *folder = hone_path_join(path, holds(path, "adapter") ? "adapter" : "model");
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = hone_inspect_safetensors(out, folder);
    hone_free(folder);
    return status;
}

static void print_value(const json_t *value) {
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t length = json_string_length(value);
        for (const char *end; (end = memchr(text, '\n', length)) != NULL;) {
            hone_print_text(text, (size_t)(end - text));
            fputs("\n      ", stdout);
            length -= (size_t)(end - text) + 1;
            text = end + 1;
        }
        hone_print_text(text, length);
        return;
    }
    hone_buf text = {0};
    if (hone_json_append(&text, value, 0) == HONE_OK) fputs(text.data, stdout);
    hone_buf_free(&text);
}

static void print_tensor(const json_t *tensor) {
    char shape[256] = "";
    size_t at = 0;
    size_t i;
    const json_t *size;
    json_array_foreach(json_object_get(tensor, "shape"), i, size) {
        int wrote = snprintf(shape + at, sizeof shape - at, "%s%lld", i ? " x " : "",
                             (long long)json_integer_value(size));
        if (wrote > 0 && at + (size_t)wrote < sizeof shape) at += (size_t)wrote;
    }
    printf("  %-8s %-20s ", json_string_value(json_object_get(tensor, "dtype")), shape);
    const json_t *name = json_object_get(tensor, "name");
    hone_print_text(json_string_value(name), json_string_length(name));
    putchar('\n');
}

static void print_plain(const json_t *object) {
    printf("%s: %s, %s\nsha256 %s\n", json_string_value(json_object_get(object, "path")),
           json_string_value(json_object_get(object, "kind")),
           hone_size(json_integer_value(json_object_get(object, "bytes"))).text,
           json_string_value(json_object_get(object, "sha256")));
    const char *key;
    json_t *value;
    json_t *metadata = json_object_get(object, "metadata");
    if (json_object_size(metadata) > 0) puts("metadata:");
    json_object_foreach(metadata, key, value) {
        fputs("  ", stdout);
        hone_print_text(key, strlen(key));
        fputs(": ", stdout);
        print_value(value);
        putchar('\n');
    }
    const json_t *tensors = json_object_get(object, "tensors");
    if (json_array_size(tensors) > 0) printf("tensors: %zu\n", json_array_size(tensors));
    size_t i;
    json_array_foreach(tensors, i, value) print_tensor(value);
}

static hone_status run(int argc, char **argv) {
    bool json = false;
    const hone_flag flags[] = {
        {.name = "json",
         .type = HONE_FLAG_SWITCH,
         .target = &json,
         .text = "one JSON object on standard output"},
    };
    hone_arguments arguments = {.minimum = 1, .maximum = 1};
    HONE_TRY(
        hone_flags_parse(&arguments, &hone_command_inspect, flags, HONE_COUNT(flags), argc, argv));
    if (arguments.help) return HONE_OK;
    const char *path = arguments.operands[0];
    json_t *object = NULL;
    hone_status status =
        hone_path_is_dir(path) ? inspect_folder(&object, path) : inspect_file(&object, path);
    if (status == HONE_OK && json) return hone_print_json(object);
    if (status == HONE_OK) print_plain(object);
    json_decref(object);
    return status;
}

const hone_command hone_command_inspect = {
    .name = "inspect",
    .usage = "FILE [options]",
    .summary = "what a model, adapter, data file or checkpoint holds",
    .run = run,
};
