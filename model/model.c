#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/philox.h"

/* A weight as found in a file. */
typedef struct found {
    hone_dtype dtype;
    int64_t rows, columns;
    const void *data;
} found;

static hone_form form_of(const hone_model *model) {
    return model->gguf ? HONE_FORM_GGUF : HONE_FORM_HF;
}

static hone_status is_missing(const char *file, const char *name) {
    return hone_fail(HONE_ERR_FORMAT, "%s: tensor %s is missing", file, name);
}

static hone_status find_gguf(found *out, const hone_model *model, const char *name) {
    const hone_gguf_tensor *tensor = hone_gguf_tensor_find(model->gguf, name);
    if (!tensor) return is_missing(model->path, name);
    HONE_TRY(hone_gguf_tensor_dtype(&out->dtype, model->gguf, tensor));
    out->rows = tensor->n_dims == 1 ? tensor->cols : tensor->rows;
    out->columns = tensor->n_dims == 1 ? 1 : tensor->cols;
    out->data = tensor->data;
    return HONE_OK;
}

static hone_status find_safetensors(found *out, const hone_model *model, const char *name) {
    const hone_safetensors_tensor *tensor = hone_safetensors_find(model->safetensors, name);
    char older[HONE_NAME];
    if (!tensor && hone_name_older(older, model->arch.family, name))
        tensor = hone_safetensors_find(model->safetensors, older);
    if (!tensor) return is_missing(hone_safetensors_path(model->safetensors), name);
    HONE_TRY(hone_safetensors_dtype(&out->dtype, tensor));
    out->rows = tensor->shape[0];
    out->columns = 1;
    for (int i = 1; i < tensor->n_dims; i++) out->columns *= tensor->shape[i];
    out->data = tensor->data;
    return HONE_OK;
}

/* Whether the file holds a weight as [in, out]. */
static bool is_transposed(const hone_model *model, const hone_weight *weight) {
    return model->arch.family->transposed && model->safetensors && weight->layer >= 0 &&
           !hone_weight_is_vector(weight);
}

static hone_status find(found *out, const hone_model *model, const hone_weight *weight) {
    char name[HONE_NAME];
    hone_weight_name(name, &model->arch, form_of(model), weight);
    HONE_TRY(model->gguf ? find_gguf(out, model, name) : find_safetensors(out, model, name));
    int64_t rows, columns;
    hone_weight_shape(&model->arch, weight, &rows, &columns);
    if (is_transposed(model, weight)) {
        int64_t swapped = rows;
        rows = columns;
        columns = swapped;
    }
    if (out->rows == rows && out->columns == columns) return HONE_OK;
    return hone_fail(
        HONE_ERR_FORMAT,
        "%s: tensor %s has shape [%lld, %lld], the model's settings ask for [%lld, %lld]",
        model->path, name, (long long)out->rows, (long long)out->columns, (long long)rows,
        (long long)columns);
}

/* What a file stores of a gain less than the gain itself. */
static double stored_offset(const hone_model *model, const hone_weight *weight) {
    bool gain = hone_weight_is_vector(weight) && !weight->bias;
    return gain && model->safetensors ? model->arch.family->norm_offset : 0;
}

/* A gain or a bias as HONE_REAL, at the next place of model->vectors. Few numbers, made on the host. */
static hone_status load_vector(hone_model *model, const hone_weight *weight, int64_t *place) {
    found from;
    HONE_TRY(find(&from, model, weight));
    hone_real *to = (hone_real *)model->vectors.base + *place;
    *place += from.rows;
    *weight->tensor =
        hone_tensor_over(weight->bias ? "bias" : "norm gain", HONE_REAL, from.rows, 0, to);
    double offset = stored_offset(model, weight);
    size_t bytes = (size_t)from.rows * sizeof(hone_real);
    hone_real *host = hone_alloc(1, bytes);
    if (!host) return HONE_ERR_MEMORY;
    hone_kernels_ref()->dequantize(host, from.data, from.dtype, from.rows);
    for (int64_t i = 0; offset != 0 && i < from.rows; i++) host[i] += (hone_real)offset;
    hone_status status = hone_device_copy_in(model->device, to, host, bytes);
    hone_free(host);
    return status;
}

