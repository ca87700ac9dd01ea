#include "text/tokenizer_gguf_scores.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

bool hone_merge_read(hone_merge_text *out, const json_t *merge) {
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
        *out = (hone_merge_text){json_string_value(left), json_string_value(right),
                                 json_string_length(left), json_string_length(right)};
        return out->left && out->right && out->left_length > 0 && out->right_length > 0;
    }
    const char *text = json_string_value(merge);
    size_t length = json_string_length(merge);
    const char *space = length > 1 ? memchr(text + 1, ' ', length - 1) : NULL;
    if (!space || space + 1 == text + length) return false;
    *out = (hone_merge_text){text, space + 1, (size_t)(space - text),
                             (size_t)(text + length - space - 1)};
    return true;
}

/* --- Splits of a token into two tokens --- */

typedef struct split {
    size_t at; /* bytes of the left one; 0 before the first */
} split;

/* Steps to the next split of token `id`; false when there is none left. */
static bool next_split(split *s, const hone_vocab *vocab, int32_t id) {
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    if (s->at == 0 && hone_utf8_valid(text, token->length) < token->length) return false;
    for (;;) {
        s->at += hone_utf8_length(text[s->at]);
        if (s->at >= token->length) return false;
        if (hone_vocab_find(vocab, text, s->at) >= 0 &&
            hone_vocab_find(vocab, text + s->at, token->length - s->at) >= 0) {
            return true;
        }
    }
}

static size_t count_splits(const hone_vocab *vocab, int32_t id) {
    split s = {0};
    size_t count = 0;
    const hone_token *token = hone_vocab_at(vocab, id);
    if (!token || token->length == 0) return 0;
    while (next_split(&s, vocab, id)) count++;
    return count;
}

/* --- Scores from merges --- */

typedef struct scoring {
    const hone_vocab *vocab;
    size_t count;
    const char *file;
    int32_t *order;  /* [count]: which token came when, from 1; 0: not made by merges */
    uint32_t *found; /* [count]: merges that make a token */
    int32_t made;    /* tokens so far */
    int32_t last;    /* the token of the last merge */
} scoring;

static hone_status refuse_merges(const scoring *s, size_t index, const char *why) {
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "%s: model.merges[%zu]: %s: GGUF's scores cannot express this order; export "
                     "to safetensors instead",
                     s->file, index, why);
}

static hone_status take_merge(scoring *s, const json_t *merge, size_t index) {
    hone_merge_text pair;
    if (!hone_merge_read(&pair, merge)) {
        return hone_fail(HONE_ERR_FORMAT, "%s: model.merges[%zu] is no pair of tokens", s->file,
                         index);
    }
    hone_buf joined = {0};
    hone_status status = hone_buf_append(&joined, pair.left, pair.left_length);
    if (status == HONE_OK) status = hone_buf_append(&joined, pair.right, pair.right_length);
    int32_t id = status == HONE_OK ? hone_vocab_find(s->vocab, joined.data, joined.length) : -1;
    hone_buf_free(&joined);
    HONE_TRY(status);
    if (id < 0 || (size_t)id >= s->count) return refuse_merges(s, index, "it makes no token");
    if (id != s->last && s->order[id] != 0) {
        return refuse_merges(s, index, "its token was made before, with others in between");
    }
    if (s->order[id] == 0) s->order[id] = ++s->made;
    s->found[id]++;
    s->last = id;
    return HONE_OK;
}

static hone_status check_complete(const scoring *s) {
    for (size_t id = 0; id < s->count; id++) {
        const hone_token *token = hone_vocab_at(s->vocab, (int32_t)id);
        if (!token || token->kind == HONE_TOKEN_CONTROL || token->kind == HONE_TOKEN_USER) continue;
        size_t splits = count_splits(s->vocab, (int32_t)id);
        if (splits == s->found[id]) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: model.merges: token %zu can be made of two tokens in %zu ways, the "
                         "merges have %u: GGUF's scores cannot express this; export to safetensors "
                         "instead",
                         s->file, id, splits, s->found[id]);
    }
    return HONE_OK;
}

