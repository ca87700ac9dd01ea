/*
 * Runs a fuzz target over files, and over the files of folders: replay FILE-OR-FOLDER...
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "tests/fuzz/fuzz.h"

static int replayed;

static void fail(void) {
    fprintf(stderr, "%s\n", hone_fail_message());
    exit(EXIT_FAILURE);
}

/* A copy of exactly the file's bytes, so that a sanitizer sees a read beyond them. */
static void replay_file(const char *path) {
    hone_map map;
    if (hone_map_open(&map, path) != HONE_OK) fail();
    uint8_t *copy = hone_alloc(map.length, 1);
    if (!copy) fail();
    if (map.length) memcpy(copy, map.data, map.length);
    LLVMFuzzerTestOneInput(copy, map.length);
    hone_free(copy);
    hone_map_close(&map);
    replayed++;
}

static void replay_folder(const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    for (int i = 0; i < count; i++) {
        char *file = hone_path_join(path, entries[i]->d_name);
        if (!file) fail();
        if (entries[i]->d_name[0] != '.') replay_file(file);
        hone_free(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (hone_path_is_dir(argv[i])) {
            replay_folder(argv[i]);
        } else {
            replay_file(argv[i]);
        }
    }
    printf("%d inputs replayed\n", replayed);
    return replayed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