static bool is_aligned(const found *weight) {
    int bytes = hone_dtype_describe((uint32_t)weight->dtype)->bytes;
    uintptr_t unit = bytes % 4 == 0 ? 4 : 2;
    return (uintptr_t)weight->data % unit == 0;
}

/* `to` [columns, rows] = `from` [rows, columns] transposed, elements of `size` bytes. */
static void transpose(char *to, const char *from, int64_t rows, int64_t columns, size_t size) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            memcpy(to + (size_t)(c * rows + r) * size, from + (size_t)(r * columns + c) * size,
                   size);
        }
    }
}

/* The matrix the other way round, in memory of its own. */
static hone_status turn(hone_model *model, found *weight, hone_buffer *memory) {
    const hone_dtype_info *type = hone_dtype_describe((uint32_t)weight->dtype);
    size_t bytes = (size_t)weight->rows * hone_dtype_row_bytes(weight->dtype, weight->columns);
    HONE_TRY(hone_buffer_new(memory, model->device, bytes));
    char *host = hone_alloc(1, bytes);
    if (!host) return HONE_ERR_MEMORY;
    transpose(host, weight->data, weight->rows, weight->columns, (size_t)type->bytes);
    hone_status status = hone_device_copy_in(model->device, memory->base, host, bytes);
    hone_free(host);
    *weight = (found){weight->dtype, weight->columns, weight->rows, memory->base};
    return status;
}

/* The matrix in the device's memory; that of the file need not stay. */
static hone_status upload(hone_model *model, found *weight, hone_buffer *memory) {
    size_t bytes = (size_t)weight->rows * hone_dtype_row_bytes(weight->dtype, weight->columns);
    HONE_TRY(hone_buffer_new(memory, model->device, bytes));
    HONE_TRY(hone_device_copy_in(model->device, memory->base, weight->data, bytes));
    hone_map_let_go(weight->data, bytes);
    weight->data = memory->base;
    return HONE_OK;
}

static hone_status load_matrix(hone_model *model, const hone_weight *weight, hone_buffer *memory) {
    found from;
    HONE_TRY(find(&from, model, weight));
    if (is_transposed(model, weight)) {
        HONE_TRY(turn(model, &from, memory));
    } else if (!hone_device_is_host(model->device)) {
        HONE_TRY(upload(model, &from, memory));
    } else if (!is_aligned(&from)) {
        return hone_fail(
            HONE_ERR_UNSUPPORTED,
            "%s: the tensors of this file do not lie at multiples of their element size; "
            "save it again with a current safetensors library",
            model->path);
    }
    *weight->tensor = hone_tensor_over("weight", from.dtype, from.rows, from.columns,
                                       (void *)(uintptr_t)from.data);
    return HONE_OK;
}

hone_status hone_model_reload(hone_model *model, size_t weight) {
    HONE_TRY(load_matrix(model, &model->weights[weight], &model->own[weight]));
    hone_model_divide(model);
    return HONE_OK;
}

static hone_status refuse_surplus(const hone_model *model, const char *name) {
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "%s: tensor %s has no place in a %s model as hone knows it; leaving it out would "
        "change what the model says",
        model->path, name, model->arch.family->model_type);
}

/* A bias, say, that the description does not speak of. */
static hone_status check_surplus(const hone_model *model) {
    for (size_t i = 0; model->gguf && i < hone_gguf_tensor_count(model->gguf); i++) {
        const char *name = hone_gguf_tensor_at(model->gguf, i)->name;
        if (!hone_weight_is_known(&model->arch, form_of(model), name))
            return refuse_surplus(model, name);
    }
    for (size_t i = 0; model->safetensors && i < hone_safetensors_count(model->safetensors); i++) {
        const char *name = hone_safetensors_at(model->safetensors, i)->name;
        if (!hone_weight_is_known(&model->arch, form_of(model), name))
            return refuse_surplus(model, name);
    }
    return HONE_OK;
}

