/*
 * How fast texts become ids: time_tokenizer TOKENIZER FILE [threads]
 *
 * TOKENIZER is a tokenizer.json or a folder with one. The file is encoded whole, and then by paragraph, over and over for
 * about a second each, on every thread at once. Prints megabytes of text a second for both, and the number of ids.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "text/tokenizer.h"

typedef struct job {
    const hone_tokenizer *tokenizer;
    const hone_map *text;
    bool by_paragraph;
    size_t ids; /* of one pass, by thread 0 */
} job;

static void must(hone_status status) {
    if (status == HONE_OK) return;
    fprintf(stderr, "%s\n", hone_fail_message());
    exit(EXIT_FAILURE);
}

static size_t paragraph(const hone_map *text, size_t at) {
    const char *from = (const char *)text->data + at;
    const char *end = memmem(from, text->length - at, "\n\n", 2);
    return end ? (size_t)(end - from) + 2 : text->length - at;
}

static void encode_all(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    job *j = context;
    hone_encode_options options = {0};
    for (int64_t pass = begin; pass < end; pass++) {
        hone_encoding encoding = {0};
        size_t ids = 0;
        for (size_t at = 0, length; at < j->text->length; at += length) {
            length = j->by_paragraph ? paragraph(j->text, at) : j->text->length;
            hone_encoding_clear(&encoding);
            must(hone_tokenizer_encode(j->tokenizer, &encoding, (const char *)j->text->data + at,
                                       length, &options));
            ids += encoding.count;
        }
        if (pass == 0) j->ids = ids;
        hone_encoding_free(&encoding);
    }
}

/* Megabytes a second over all threads. */
static double measure(job *j, int threads) {
    double start = hone_seconds(), seconds;
    int64_t passes = 0;
    do {
        hone_parallel_for(threads, 1, encode_all, j);
        passes += threads;
        seconds = hone_seconds() - start;
    } while (seconds < 1);
    return (double)passes * (double)j->text->length / 1e6 / seconds;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: time_tokenizer TOKENIZER FILE [threads]\n");
        return 2;
    }
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    hone_threads_set(threads);
    hone_tokenizer *tokenizer;
    hone_map text;
    must(hone_path_is_dir(argv[1]) ? hone_tokenizer_load_folder(&tokenizer, argv[1])
                                   : hone_tokenizer_load_json(&tokenizer, argv[1]));
    must(hone_map_open(&text, argv[2]));
    job whole = {.tokenizer = tokenizer, .text = &text};
    job parts = {.tokenizer = tokenizer, .text = &text, .by_paragraph = true};
    double whole_speed = measure(&whole, threads), parts_speed = measure(&parts, threads);
    printf("{\"whole\": %.3f, \"by_paragraph\": %.3f, \"ids\": %zu, \"threads\": %d}\n",
           whole_speed, parts_speed, whole.ids, threads);
    hone_map_close(&text);
    hone_tokenizer_free(tokenizer);
    return EXIT_SUCCESS;
}
