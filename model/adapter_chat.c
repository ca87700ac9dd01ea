#include "base/alloc.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/adapter_info.h"

static hone_status from_gguf(hone_buf *out, const char *path) {
    hone_gguf *gguf;
    hone_gguf_string text = {0};
    HONE_TRY(hone_gguf_open(&gguf, path));
    hone_status status = hone_gguf_opt_string(&text, gguf, HONE_GGUF_CHAT_VARIABLES);
    if (status == HONE_OK && text.length > 0) status = hone_buf_append(out, text.data, text.length);
    hone_gguf_close(gguf);
    return status;
}

static hone_status from_tensors(hone_buf *out, const char *path) {
    hone_safetensors *tensors;
    HONE_TRY(hone_safetensors_open(&tensors, path));
    const char *text = hone_safetensors_metadata(tensors, HONE_PEFT_CHAT_VARIABLES);
    hone_status status = text ? hone_buf_puts(out, text) : HONE_OK;
    hone_safetensors_close(tensors);
    return status;
}

hone_status hone_adapter_chat_variables(hone_buf *out, const char *path) {
    HONE_TRY(hone_buf_puts(out, ""));
    if (hone_path_ends(path, ".gguf")) return from_gguf(out, path);
    static const char *const places[] = {
        "adapter_model.safetensors", "adapter/adapter_model.safetensors", "adapters.safetensors"};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < sizeof places / sizeof *places && status == HONE_OK && out->length == 0;
         i++) {
        char *file = hone_path_join(path, places[i]);
        if (!file) return HONE_ERR_MEMORY;
        if (hone_path_exists(file)) status = from_tensors(out, file);
        hone_free(file);
    }
    return status;
}
