#include "cli/open_adapter.h"

#include "cli/output.h"

hone_status hone_open_adapter(hone_session *session, const char *path) {
    hone_buf warning = {0};
    hone_status status = hone_session_open_adapter(session, &warning, path);
    if (status == HONE_OK && warning.length > 0) hone_warn("%s", warning.data);
    hone_buf_free(&warning);
    return status;
}