static int64_t vector_elements(const hone_model *model) {
    int64_t sum = 0, rows, columns;
    for (size_t i = 0; i < model->weight_count; i++) {
        if (!hone_weight_is_vector(&model->weights[i])) continue;
        hone_weight_shape(&model->arch, &model->weights[i], &rows, &columns);
        sum += rows;
    }
    return sum;
}

static hone_status load_weights(hone_model *model) {
    HONE_TRY(check_surplus(model));
    HONE_TRY(hone_model_list_weights(model));
    HONE_TRY(hone_buffer_new(&model->vectors, model->device,
                             (size_t)vector_elements(model) * sizeof(hone_real)));
    int64_t place = 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        const hone_weight *weight = &model->weights[i];
        HONE_TRY(hone_weight_is_vector(weight) ? load_vector(model, weight, &place)
                                               : load_matrix(model, weight, &model->own[i]));
    }
    hone_model_divide(model);
    return HONE_OK;
}

char *hone_model_folder(const char *path) {
    if (hone_path_is_dir(path)) return hone_strdup(path);
    const char *slash = strrchr(path, '/');
    return slash ? hone_strndup(path, (size_t)(slash - path)) : hone_strdup(".");
}

static hone_status open_folder(hone_model *model, const char *path) {
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    char *config = hone_path_join(folder, "config.json");
    hone_free(folder);
    if (!config) return HONE_ERR_MEMORY;
    hone_status status = hone_json_load(&model->config, config);
    if (status == HONE_OK) status = hone_arch_from_config(&model->arch, model->config, config);
    hone_free(config);
    HONE_TRY(status);
    HONE_TRY(hone_safetensors_open(&model->safetensors, path));
    /* Where config.json does not say it, a file without a head has a tied one. */
    bool said = json_is_boolean(json_object_get(model->config, "tie_word_embeddings"));
    bool head = hone_safetensors_find(model->safetensors, "lm_head.weight") != NULL;
    if (!said && !head) model->arch.tied = true;
    return HONE_OK;
}

/* A run folder is no model, but it may hold one. */
static hone_status refuse_run_folder(const char *path) {
    char *run = hone_path_join(path, "run.yaml"), *model = hone_path_join(path, "model");
    hone_status status = run && model ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK && hone_path_exists(run)) {
        status = hone_path_exists(model)
                     ? hone_fail(HONE_ERR_USAGE, "%s: a run folder; its model is %s", path, model)
                     : hone_fail(HONE_ERR_USAGE,
                                 "%s: a run folder, which holds an adapter but no model; give the "
                                 "base as --model and this as --adapter",
                                 path);
    }
    hone_free(run);
    hone_free(model);
    return status;
}

static hone_status open_files(hone_model *model, const char *path) {
    if (!hone_path_exists(path)) {
        return hone_fail(HONE_ERR_IO,
                         "%s: no such model; give a Hugging Face folder, a .safetensors "
                         "in one, or a .gguf file",
                         path);
    }
    if (hone_path_ends(path, ".gguf")) {
        HONE_TRY(hone_gguf_open(&model->gguf, path));
        HONE_TRY(hone_arch_from_gguf(&model->arch, model->gguf));
        return hone_model_part_qkv(model);
    }
    if (hone_path_is_dir(path) || hone_path_ends(path, ".safetensors") ||
        hone_path_ends(path, ".json")) {
        HONE_TRY(refuse_run_folder(path));
        return open_folder(model, path);
    }
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: not a model hone can read; give a Hugging Face folder, a .safetensors in "
                     "one, or a .gguf file",
                     path);
}

