#include "train/measured.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/sha256.h"

/* The file of a key, owned by the caller; NULL where there is no folder for it. */
static char *cache_path(const char *key) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given = cache && *cache;
    if (!given && !(home && *home)) return NULL;
    char name[HONE_SHA256_TEXT];
    hone_sha256_bytes(name, key, strlen(key));
    hone_buf path = {0};
    if (hone_buf_printf(&path, "%s%s/hone/measured-%.16s", given ? cache : home,
                        given ? "" : "/.cache", name) != HONE_OK)
        return NULL;
    return path.data;
}

/* "int8 1.25e-03\n" */
static bool parse(hone_measured *out, const char *text, const char *const *words) {
    for (int word = 1; words[word]; word++) {
        size_t length = strlen(words[word]);
        if (strncmp(text, words[word], length) != 0 || text[length] != ' ') continue;
        char *end;
        *out = (hone_measured){word, strtod(text + length + 1, &end)};
        return strcmp(end, "\n") == 0 && isfinite(out->token_seconds) && out->token_seconds > 0;
    }
    return false;
}

hone_measured hone_measured_recall(const char *key, const char *const *words) {
    char *path = cache_path(key);
    hone_buf text = {0};
    hone_measured found = {0};
    bool good = path && hone_path_exists(path) && hone_file_get(&text, path) == HONE_OK &&
                text.length > 0 && parse(&found, text.data, words);
    hone_buf_free(&text);
    hone_free(path);
    return good ? found : (hone_measured){0};
}

void hone_measured_remember(const char *key, const char *const *words, hone_measured found) {
    char *path = cache_path(key), line[40];
    snprintf(line, sizeof line, "%s %.2e\n", words[found.word], found.token_seconds);
    if (path && hone_dir_make_parent(path) == HONE_OK)
        (void)!hone_file_put(path, line, strlen(line)); /* it is measured again next time */
    hone_free(path);
}
