/*
 * Folders that hold a SentencePiece model instead of a tokenizer.json.
 *
 * Which class of transformers reads the folder (tokenizer_config.json) decides how text is prepared: the Llama and Gemma
 * classes replace the model's own normalisation, and so does hone. All others tokenise as sentencepiece does.
 */
#include "text/tokenizer_spm.h"

#include <float.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"
#include "formats/json.h"
#include "text/score_pairs.h"
#include "text/sentencepiece.h"

#define MARKER "\xe2\x96\x81"

typedef struct loader {
    hone_tokenizer *tokenizer;
    const hone_sentencepiece *model;
} loader;

static hone_status put_tokens(const loader *l) {
    for (size_t id = 0; id < l->model->count; id++) {
        const hone_sentencepiece_token *token = &l->model->tokens[id];
        HONE_TRY(
            hone_tokenizer_put(l->tokenizer, (int32_t)id, token->text, token->length, token->kind));
        if (token->kind == HONE_TOKEN_UNKNOWN) {
            l->tokenizer->bpe.unknown = l->tokenizer->unigram.unknown = (int32_t)id;
        }
    }
    if (l->tokenizer->bpe.unknown >= 0) return HONE_OK;
    return hone_fail(HONE_ERR_FORMAT, "%s: there is no piece for the unknown", l->tokenizer->path);
}

/* --- Models --- */

static hone_status set_scores(const loader *l) {
    float *scores = hone_alloc(l->model->count, sizeof *scores);
    if (!scores) return HONE_ERR_MEMORY;
    for (size_t id = 0; id < l->model->count; id++) scores[id] = l->model->tokens[id].score;
    hone_status status = hone_tokenizer_score_pairs(l->tokenizer, scores, "pieces");
    hone_free(scores);
    return status;
}

/* Scores as sentencepiece has them: sums are floats, user-defined pieces beat all others by their length. */
static hone_status set_unigram(const loader *l) {
    hone_unigram *unigram = &l->tokenizer->unigram;
    float least = FLT_MAX, most = -FLT_MAX;
    l->tokenizer->model = HONE_MODEL_UNIGRAM;
    unigram->single = true;
    unigram->byte_fallback = l->model->byte_fallback;
    unigram->count = l->model->count;
    unigram->scores = hone_alloc(unigram->count, sizeof *unigram->scores);
    if (!unigram->scores) return HONE_ERR_MEMORY;
    for (size_t id = 0; id < l->model->count; id++) {
        const hone_sentencepiece_token *token = &l->model->tokens[id];
        if (token->kind != HONE_TOKEN_NORMAL) continue;
        if (token->score < least) least = token->score;
        if (token->score > most) most = token->score;
    }
    for (size_t id = 0; id < l->model->count; id++) {
        const hone_sentencepiece_token *token = &l->model->tokens[id];
        bool user = token->kind == HONE_TOKEN_USER;
        if (!user && token->kind != HONE_TOKEN_NORMAL) continue;
        unigram->scores[id] =
            user ? (double)((float)token->length * most) - 0.1 : (double)token->score;
        HONE_TRY(hone_trie_put(&unigram->trie, token->text, token->length, (int32_t)id));
    }
    unigram->unknown_score = (double)(least - 10.0f);
    return HONE_OK;
}

/* User-defined pieces of BPE are never joined: they are cut out of the normalised text. */
static hone_status cut_user_tokens(const loader *l) {
    for (size_t id = 0; id < l->model->count; id++) {
        const hone_sentencepiece_token *token = &l->model->tokens[id];
        if (token->kind != HONE_TOKEN_USER) continue;
        hone_added_token added = {.id = (int32_t)id, .normalized = true};
        HONE_TRY(hone_added_put(&l->tokenizer->normalized, &added, token->text, token->length));
    }
    return HONE_OK;
}

/* --- As sentencepiece --- */

static hone_status add_normalizer(const loader *l) {
    const hone_sentencepiece *model = l->model;
    hone_step *step = hone_steps_add(&l->tokenizer->normalizers);
    if (!step) return HONE_ERR_MEMORY;
    step->run = hone_normalize_sentencepiece;
    step->left = model->remove_extra_spaces;
    step->prefix = model->dummy_prefix ? HONE_PREFIX_ALWAYS : HONE_PREFIX_NEVER;
    step->text = hone_strdup(model->escape_spaces ? MARKER : " ");
    if (!step->text) return HONE_ERR_MEMORY;
    step->text_length = strlen(step->text);
    for (size_t id = 0; id < model->count; id++) {
        const hone_sentencepiece_token *token = &model->tokens[id];
        if (token->kind != HONE_TOKEN_USER) continue;
        HONE_TRY(hone_trie_put(&step->protected, token->text, token->length, (int32_t)id));
    }
    if (!model->charsmap) return HONE_OK;
    return hone_charsmap_new(&step->charsmap, model->charsmap, model->charsmap_length,
                             l->tokenizer->path, "normalizer_spec.precompiled_charsmap");
}

static hone_status add_decoder(const loader *l) {
    hone_decoder *decoder = &l->tokenizer->decoder;
    hone_decode_step *spaces = hone_decoder_add(decoder, hone_decode_metaspace);
    if (!spaces) return HONE_ERR_MEMORY;
    spaces->text = hone_strdup(MARKER);
    spaces->text_length = strlen(MARKER);
    if (!spaces->text || !hone_decoder_add(decoder, hone_decode_byte_fallback)) {
        return HONE_ERR_MEMORY;
    }
    decoder->by_token = true;
    decoder->strip = l->model->dummy_prefix ? 1 : 0;
    return HONE_OK;
}

