#include "base/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/parallel.h"

/* As /proc/cpuinfo spells them: x86-64, then 64-bit ARM. */
static const char *const known[] = {
    "avx",      "f16c",        "fma",         "avx2",        "avx_vnni", "avx512f",  "avx512bw",
    "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd",    "asimddp",     "i8mm",        "bf16",        "sve",      "sve2",     NULL,
};

/* The text after "name<spaces>:" on its line; NULL when there is none. */
static const char *value_of(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) != 0) continue;
        const char *colon = line + length + strspn(line + length, " \t");
        if (*colon == ':') return colon + 1 + strspn(colon + 1, " \t");
    }
    return NULL;
}

/* Whether a line of words has this one. */
static bool has_word(const char *line, const char *word) {
    size_t length = strlen(word);
    const char *end = line + strcspn(line, "\n");
    for (const char *at = line; at < end;) {
        size_t n = strcspn(at, " \n");
        if (n == length && memcmp(at, word, n) == 0) return true;
        at += n;
        at += strspn(at, " ");
    }
    return false;
}

static void read_processor(hone_machine *out, const char *cpuinfo) {
    const char *name = value_of(cpuinfo, "model name");
    if (name)
        snprintf(out->processor, sizeof out->processor, "%.*s", (int)strcspn(name, "\n"), name);
    const char *flags = value_of(cpuinfo, "flags");
    if (!flags) flags = value_of(cpuinfo, "Features");
    int count = 0;
    for (int i = 0; flags && known[i] && count + 1 < HONE_MACHINE_FEATURES; i++) {
        if (has_word(flags, known[i])) out->features[count++] = known[i];
    }
}

static int64_t kilobytes(const char *meminfo, const char *name) {
    const char *value = value_of(meminfo, name);
    return value ? strtoll(value, NULL, 10) * 1024 : 0;
}

/* The number in a file of a control group; 0 when there is none, or no limit ("max"). */
static int64_t read_number(const char *path) {
    if (!hone_path_exists(path)) return 0;
    hone_buf text = {0};
    int64_t number = hone_file_get(&text, path) == HONE_OK ? strtoll(text.data, NULL, 10) : 0;
    hone_buf_free(&text);
    return number;
}

static void read_memory(hone_machine *out, const char *meminfo) {
    out->memory = kilobytes(meminfo, "MemTotal");
    out->available = kilobytes(meminfo, "MemAvailable");
    int64_t limit = read_number("/sys/fs/cgroup/memory.max");
    if (limit > 0 && limit < out->memory) {
        int64_t left = limit - read_number("/sys/fs/cgroup/memory.current");
        out->memory = limit;
        if (left < out->available) out->available = left > 0 ? left : 0;
    }
}

static hone_status read_proc(hone_buf *out, const char *path) {
    hone_buf_clear(out);
    if (!hone_path_exists(path)) return hone_buf_puts(out, "");
    return hone_file_get(out, path);
}

hone_status hone_machine_look(hone_machine *out) {
    *out = (hone_machine){0};
    out->cores = hone_cores();
    hone_buf text = {0};
    hone_status status = read_proc(&text, "/proc/cpuinfo");
    if (status == HONE_OK) read_processor(out, text.data);
    if (status == HONE_OK) status = read_proc(&text, "/proc/meminfo");
    if (status == HONE_OK) read_memory(out, text.data);
    hone_buf_free(&text);
    return status;
}

hone_resident hone_resident_now(void) {
    long long pages = 0, mapped = 0, page = sysconf(_SC_PAGESIZE);
    FILE *stream = fopen("/proc/self/statm", "re");
    if (!stream) return (hone_resident){0};
    if (fscanf(stream, "%*d %lld %lld", &pages, &mapped) != 2) pages = mapped = 0;
    fclose(stream);
    return (hone_resident){pages * page, mapped * page};
}

/* Of [begin, end), the part that lies in page `index`. */
static int64_t bytes_in_page(int64_t begin, int64_t end, int64_t index, int64_t page) {
    int64_t from = index * page > begin ? index * page : begin;
    int64_t to = (index + 1) * page < end ? (index + 1) * page : end;
    return to - from;
}

/* /proc/self/pagemap holds a word for each page of addresses; its highest bit says that the page is there. */
int64_t hone_resident_within(const void *base, int64_t bytes) {
    enum { WORDS = 1024 };
    uint64_t words[WORDS];
    int64_t page = sysconf(_SC_PAGESIZE), begin = (int64_t)(uintptr_t)base, end = begin + bytes;
    int64_t index = begin / page, sum = 0, last = (end + page - 1) / page;
    int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    while (file >= 0 && index < last) {
        size_t wanted = last - index < WORDS ? (size_t)(last - index) : WORDS;
        ssize_t got = pread(file, words, wanted * sizeof *words, index * (int64_t)sizeof *words);
        if (got < (ssize_t)sizeof *words) break;
        for (ssize_t i = 0; i < got / (ssize_t)sizeof *words; i++, index++) {
            if (words[i] >> 63) sum += bytes_in_page(begin, end, index, page);
        }
    }
    if (file >= 0) close(file);
    return sum;
}

/* getrusage would count what the process had in memory before it became this program, too. */
int64_t hone_resident_peak(void) {
    struct rusage usage;
    char text[4096];
    FILE *stream = fopen("/proc/self/status", "re");
    size_t length = stream ? fread(text, 1, sizeof text - 1, stream) : 0;
    text[length] = 0;
    if (stream) fclose(stream);
    int64_t peak = kilobytes(text, "VmHWM");
    if (peak > 0) return peak;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}