static hone_status new_model(hone_model **out, const char *path, const hone_device *device) {
    hone_model *model = hone_alloc(1, sizeof *model);
    if (!model) return HONE_ERR_MEMORY;
    model->device = device;
    model->path = hone_strdup(path);
    *out = model;
    return model->path ? HONE_OK : HONE_ERR_MEMORY;
}

hone_status hone_model_open(hone_model **out, const char *path, const hone_device *device) {
    hone_model *model = NULL;
    hone_status status = new_model(&model, path, device);
    if (status == HONE_OK) status = open_files(model, path);
    if (status == HONE_OK) status = hone_model_check_heads(model);
    if (status == HONE_OK) status = load_weights(model);
    if (status != HONE_OK) {
        hone_model_close(model);
        return status;
    }
    *out = model;
    return HONE_OK;
}

void hone_model_close(hone_model *model) {
    if (!model) return;
    hone_gguf_close(model->gguf);
    hone_safetensors_close(model->safetensors);
    json_decref(model->config);
    for (size_t i = 0; i < model->weight_count; i++) hone_buffer_free(&model->own[i]);
    hone_buffer_free(&model->vectors);
    hone_buffer_free(&model->rope);
    hone_model_int8_free(model);
    hone_model_head_free(model);
    hone_params_free(&model->params);
    hone_free(model->layers);
    hone_free(model->weights);
    hone_free(model->own);
    hone_free(model->path);
    hone_free(model);
}

static hone_status check_precision(const hone_device *device, hone_precision precision) {
    if (hone_precisions_have(device->kernels->precisions, precision)) return HONE_OK;
    if (device->kind == HONE_DEVICE_CUDA)
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "this GPU takes no products in %s, as those of compute capability 8.9 and "
                         "later do (RTX 40, L4, H100): use --compute bf16 or int8",
                         hone_precision_name(precision));
    return hone_fail(
        HONE_ERR_UNSUPPORTED,
        "the processor takes no products in %s, which GPUs do: use --device cuda where "
        "there is one, or --compute bf16 or int8",
        hone_precision_name(precision));
}

hone_status hone_model_precision(hone_model *model, hone_precision precision) {
    HONE_TRY(check_precision(model->device, precision));
    for (int64_t l = 0; l < model->arch.layers; l++) {
        for (int role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++)
            model->layers[l].weight[role].precision = precision;
    }
    hone_model_head(model)->precision = precision;
    return hone_model_settle_head(model);
}

void hone_model_attention(hone_model *model, hone_attention_kind kind) {
    model->attention = kind;
}

hone_attention_shape hone_model_attention_shape(const hone_model *model, int64_t layer) {
    const hone_arch *arch = &model->arch;
    bool local = arch->layer[layer] & HONE_LAYER_LOCAL;
    return (hone_attention_shape){.heads = arch->heads,
                                  .kv_heads = arch->kv_heads,
                                  .head_size = arch->head_size,
                                  .scale = arch->attention_scale,
                                  .window = local ? arch->window : 0,
                                  .softcap = arch->attention_softcap};
}

const char *hone_model_lacks_attention(const hone_model *model, hone_attention_kind kind) {
    const hone_kernels *kernels = model->device->kernels;
    const char *why = NULL;
    for (int64_t l = 0; !why && l < model->arch.layers; l++)
        why = kernels->attention_lacks(kind, hone_model_attention_shape(model, l));
    return why;
}

hone_status hone_model_check_heads(const hone_model *model) {
    if (!hone_model_lacks_attention(model, HONE_ATTENTION_EXACT)) return HONE_OK;
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: its heads have %lld elements, of which attention on a GPU takes %d at "
                     "most; use --device cpu",
                     model->path, (long long)model->arch.head_size, HONE_ATTENTION_MOST_HEAD);
}

