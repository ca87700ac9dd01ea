/*
 * Writes the tokenizer of a GGUF file as tokenizer.json and tokenizer_config.json: the part of `hone export` that needs
 * no weights, for interop tests on files that hold a vocabulary only.
 *
 *     tokenizer_folder FILE.gguf FOLDER
 */
#include <stdio.h>

#include "text/tokenizer_export.h"

int main(int argc, char **argv) {
    hone_gguf *gguf = NULL;
    if (argc != 3) return 2;
    hone_status status = hone_gguf_open(&gguf, argv[1]);
    if (status == HONE_OK) status = hone_tokenizer_to_folder(gguf, argv[2]);
    hone_gguf_close(gguf);
    if (status == HONE_OK) return 0;
    fprintf(stderr, "%s\n", hone_fail_message());
    return 1;
}