static hone_status load_as_sentencepiece(const loader *l) {
    HONE_TRY(add_normalizer(l));
    HONE_TRY(add_decoder(l));
    if (!l->model->bpe) return set_unigram(l);
    hone_bpe *bpe = &l->tokenizer->bpe;
    bpe->fallback_last = true;
    bpe->byte_fallback = l->model->byte_fallback;
    bpe->fuse_unknown = true;
    HONE_TRY(cut_user_tokens(l));
    return set_scores(l);
}

/* --- As a class of transformers --- */

static const char llama_parts[] =
    "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"" MARKER
    "\", \"prepend_scheme\": \"%s\", \"split\": false}, \"decoder\": {\"type\": \"Sequence\", "
    "\"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"" MARKER
    "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]}}";
static const char strip_part[] =
    ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}";
static const char gemma_parts[] =
    "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
    "\"" MARKER "\"}, \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
    "\"pattern\": {\"String\": \"" MARKER
    "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}]}}";

static hone_status load_parts(const loader *l, const char *text) {
    json_t *root = NULL;
    HONE_TRY(hone_json_parse(&root, text, strlen(text), l->tokenizer->path));
    hone_status status = hone_tokenizer_components(l->tokenizer, root);
    json_decref(root);
    return status;
}

static hone_status load_llama(const loader *l, const json_t *config, const char *file) {
    bool legacy = false, prefix = true;
    HONE_TRY(hone_json_opt_bool(&legacy, config, "legacy", file));
    HONE_TRY(hone_json_opt_bool(&prefix, config, "add_prefix_space", file));
    const char *scheme = !prefix ? "never" : legacy ? "always" : "first";
    hone_buf text = {0};
    hone_status status = hone_buf_printf(&text, llama_parts, scheme, prefix ? strip_part : "");
    if (status == HONE_OK) status = load_parts(l, text.data);
    hone_buf_free(&text);
    return status;
}

/* BPE with merges by id, as transformers makes them; what is no token becomes bytes before merging. */
static hone_status load_as_class(const loader *l, const char *name, const json_t *config,
                                 const char *file) {
    hone_bpe *bpe = &l->tokenizer->bpe;
    bpe->byte_fallback = true;
    bpe->fuse_unknown = true;
    bool gemma = strncmp(name, "Gemma", 5) == 0;
    if (!gemma) bpe->unknown = -1;
    HONE_TRY(gemma ? load_parts(l, gemma_parts) : load_llama(l, config, file));
    return hone_tokenizer_id_pairs(l->tokenizer);
}

static bool is_known_class(const char *name) {
    static const char *const names[] = {"LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer",
                                        "GemmaTokenizerFast"};
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

/* Control pieces are found in text; user-defined ones too, where the model does not do it. */
static hone_status add_special_tokens(const loader *l, bool by_class) {
    for (size_t id = 0; id < l->model->count; id++) {
        const hone_sentencepiece_token *token = &l->model->tokens[id];
        bool control = token->kind == HONE_TOKEN_CONTROL || token->kind == HONE_TOKEN_UNKNOWN;
        if (!control && !(by_class && token->kind == HONE_TOKEN_USER)) continue;
        hone_added_token added = {.id = (int32_t)id, .control = control};
        HONE_TRY(hone_tokenizer_add(l->tokenizer, &added, token->text, token->length));
    }
    return HONE_OK;
}

/* What add_special puts: bos unless the config says no, eos if it says so; T5 the other way round. */
static hone_status put_ends_around(const loader *l, const char *class_name, const json_t *config,
                                   const char *file) {
    hone_tokenizer *tokenizer = l->tokenizer;
    bool t5 = class_name && strncmp(class_name, "T5", 2) == 0;
    bool bos = class_name && !t5, eos = t5;
    HONE_TRY(hone_json_opt_bool(&bos, config, "add_bos_token", file));
    HONE_TRY(hone_json_opt_bool(&eos, config, "add_eos_token", file));
    tokenizer->bos = hone_tokenizer_find(tokenizer, "<s>");
    if (tokenizer->bos < 0) tokenizer->bos = hone_tokenizer_find(tokenizer, "<bos>");
    tokenizer->eos = hone_tokenizer_find(tokenizer, "</s>");
    if (tokenizer->eos < 0) tokenizer->eos = hone_tokenizer_find(tokenizer, "<eos>");
    if (bos && tokenizer->bos >= 0) HONE_TRY(hone_ids_add(&tokenizer->prefix, tokenizer->bos));
    if (eos && tokenizer->eos >= 0) HONE_TRY(hone_ids_add(&tokenizer->suffix, tokenizer->eos));
    return HONE_OK;
}

hone_status hone_tokenizer_fill_spm(hone_tokenizer *tokenizer, const void *bytes, size_t length,
                                    const json_t *config, const char *config_file) {
    hone_sentencepiece model;
    loader l = {tokenizer, &model};
    const char *name = NULL;
    HONE_TRY(hone_json_opt_string(&name, config, "tokenizer_class", config_file));
    HONE_TRY(hone_sentencepiece_read(&model, bytes, length, tokenizer->path));
    bool by_class = model.bpe && is_known_class(name);
    hone_status status = put_tokens(&l);
    if (status == HONE_OK) {
        status =
            by_class ? load_as_class(&l, name, config, config_file) : load_as_sentencepiece(&l);
    }
    if (status == HONE_OK) status = add_special_tokens(&l, by_class);
    if (status == HONE_OK) status = put_ends_around(&l, name, config, config_file);
    hone_sentencepiece_free(&model);
    return status;
}