hone_status hone_model_tokenizer(hone_tokenizer **out, const char *path) {
    if (hone_path_ends(path, ".gguf")) {
        hone_gguf *gguf;
        HONE_TRY(hone_gguf_open(&gguf, path));
        hone_status status = hone_tokenizer_load_gguf(out, gguf);
        hone_gguf_close(gguf);
        return status;
    }
    char *folder = hone_model_folder(path);
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = hone_tokenizer_load_folder(out, folder);
    hone_free(folder);
    return status;
}

/* One table: cosine and sine, [positions, pairs] each, one after the other, for texts of `length` tokens. */
static void fill_rope(hone_real *table, const hone_arch *arch, const hone_rotary *rope,
                      int64_t positions, int64_t length) {
    float frequencies[HONE_MOST_ROTATED / 2];
    int64_t pairs = arch->rotated / 2;
    hone_rope_frequencies(frequencies, rope, arch->rotated, length);
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t i = 0; i < pairs; i++) {
            double angle = (double)((float)p * frequencies[i]);
            table[p * pairs + i] = (hone_real)(cos(angle) * rope->attention_factor);
            table[(positions + p) * pairs + i] = (hone_real)(sin(angle) * rope->attention_factor);
        }
    }
}

static hone_status check_positions(const hone_model *model, int64_t positions) {
    if (!model->arch.family->learned_positions || positions <= model->arch.context) return HONE_OK;
    return hone_fail(HONE_ERR_DATA,
                     "%s: a text of %lld tokens is longer than the %lld positions that the model "
                     "has learned",
                     model->path, (long long)positions, (long long)model->arch.context);
}

hone_status hone_model_rope(hone_model *model, int64_t positions) {
    const hone_arch *arch = &model->arch;
    HONE_TRY(check_positions(model, positions));
    if (positions <= model->rope_positions || arch->rotated == 0) return HONE_OK;
    const hone_rotary *global = &arch->rope[HONE_ROPE_GLOBAL];
    bool local = arch->family->local_rope, by_length = hone_arch_rope_by_length(arch);
    int64_t tables = local || by_length ? 2 : 1, each = positions * arch->rotated;
    hone_real *table = hone_alloc((size_t)(tables * each), sizeof *table);
    if (!table) return HONE_ERR_MEMORY;
    fill_rope(table, arch, global, positions, by_length ? 0 : positions);
    if (tables == 2) {
        const hone_rotary *second = local ? &arch->rope[HONE_ROPE_LOCAL] : global;
        fill_rope(table + each, arch, second, positions, positions);
    }
    hone_buffer_free(&model->rope);
    size_t bytes = (size_t)(tables * each) * sizeof *table;
    hone_status status = hone_buffer_new(&model->rope, model->device, bytes);
    if (status == HONE_OK) {
        status = hone_device_copy_in(model->device, model->rope.base, table, bytes);
    }
    model->rope_positions = status == HONE_OK ? positions : 0;
    hone_free(table);
    return status;
}

/* Of several files: the hash of their hashes, one after the other. */
static hone_status hash_files(char out[HONE_SHA256_TEXT], const hone_safetensors *files,
                              const atomic_bool *stop) {
    hone_buf all = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < hone_safetensors_file_count(files) && status == HONE_OK; i++) {
        status = hone_sha256_file_until(out, hone_safetensors_file_at(files, i), stop);
        if (status == HONE_OK) status = hone_buf_puts(&all, out);
    }
    if (status == HONE_OK) hone_sha256_bytes(out, all.data, all.length);
    hone_buf_free(&all);
    return status;
}

hone_status hone_model_hash(char out[HONE_SHA256_TEXT], const hone_model *model,
                            const atomic_bool *stop) {
    const hone_safetensors *files = model->safetensors;
    if (model->gguf || !files) { /* fresh weights: the config they follow from */
        return hone_sha256_file_until(out, model->path, stop);
    }
    if (hone_safetensors_file_count(files) > 1) return hash_files(out, files, stop);
    return hone_sha256_file_until(out, hone_safetensors_file_at(files, 0), stop);
}
