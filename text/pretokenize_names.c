#include "text/pretokenize_names.h"

#include <string.h>

#include "base/alloc.h"

/* The expressions are data of the models; llama.cpp (src/llama-vocab.cpp) says which name stands for which. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                             \
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"      \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const char hone_gpt2_regex[] = GPT2;

static const char *const gpt2_names[] = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", NULL};
static const char *const llama3_names[] = {"llama-bpe", "llama3", "llama-v3",
                                           "falcon3",   "lfm2",   NULL};
static const char *const llama3_like_names[] = {"dbrx", "smaug-bpe", NULL};
static const char *const qwen2_names[] = {"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan",
                                          NULL};
static const char *const smollm_names[] = {"smollm",    "starcoder", "refact",
                                           "command-r", "codeshell", NULL};
static const char *const falcon_names[] = {"falcon", NULL};

static const hone_pretokenizer pretokenizers[] = {
    {gpt2_names, {GPT2}, false, false},
    {llama3_names, {LLAMA3("\\p{N}{1,3}")}, true, true},
    {llama3_like_names, {LLAMA3("\\p{N}{1,3}")}, false, false},
    {qwen2_names, {LLAMA3("\\p{N}")}, false, false},
    {smollm_names, {"\\p{N}", GPT2}, false, false},
    {falcon_names, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, false, false},
};
enum { PRETOKENIZERS = sizeof pretokenizers / sizeof *pretokenizers };

static hone_status unknown_name(const char *name, size_t length, const char *file) {
    hone_buf list = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < PRETOKENIZERS; i++) {
        for (const char *const *known = pretokenizers[i].names; *known && !status; known++) {
            status = hone_buf_printf(&list, "%s%s", list.length ? ", " : "", *known);
        }
    }
    if (status == HONE_OK) {
        status = hone_fail(HONE_ERR_UNSUPPORTED,
                           "%s: tokenizer.ggml.pre: the pre-tokenizer '%.*s' is not known; known "
                           "are %s",
                           file, (int)(length > 100 ? 100 : length), name, list.data);
    }
    hone_buf_free(&list);
    return status;
}

hone_status hone_pretokenizer_find(const hone_pretokenizer **out, const char *name, size_t length,
                                   const char *file) {
    for (size_t i = 0; i < PRETOKENIZERS; i++) {
        for (const char *const *known = pretokenizers[i].names; *known; known++) {
            if (strlen(*known) == length && memcmp(*known, name, length) == 0) {
                *out = &pretokenizers[i];
                return HONE_OK;
            }
        }
    }
    return unknown_name(name, length, file);
}

hone_status hone_pretokenizer_steps(hone_steps *steps, const hone_pretokenizer *pretokenizer) {
    for (size_t i = 0; i < 4 && pretokenizer->regexes[i]; i++) {
        hone_step *step = hone_steps_add(steps);
        if (!step) return HONE_ERR_MEMORY;
        step->run = hone_pretokenize_split;
        step->split = HONE_SPLIT_ISOLATED;
        const char *regex = pretokenizer->regexes[i];
        HONE_TRY(hone_regex_new(&step->regex, regex, strlen(regex)));
    }
    return HONE_OK;
}
