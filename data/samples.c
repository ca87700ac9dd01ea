#include "data/samples.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "data/sample_build.h"
#include "data/token_cache.h"
#include "formats/json.h"

/* Goes up when the same records, tokenizer and options would give other tokens. */
enum { RENDERER_VERSION = 3, KEY_DIGITS = 16, SCAN = 1024 };

struct hone_samples {
    const hone_tokenizer *tokenizer;
    double eval_fraction;
    char key[HONE_SHA256_TEXT];
    hone_token_cache cache;
    hone_split_counts splits[2]; /* train, eval */
};

/* --- names of policies ------------------------------------------------------------------------------------------- */

static const char *const overlong_names[] = {"refuse", "truncate", "split", "drop"};
static const char *const train_on_names[] = {"assistant", "all"};

static int find_name(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    return -1;
}

const char *hone_overlong_name(hone_overlong policy) {
    return overlong_names[policy];
}

bool hone_overlong_parse(hone_overlong *out, const char *name) {
    int found = find_name(overlong_names, 4, name);
    if (found >= 0) *out = (hone_overlong)found;
    return found >= 0;
}

const char *hone_train_on_name(hone_train_on what) {
    return train_on_names[what];
}

bool hone_train_on_parse(hone_train_on *out, const char *name) {
    int found = find_name(train_on_names, 2, name);
    if (found >= 0) *out = (hone_train_on)found;
    return found >= 0;
}

/* --- the cache ----------------------------------------------------------------------------------------------------- */

static hone_status make_key(char out[HONE_SHA256_TEXT], const hone_sample_recipe *recipe) {
    const hone_samples_options *options = recipe->options;
    char chat[HONE_SHA256_TEXT] = "";
    if (recipe->chat) HONE_TRY(hone_chat_template_key(chat, recipe->chat));
    hone_buf text = {0};
    hone_status status = hone_buf_printf(
        &text, "hone tokens %d\n%s\n%s\n%s\n%s\n%lld\n%s\n", RENDERER_VERSION,
        hone_datafile_generation(recipe->data), hone_tokenizer_hash(recipe->tokenizer), chat,
        hone_train_on_name(options->train_on), (long long)options->seq_len,
        options->seq_len > 0 ? hone_overlong_name(options->overlong) : "");
    const json_t *named = hone_tokenizer_named(recipe->tokenizer); /* which templates may read */
    if (status == HONE_OK && named) status = hone_json_append(&text, named, 0);
    if (status == HONE_OK) hone_sha256_bytes(out, text.data, text.length);
    hone_buf_free(&text);
    return status;
}

static hone_status build(hone_samples *samples, const hone_sample_recipe *recipe, const char *path,
                         bool named) {
    hone_token_writer writer;
    hone_samples_ledger ledger;
    HONE_TRY(hone_token_writer_new(&writer, path, named));
    hone_status status = hone_samples_build(&writer, &ledger, recipe);
    if (status == HONE_OK)
        return hone_token_writer_commit(&samples->cache, &writer, samples->key, &ledger);
    hone_token_writer_abandon(&writer);
    return status;
}

/* Where the data's folder is not writable, the tokens go to a nameless file among the system's temporary ones. */
static hone_status build_elsewhere(hone_samples *samples, const hone_sample_recipe *recipe) {
    const char *folder = getenv("TMPDIR");
    hone_buf path = {0};
    hone_status status = hone_buf_printf(&path, "%s/hone-tokens", folder ? folder : "/tmp");
    if (status == HONE_OK) status = build(samples, recipe, path.data, false);
    hone_buf_free(&path);
    return status;
}

static bool can_write_beside(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? hone_strndup(path, (size_t)(slash - path) + 1) : hone_strdup(".");
    bool can = folder && access(folder, W_OK) == 0;
    hone_free(folder);
    return can;
}

static hone_status find_or_build(hone_samples *samples, const hone_sample_recipe *recipe) {
    const char *data_path = hone_datafile_path(recipe->data);
    bool named = !recipe->options->no_cache;
    hone_buf path = {0};
    bool found = false;
    hone_status status =
        hone_buf_printf(&path, "%s.tokens-%.*s", data_path, KEY_DIGITS, samples->key);
    if (status == HONE_OK && named)
        status = hone_token_cache_open(&samples->cache, &found, path.data, samples->key);
    if (status == HONE_OK && !found) {
        status = can_write_beside(data_path) ? build(samples, recipe, path.data, named)
                                             : build_elsewhere(samples, recipe);
    }
    hone_buf_free(&path);
    return status;
}

