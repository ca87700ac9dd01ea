/*
 * What tests/interop/test_formats.py runs, to set files written here beside those of the gguf and safetensors packages.
 *
 *     formats_tool copy-gguf IN OUT            reads a file and writes all of it anew
 *     formats_tool copy-safetensors IN OUT     IN is a file, an index or a folder
 *     formats_tool quantize TYPE COLS IN OUT   floats of IN to the bytes of TYPE
 *     formats_tool dequantise IN OUT           the tensors of a GGUF file as floats, one after the other
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "formats/gguf_writer.h"
#include "formats/quantize.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "kernels/device.h"

static void must(hone_status status) {
    if (status == HONE_OK) return;
    fprintf(stderr, "%s\n", hone_fail_message());
    exit(EXIT_FAILURE);
}

static void copy_gguf(const char *in, const char *out) {
    hone_gguf *from;
    hone_gguf_writer *to;
    must(hone_gguf_open(&from, in));
    must(hone_gguf_writer_new(&to));
    must(hone_gguf_set_all(to, from));
    size_t count = hone_gguf_tensor_count(from);
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(from, i);
        must(hone_gguf_add_tensor(to, tensor->name, tensor->type, tensor->n_dims, tensor->sizes));
    }
    must(hone_gguf_begin(to, out));
    for (size_t i = 0; i < count; i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(from, i);
        must(hone_gguf_data(to, tensor->data, tensor->bytes));
    }
    must(hone_gguf_commit(to));
    hone_gguf_writer_free(to);
    hone_gguf_close(from);
}

static void copy_safetensors(const char *in, const char *out) {
    hone_safetensors *from;
    hone_safetensors_writer *to;
    const char *key;
    const char *value;
    size_t cursor = 0;
    must(hone_safetensors_open(&from, in));
    must(hone_safetensors_writer_new(&to));
    while (hone_safetensors_metadata_next(&key, &value, from, &cursor)) {
        must(hone_safetensors_set_metadata(to, key, value));
    }
    size_t count = hone_safetensors_count(from);
    for (size_t i = 0; i < count; i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(from, i);
        hone_dtype dtype;
        must(hone_safetensors_dtype(&dtype, tensor));
        must(hone_safetensors_add_tensor(to, tensor->name, dtype, tensor->n_dims, tensor->shape));
    }
    must(hone_safetensors_begin(to, out));
    for (size_t i = 0; i < count; i++) {
        const hone_safetensors_tensor *tensor = hone_safetensors_at(from, i);
        must(hone_safetensors_data(to, tensor->data, tensor->bytes));
    }
    must(hone_safetensors_commit(to));
    hone_safetensors_writer_free(to);
    hone_safetensors_close(from);
}

static void quantize(const char *type_name, int64_t cols, const char *in, const char *out) {
    hone_dtype type;
    hone_map map;
    if (!hone_dtype_parse(&type, type_name) || cols < 1) exit(EXIT_FAILURE);
    must(hone_map_open(&map, in));
    int64_t rows = (int64_t)(map.length / sizeof(float)) / cols;
    size_t bytes = (size_t)rows * hone_dtype_row_bytes(type, cols);
    void *encoded = hone_alloc(bytes, 1);
    must(encoded ? HONE_OK : HONE_ERR_MEMORY);
    must(hone_quantize(encoded, type, (const float *)(const void *)map.data, rows, cols));
    must(hone_file_put(out, encoded, bytes));
    hone_free(encoded);
    hone_map_close(&map);
}

static void dequantise(const char *in, const char *out) {
    hone_gguf *gguf;
    hone_device device;
    hone_buf values = {0};
    must(hone_device_open_cpu(&device));
    must(hone_gguf_open(&gguf, in));
    for (size_t i = 0; i < hone_gguf_tensor_count(gguf); i++) {
        const hone_gguf_tensor *tensor = hone_gguf_tensor_at(gguf, i);
        hone_dtype type;
        must(hone_gguf_tensor_dtype(&type, gguf, tensor));
        int64_t count = tensor->rows * tensor->cols;
        float *plain = hone_alloc((size_t)count, sizeof *plain);
        must(plain ? HONE_OK : HONE_ERR_MEMORY);
        device.kernels->dequantize(plain, tensor->data, type, count);
        must(hone_buf_append(&values, plain, (size_t)count * sizeof *plain));
        hone_free(plain);
    }
    must(hone_file_put(out, values.data, values.length));
    hone_buf_free(&values);
    hone_gguf_close(gguf);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "copy-gguf") == 0) {
        copy_gguf(argv[2], argv[3]);
    } else if (argc == 4 && strcmp(argv[1], "copy-safetensors") == 0) {
        copy_safetensors(argv[2], argv[3]);
    } else if (argc == 4 && strcmp(argv[1], "dequantise") == 0) {
        dequantise(argv[2], argv[3]);
    } else if (argc == 6 && strcmp(argv[1], "quantize") == 0) {
        quantize(argv[2], strtol(argv[3], NULL, 10), argv[4], argv[5]);
    } else {
        fprintf(stderr, "usage: formats_tool copy-gguf|copy-safetensors|quantize|dequantise ...\n");
        return 2;
    }
    return EXIT_SUCCESS;
}