static void set_scores(float *scores, const scoring *s) {
    int32_t next = s->made;
    for (size_t id = 0; id < s->count; id++) {
        const hone_token *token = hone_vocab_at(s->vocab, (int32_t)id);
        bool normal = token && token->kind == HONE_TOKEN_NORMAL &&
                      !hone_spells_byte(hone_vocab_text(s->vocab, token), token->length);
        scores[id] = 0;
        if (s->order[id] > 0) {
            scores[id] = (float)(1 - s->order[id]);
        } else if (normal) {
            scores[id] = (float)-next++;
        }
    }
}

hone_status hone_scores_of_merges(float *scores, const hone_vocab *vocab, size_t count,
                                  const json_t *merges, const char *file) {
    scoring s = {.vocab = vocab, .count = count, .file = file, .last = -1};
    s.order = hone_alloc(count, sizeof *s.order);
    s.found = hone_alloc(count, sizeof *s.found);
    hone_status status = s.order && s.found ? HONE_OK : HONE_ERR_MEMORY;
    for (size_t i = 0; status == HONE_OK && i < json_array_size(merges); i++) {
        status = take_merge(&s, json_array_get(merges, i), i);
    }
    if (status == HONE_OK) status = check_complete(&s);
    if (status == HONE_OK) set_scores(scores, &s);
    hone_free(s.order);
    hone_free(s.found);
    return status;
}

/* --- Merges from scores --- */

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *left, const void *right) {
    const scored *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static bool is_marker_run(const hone_vocab *vocab, int32_t id) {
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    for (size_t at = 0; at < token->length; at += 3) {
        if (token->length - at < 3 || memcmp(text + at, "\xe2\x96\x81", 3) != 0) return false;
    }
    return true;
}

static hone_status check_ties(const scored *tokens, size_t count, const hone_vocab *vocab,
                              const char *file) {
    for (size_t i = 1; i < count; i++) {
        if (tokens[i].score != tokens[i - 1].score) continue;
        if (is_marker_run(vocab, tokens[i].id) && is_marker_run(vocab, tokens[i - 1].id)) continue;
        return hone_fail(HONE_ERR_UNSUPPORTED,
                         "%s: tokenizer.ggml.scores: tokens %d and %d have the same score: a "
                         "tokenizer.json cannot leave their order open",
                         file, tokens[i - 1].id, tokens[i].id);
    }
    return HONE_OK;
}

static hone_status append_splits(json_t *merges, const hone_vocab *vocab, int32_t id) {
    const hone_token *token = hone_vocab_at(vocab, id);
    const char *text = hone_vocab_text(vocab, token);
    for (split s = {0}; next_split(&s, vocab, id);) {
        json_t *pair = json_pack("[s%, s%]", text, s.at, text + s.at, token->length - s.at);
        if (json_array_append_new(merges, pair) != 0) {
            return hone_fail(HONE_ERR_MEMORY, "out of memory: cannot list the merges");
        }
    }
    return HONE_OK;
}

hone_status hone_merges_of_scores(json_t **out, const hone_vocab *vocab, size_t count,
                                  const float *scores, const char *file) {
    scored *tokens = hone_alloc(count, sizeof *tokens);
    json_t *merges = json_array();
    hone_status status = tokens && merges ? HONE_OK : HONE_ERR_MEMORY;
    size_t made = 0;
    for (size_t id = 0; status == HONE_OK && id < count; id++) {
        if (count_splits(vocab, (int32_t)id) == 0) continue;
        tokens[made++] = (scored){scores[id], (int32_t)id};
    }
    if (status == HONE_OK) {
        qsort(tokens, made, sizeof *tokens, by_score);
        status = check_ties(tokens, made, vocab, file);
    }
    for (size_t i = 0; status == HONE_OK && i < made; i++) {
        status = append_splits(merges, vocab, tokens[i].id);
    }
    hone_free(tokens);
    if (status != HONE_OK) {
        json_decref(merges);
        return status;
    }
    *out = merges;
    return HONE_OK;
}
