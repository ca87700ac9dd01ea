#include "text/vocab.h"

#include <string.h>

#include "base/alloc.h"

uint64_t hone_text_hash(const char *text, size_t length) {
    uint64_t hash = 0x9E3779B97F4A7C15u ^ length;
    while (length > 0) {
        uint64_t word = 0;
        size_t take = length < sizeof word ? length : sizeof word;
        memcpy(&word, text, take);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
        text += take;
        length -= take;
    }
    return hash * 0xD6E8FEB86659FD93u;
}

void hone_vocab_free(hone_vocab *vocab) {
    hone_buf_free(&vocab->pool);
    hone_free(vocab->tokens);
    hone_free(vocab->slots);
    *vocab = (hone_vocab){0};
}

const hone_token *hone_vocab_at(const hone_vocab *vocab, int32_t id) {
    if (id < 0 || (size_t)id >= vocab->count) return NULL;
    const hone_token *token = &vocab->tokens[id];
    return token->kind == HONE_TOKEN_ABSENT ? NULL : token;
}

const char *hone_vocab_text(const hone_vocab *vocab, const hone_token *token) {
    return vocab->pool.data + token->offset;
}

/* The slot that holds the text, or the free one where it belongs. */
static hone_vocab_slot *slot_of(const hone_vocab *vocab, const char *text, size_t length,
                                uint32_t hash) {
    size_t mask = vocab->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        hone_vocab_slot *slot = &vocab->slots[i];
        if (slot->id < 0) return slot;
        if (slot->hash != hash) continue;
        const hone_token *token = &vocab->tokens[slot->id];
        if (token->length == length && memcmp(hone_vocab_text(vocab, token), text, length) == 0) {
            return slot;
        }
    }
}

static hone_status grow_slots(hone_vocab *vocab) {
    if (2 * (vocab->used + 1) <= vocab->slot_count) return HONE_OK;
    size_t count = vocab->slot_count ? 2 * vocab->slot_count : 1024;
    hone_vocab_slot *slots = hone_alloc(count, sizeof *slots);
    if (!slots) return HONE_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) slots[i].id = -1;
    for (size_t i = 0; i < vocab->slot_count; i++) {
        hone_vocab_slot slot = vocab->slots[i];
        if (slot.id < 0) continue;
        size_t at = slot.hash & (count - 1);
        while (slots[at].id >= 0) at = (at + 1) & (count - 1);
        slots[at] = slot;
    }
    hone_free(vocab->slots);
    vocab->slots = slots;
    vocab->slot_count = count;
    return HONE_OK;
}

hone_status hone_vocab_put(hone_vocab *vocab, int32_t id, const char *text, size_t length,
                           hone_token_kind kind) {
    HONE_TRY(grow_slots(vocab));
    size_t need = (size_t)id + 1;
    HONE_TRY(hone_grow(&vocab->tokens, &vocab->capacity, need, sizeof *vocab->tokens));
    if (need > vocab->count) {
        memset(vocab->tokens + vocab->count, 0, (need - vocab->count) * sizeof *vocab->tokens);
        vocab->count = need;
    }
    size_t offset = vocab->pool.length;
    HONE_TRY(hone_buf_append(&vocab->pool, text, length));
    HONE_TRY(hone_buf_append(&vocab->pool, "", 1));
    uint32_t hash = (uint32_t)(hone_text_hash(text, length) >> 32);
    hone_vocab_slot *slot = slot_of(vocab, text, length, hash);
    if (slot->id < 0) vocab->used++;
    *slot = (hone_vocab_slot){hash, id};
    vocab->tokens[id] = (hone_token){offset, (uint32_t)length, (uint8_t)kind, false};
    return HONE_OK;
}

int32_t hone_vocab_find(const hone_vocab *vocab, const char *text, size_t length) {
    if (vocab->slot_count == 0) return -1;
    uint32_t hash = (uint32_t)(hone_text_hash(text, length) >> 32);
    return slot_of(vocab, text, length, hash)->id;
}

int32_t hone_vocab_find_own(const hone_vocab *vocab, const char *text, size_t length) {
    int32_t id = hone_vocab_find(vocab, text, length);
    return id >= 0 && vocab->tokens[id].outside ? -1 : id;
}
