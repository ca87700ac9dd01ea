#include "model/chat_choice.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "model/model.h"

static hone_status from_gguf(hone_buf *out, const char *path) {
    hone_gguf *gguf;
    HONE_TRY(hone_gguf_open(&gguf, path));
    hone_gguf_string text = {0};
    hone_status status = hone_gguf_opt_string(&text, gguf, "tokenizer.chat_template");
    if (status == HONE_OK && text.data) status = hone_buf_append(out, text.data, text.length);
    hone_gguf_close(gguf);
    return status;
}

/* A string, or a list of {name, template} of which "default" is meant. */
static const char *template_text(const json_t *config) {
    const json_t *value = json_object_get(config, "chat_template");
    if (json_is_string(value)) return json_string_value(value);
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, "default") == 0) {
            return json_string_value(json_object_get(item, "template"));
        }
    }
    return NULL;
}

static hone_status from_folder(hone_buf *out, const char *folder) {
    char *jinja = hone_path_join(folder, "chat_template.jinja");
    char *config_path = hone_path_join(folder, "tokenizer_config.json");
    hone_status status = jinja && config_path ? HONE_OK : HONE_ERR_MEMORY;
    json_t *config = NULL;
    if (status == HONE_OK && hone_path_exists(jinja)) {
        status = hone_file_get(out, jinja);
    } else if (status == HONE_OK && hone_path_exists(config_path)) {
        status = hone_json_load(&config, config_path);
        const char *text = status == HONE_OK ? template_text(config) : NULL;
        if (text) status = hone_buf_puts(out, text);
    }
    json_decref(config);
    hone_free(jinja);
    hone_free(config_path);
    return status;
}

hone_status hone_chat_own_template(hone_buf *out, const char *model_path) {
    if (hone_path_is_dir(model_path)) return from_folder(out, model_path);
    if (hone_path_ends(model_path, ".gguf")) return from_gguf(out, model_path);
    char *folder = hone_model_folder(model_path);
    if (!folder) return HONE_ERR_MEMORY;
    hone_status status = from_folder(out, folder);
    hone_free(folder);
    return status;
}

/* For a model without a template of its own. */
static const char *fallback(const hone_tokenizer *tokenizer) {
    bool has_chatml = hone_tokenizer_find(tokenizer, "<|im_start|>") >= 0 &&
                      hone_tokenizer_find(tokenizer, "<|im_end|>") >= 0;
    return has_chatml ? "chatml" : "plain";
}

static hone_status compile(hone_chat_template **out, const hone_buf *text, const char *path) {
    hone_buf name = {0};
    hone_status status = hone_buf_printf(&name, "the chat template of %s", path);
    if (status == HONE_OK)
        status = hone_chat_template_new(out, text->data, text->length, name.data, NULL);
    hone_buf_free(&name);
    if (status == HONE_OK) return HONE_OK;
    char message[1024];
    snprintf(message, sizeof message, "%s", hone_fail_message());
    return hone_fail(status, "%s (another template can be named: template: chatml)", message);
}

static hone_status choose_own(hone_chat_template **out, const char *model_path,
                              const hone_tokenizer *tokenizer) {
    hone_buf text = {0};
    hone_status status = hone_chat_own_template(&text, model_path);
    if (status == HONE_OK)
        status = text.length > 0 ? compile(out, &text, model_path)
                                 : hone_chat_template_named(out, fallback(tokenizer));
    hone_buf_free(&text);
    return status;
}

static hone_status choose_file(hone_chat_template **out, const char *path) {
    hone_buf text = {0};
    hone_status status = hone_file_get(&text, path);
    if (status == HONE_OK)
        status = hone_chat_template_new(out, text.data ? text.data : "", text.length, path, NULL);
    hone_buf_free(&text);
    return status;
}

hone_status hone_chat_choose(hone_chat_template **out, const char *name, const char *model_path,
                             const hone_tokenizer *tokenizer) {
    if (!name || strcmp(name, "auto") == 0) return choose_own(out, model_path, tokenizer);
    if (strchr(name, '/') || hone_path_ends(name, ".jinja")) return choose_file(out, name);
    return hone_chat_template_named(out, name);
}