/* The name of a token cache of the data file `base`: base, ".tokens-", digits, perhaps what a crash left of it. */
static bool is_cache_name(const char *name, const char *base) {
    static const char middle[] = ".tokens-";
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0) return false;
    if (strncmp(name + length, middle, sizeof middle - 1) != 0) return false;
    const char *digits = name + length + sizeof middle - 1;
    if (strspn(digits, "0123456789abcdef") != KEY_DIGITS) return false;
    return digits[KEY_DIGITS] == '\0' || strcmp(digits + KEY_DIGITS, ".partial") == 0;
}

hone_status hone_samples_forget(const char *data_path) {
    const char *slash = strrchr(data_path, '/');
    const char *base = slash ? slash + 1 : data_path;
    char *folder =
        slash ? hone_strndup(data_path, (size_t)(slash - data_path) + 1) : hone_strdup(".");
    if (!folder) return HONE_ERR_MEMORY;
    DIR *dir = opendir(folder);
    hone_status status =
        dir ? HONE_OK : hone_fail_errno(HONE_ERR_IO, "%s: cannot list the folder", folder);
    for (struct dirent *entry; dir && status == HONE_OK && (entry = readdir(dir));) {
        if (!is_cache_name(entry->d_name, base)) continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT)
            status = hone_fail_errno(HONE_ERR_IO, "%s%s: cannot delete the token cache", folder,
                                     entry->d_name);
    }
    if (dir) closedir(dir);
    hone_free(folder);
    return status;
}

/* --- opening ------------------------------------------------------------------------------------------------------- */

static hone_status count_splits(hone_samples *samples) {
    hone_token_entry *entries = hone_alloc(SCAN, sizeof *entries);
    if (!entries) return HONE_ERR_MEMORY;
    int64_t total = samples->cache.header.samples;
    hone_status status = HONE_OK;
    for (int64_t first = 0; first < total && status == HONE_OK; first += SCAN) {
        int64_t count = total - first < SCAN ? total - first : SCAN;
        status = hone_token_cache_entries(entries, &samples->cache, first, count);
        for (int64_t i = 0; i < count && status == HONE_OK; i++) {
            bool eval = hone_data_is_eval(entries[i].hash, samples->eval_fraction);
            hone_split_counts *split = &samples->splits[eval];
            split->samples++;
            split->tokens += entries[i].length;
            split->supervised += entries[i].supervised;
            if (entries[i].length > split->longest) split->longest = entries[i].length;
        }
    }
    hone_free(entries);
    return status;
}

static hone_status check_options(const hone_samples_options *options) {
    if (options->seq_len < 0 || options->seq_len == 1 || options->seq_len > INT32_MAX)
        return hone_fail(HONE_ERR_USAGE, "a sequence length of %lld tokens is not possible",
                         (long long)options->seq_len);
    if (options->eval_fraction >= 0 && options->eval_fraction <= 1) return HONE_OK;
    return hone_fail(HONE_ERR_USAGE, "the part of the records for evaluation must be 0 to 1");
}

hone_status hone_samples_open(hone_samples **out, hone_datafile *data,
                              const hone_tokenizer *tokenizer, const hone_chat_template *chat,
                              const hone_samples_options *options) {
    *out = NULL;
    HONE_TRY(check_options(options));
    hone_samples *samples = hone_alloc(1, sizeof *samples);
    if (!samples) return HONE_ERR_MEMORY;
    samples->tokenizer = tokenizer;
    samples->eval_fraction = options->eval_fraction;
    hone_sample_recipe recipe = {data, tokenizer, chat, options};
    hone_status status = make_key(samples->key, &recipe);
    if (status == HONE_OK) status = find_or_build(samples, &recipe);
    if (status == HONE_OK) status = count_splits(samples);
    if (status != HONE_OK) {
        hone_samples_free(samples);
        return status;
    }
    *out = samples;
    return HONE_OK;
}

