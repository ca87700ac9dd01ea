/*
 * Writes the tokenizer of a GGUF file as tokenizer.json and tokenizer_config.json, or that of a folder as a GGUF file
 * without tensors: the part of `hone export` that needs no weights, for interop tests on vocabularies alone.
 *
 *     tokenizer_folder FILE.gguf FOLDER
 *     tokenizer_folder FOLDER FILE.gguf
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer.h"
#include "text/tokenizer_export.h"

static hone_status to_folder(const char *file, const char *folder) {
    hone_gguf *gguf = NULL;
    HONE_TRY(hone_gguf_open(&gguf, file));
    hone_status status = hone_tokenizer_to_folder(gguf, folder);
    hone_gguf_close(gguf);
    return status;
}

static hone_status to_gguf(const char *folder, const char *file) {
    hone_tokenizer *tokenizer;
    hone_gguf_writer *writer;
    HONE_TRY(hone_tokenizer_load_folder(&tokenizer, folder));
    int32_t size = hone_tokenizer_size(tokenizer);
    hone_tokenizer_free(tokenizer);
    HONE_TRY(hone_gguf_writer_new(&writer));
    hone_status status = hone_gguf_set_string(writer, "general.architecture", "llama", 5);
    if (status == HONE_OK) status = hone_tokenizer_to_gguf(writer, folder, size);
    if (status == HONE_OK) status = hone_gguf_begin(writer, file);
    if (status == HONE_OK) status = hone_gguf_commit(writer);
    hone_gguf_writer_free(writer);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    hone_status status = hone_path_is_dir(argv[1]) && !hone_path_is_dir(argv[2])
                             ? to_gguf(argv[1], argv[2])
                             : to_folder(argv[1], argv[2]);
    if (status == HONE_OK) return 0;
    fprintf(stderr, "%s\n", hone_fail_message());
    return 1;
}
