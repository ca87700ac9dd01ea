#include "model/adapter_factors.h"

#include <string.h>

#include "base/alloc.h"

_Static_assert(sizeof(hone_real) == sizeof(float), "factors are kept in f32");

hone_status hone_factors_new(hone_factors *out, const hone_model *model, const char *file,
                             bool interleaved) {
    size_t count = (size_t)model->arch.layers * HONE_LINEARS * HONE_HALVES;
    *out = (hone_factors){.model = model, .file = file, .interleaved = interleaved};
    out->items = hone_alloc(count, sizeof *out->items);
    return out->items ? HONE_OK : HONE_ERR_MEMORY;
}

void hone_factors_free(hone_factors *factors) {
    hone_free(factors->items);
    *factors = (hone_factors){0};
}

static hone_factor *item(const hone_factors *factors, int64_t layer, hone_role role,
                         hone_half half) {
    int64_t pair = layer * HONE_LINEARS + (int64_t)role - HONE_ROLE_LINEAR;
    return &factors->items[pair * HONE_HALVES + (int64_t)half];
}

hone_status hone_factors_put(hone_factors *factors, int64_t layer, hone_role role, hone_half half,
                             const hone_factor *factor) {
    if (layer >= factors->model->arch.layers) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: tensor %s is for layer %lld, but the model %s has %lld layers; the "
                         "adapter belongs to another base model",
                         factors->file, factor->key, (long long)layer, factors->model->path,
                         (long long)factors->model->arch.layers);
    }
    hone_factor *place = item(factors, layer, role, half);
    if (place->key) {
        return hone_fail(HONE_ERR_FORMAT, "%s: tensors %s and %s are the same factor",
                         factors->file, place->key, factor->key);
    }
    *place = *factor;
    return HONE_OK;
}

static hone_status wrong_shape(const hone_factors *factors, const hone_factor *found, int64_t rows,
                               int64_t columns, const char *why) {
    return hone_fail(HONE_ERR_FORMAT,
                     "%s: tensor %s has shape [%lld, %lld], expected [%lld, %lld]: %s",
                     factors->file, found->key, (long long)found->rows, (long long)found->columns,
                     (long long)rows, (long long)columns, why);
}

static hone_status check_pair(const hone_factors *factors, int64_t layer, hone_role role) {
    const hone_factor *a = item(factors, layer, role, HONE_HALF_A);
    const hone_factor *b = item(factors, layer, role, HONE_HALF_B);
    if (!a->key || !b->key) {
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: tensor %s has no other half (its lora_%c is missing)", factors->file,
                         a->key ? a->key : b->key, a->key ? 'B' : 'A');
    }
    int64_t out, in;
    hone_arch_linear(&factors->model->arch, role, &out, &in);
    if (a->rows < 1 || a->columns != in) {
        return wrong_shape(factors, a, a->rows < 1 ? 1 : a->rows, in,
                           "rank by the base weight's columns");
    }
    if (b->rows != out || b->columns != a->rows) {
        return wrong_shape(factors, b, out, a->rows, "the base weight's rows by the rank of A");
    }
    return HONE_OK;
}

hone_status hone_factors_check(const hone_factors *factors) {
    int64_t pairs = 0;
    for (int64_t l = 0; l < factors->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            bool any = item(factors, l, role, HONE_HALF_A)->key ||
                       item(factors, l, role, HONE_HALF_B)->key;
            if (!any) continue;
            HONE_TRY(check_pair(factors, l, role));
            pairs++;
        }
    }
    if (pairs > 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: holds no LoRA factors", factors->file);
}

int64_t hone_factors_rank(const hone_factors *factors, int64_t layer, hone_role role) {
    const hone_factor *a = item(factors, layer, role, HONE_HALF_A);
    return a->key ? a->rows : 0;
}

int64_t hone_rope_heads(const hone_arch *arch, hone_role role) {
    if (!arch->family->permuted) return 0;
    if (role == HONE_ROLE_Q) return arch->heads;
    return role == HONE_ROLE_K ? arch->kv_heads : 0;
}

