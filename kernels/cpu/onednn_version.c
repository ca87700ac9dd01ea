#include "kernels/libraries.h"

#ifdef HONE_ONEDNN

#include <dnnl.h>
#include <stdio.h>

const char *hone_onednn_version(void) {
    static char text[32];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

#else

const char *hone_onednn_version(void) {
    return "none";
}

#endif
