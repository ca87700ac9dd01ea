#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <string.h>

static const char *error_text(void) {
    const char *text = dlerror();
    return text ? text : "no reason given";
}

/* NULL with the message set. */
static void *open_library(const hone_library *library, const char *file) {
    const char *first = library->files[0];
    void *found = dlopen(file ? file : first, RTLD_NOW | RTLD_LOCAL);
    if (!found && !file) found = dlopen(library->files[1], RTLD_NOW | RTLD_LOCAL);
    if (!found)
        (void)hone_fail(HONE_ERR_UNSUPPORTED,
                        "cannot load %s, %s: %s; %s, or name the folder of %s in LD_LIBRARY_PATH",
                        library->name, library->purpose, error_text(), library->remedy, first);
    return found;
}

hone_status hone_library_load(void *table, const hone_library *library, const char *file) {
    void *from = open_library(library, file);
    if (!from) return HONE_ERR_UNSUPPORTED;
    for (size_t i = 0; i < library->count; i++) {
        const hone_library_function *function = &library->functions[i];
        void *found = dlsym(from, function->name);
        if (!found)
            return hone_fail(HONE_ERR_UNSUPPORTED, "the %s that was loaded lacks %s (%s); %s",
                             library->name, function->name, error_text(), library->remedy);
        /* C has no cast from data to functions; dlsym's contract is that their pointers look the same. */
        memcpy((char *)table + function->offset, &found, sizeof found);
    }
    return HONE_OK;
}