/* Rows of a q or k weight from one order to another; of any other as they are. */
static void reorder(void *to, const void *from, int64_t rows, size_t row_bytes, int64_t heads,
                    const hone_arch *arch, bool from_interleaved, bool to_interleaved) {
    if (heads == 0 || from_interleaved == to_interleaved) {
        memcpy(to, from, (size_t)rows * row_bytes);
    } else if (to_interleaved) {
        hone_rows_to_gguf(to, from, heads, arch->head_size, row_bytes);
    } else {
        hone_rows_to_hf(to, from, heads, arch->head_size, row_bytes);
    }
}

/* The factor's bytes, aligned, with rows in the model's order. */
static void arrange(void *to, const hone_factors *factors, const hone_factor *from, hone_role role,
                    hone_half half) {
    const hone_arch *arch = &factors->model->arch;
    int64_t heads = half == HONE_HALF_B ? hone_rope_heads(arch, role) : 0;
    reorder(to, from->data, from->rows, hone_dtype_row_bytes(from->dtype, from->columns), heads,
            arch, factors->interleaved, arch->rope_interleaved);
}

hone_status hone_factor_fetch(float **out, const hone_adapter *adapter, int64_t layer,
                              hone_role role, hone_half half, bool interleaved) {
    const hone_arch *arch = &adapter->model->arch;
    const hone_lora_pair *pair = hone_adapter_pair(adapter, layer, role);
    const hone_tensor *factor = half == HONE_HALF_A ? &pair->a : &pair->b;
    size_t row_bytes = (size_t)factor->shape[1] * sizeof(float);
    size_t bytes = (size_t)factor->shape[0] * row_bytes;
    float *stored = hone_alloc(1, bytes), *arranged = hone_alloc(1, bytes);
    hone_status status = stored && arranged ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        status = hone_device_copy_out(adapter->model->device, stored, factor->data, bytes);
    }
    if (status == HONE_OK) {
        int64_t heads = half == HONE_HALF_B ? hone_rope_heads(arch, role) : 0;
        reorder(arranged, stored, factor->shape[0], row_bytes, heads, arch, arch->rope_interleaved,
                interleaved);
    }
    hone_free(stored);
    if (status != HONE_OK) {
        hone_free(arranged);
        return status;
    }
    *out = arranged;
    return HONE_OK;
}

static hone_status load_factor(const hone_factors *factors, hone_tensor *to, int64_t layer,
                               hone_role role, hone_half half) {
    const hone_factor *from = item(factors, layer, role, half);
    const hone_device *device = factors->model->device;
    size_t bytes = (size_t)from->rows * hone_dtype_row_bytes(from->dtype, from->columns);
    hone_buffer stored;
    HONE_TRY(hone_buffer_new(&stored, device, bytes));
    void *host = hone_alloc(1, bytes);
    hone_status status = host ? HONE_OK : HONE_ERR_MEMORY;
    if (status == HONE_OK) {
        arrange(host, factors, from, role, half);
        status = hone_device_copy_in(device, stored.base, host, bytes);
    }
    if (status == HONE_OK) {
        device->kernels->dequantize(to->data, stored.base, from->dtype, from->rows * from->columns);
    }
    hone_free(host);
    hone_buffer_free(&stored);
    return status;
}

hone_status hone_factors_load(const hone_factors *factors, hone_adapter *adapter) {
    HONE_TRY(hone_adapter_allocate(adapter));
    for (int64_t l = 0; l < factors->model->arch.layers; l++) {
        for (hone_role role = HONE_ROLE_LINEAR; role < HONE_ROLES; role++) {
            hone_lora_pair *pair = hone_adapter_pair(adapter, l, role);
            if (pair->rank == 0) continue;
            HONE_TRY(load_factor(factors, &pair->a, l, role, HONE_HALF_A));
            HONE_TRY(load_factor(factors, &pair->b, l, role, HONE_HALF_B));
        }
    }
    return HONE_OK;
}

bool hone_factors_layer(int64_t *layer, const char **text, const char *prefix) {
    size_t length = strlen(prefix);
    if (strncmp(*text, prefix, length) != 0) return false;
    const char *at = *text + length;
    int64_t number = 0;
    if (*at == '0' && at[1] != '.') return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (*at - '0');
        if (number > INT32_MAX) return false;
    }
    if (at == *text + length || *at != '.') return false;
    *layer = number;
    *text = at + 1;
    return true;
}