void hone_samples_free(hone_samples *samples) {
    if (!samples) return;
    hone_token_cache_close(&samples->cache);
    hone_free(samples);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

int64_t hone_samples_count(const hone_samples *samples) {
    return samples->cache.header.samples;
}

const hone_samples_ledger *hone_samples_ledger_of(const hone_samples *samples) {
    return &samples->cache.header.ledger;
}

const hone_split_counts *hone_samples_split(const hone_samples *samples, bool eval) {
    return &samples->splits[eval];
}

const char *hone_samples_key(const hone_samples *samples) {
    return samples->key;
}

const char *hone_samples_cache_path(const hone_samples *samples) {
    return samples->cache.path;
}

static hone_status read_entry(hone_token_entry *out, const hone_samples *samples, int64_t index) {
    if (index < 0 || index >= hone_samples_count(samples))
        return hone_fail(HONE_ERR_USAGE, "there is no sample %lld; the last one is %lld",
                         (long long)index, (long long)hone_samples_count(samples) - 1);
    return hone_token_cache_entries(out, &samples->cache, index, 1);
}

static hone_sample_info info_of(const hone_samples *samples, const hone_token_entry *entry) {
    return (hone_sample_info){.record = entry->record,
                              .part = entry->part,
                              .source = entry->source,
                              .hash = entry->hash,
                              .length = entry->length,
                              .supervised = entry->supervised,
                              .is_eval = hone_data_is_eval(entry->hash, samples->eval_fraction)};
}

hone_status hone_samples_info(hone_sample_info *out, const hone_samples *samples, int64_t index) {
    hone_token_entry entry;
    HONE_TRY(read_entry(&entry, samples, index));
    *out = info_of(samples, &entry);
    return HONE_OK;
}

static hone_status make_room(hone_sample *sample, size_t length) {
    if (length <= sample->capacity) return HONE_OK;
    int32_t *ids = hone_realloc(sample->ids, length, sizeof *ids);
    if (!ids) return HONE_ERR_MEMORY;
    sample->ids = ids;
    uint8_t *mask = hone_realloc(sample->mask, length, sizeof *mask);
    if (!mask) return HONE_ERR_MEMORY;
    sample->mask = mask;
    sample->capacity = length;
    return HONE_OK;
}

/* Words are read into `ids` and taken apart there. An id outside the vocabulary would reach the embedding: checked. */
static hone_status unpack(hone_sample *sample, const hone_samples *samples) {
    int32_t size = hone_tokenizer_size(samples->tokenizer);
    for (int32_t i = 0; i < sample->info.length; i++) {
        uint32_t word;
        memcpy(&word, &sample->ids[i], sizeof word);
        sample->mask[i] = (word & HONE_TOKEN_TARGET) != 0;
        sample->ids[i] = (int32_t)(word & ~HONE_TOKEN_TARGET);
        if (sample->ids[i] >= size)
            return hone_fail(HONE_ERR_FORMAT,
                             "%s: the token cache is damaged; delete it, it will be made again",
                             samples->cache.path);
    }
    return HONE_OK;
}

hone_status hone_samples_read(hone_sample *out, const hone_samples *samples, int64_t index) {
    hone_token_entry entry;
    HONE_TRY(read_entry(&entry, samples, index));
    if (entry.length < 1 || entry.begin > samples->cache.header.tokens - entry.length)
        return hone_fail(HONE_ERR_FORMAT,
                         "%s: the token cache is damaged; delete it, it will be made again",
                         samples->cache.path);
    HONE_TRY(make_room(out, (size_t)entry.length));
    out->info = info_of(samples, &entry);
    HONE_TRY(
        hone_token_cache_words((uint32_t *)out->ids, &samples->cache, entry.begin, entry.length));
    return unpack(out, samples);
}

void hone_sample_free(hone_sample *sample) {
    hone_free(sample->ids);
    hone_free(sample->mask);
    *sample = (hone_sample){0};
}

hone_status hone_samples_text(hone_buf *out, const hone_samples *samples,
                              const hone_sample *sample) {
    return hone_tokenizer_decode(samples->tokenizer, out, sample->ids, (size_t)sample->info.length,
                                 true);
}
