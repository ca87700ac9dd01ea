#include "train/tfevents.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "train/appender.h"

/* Fields of the messages, as in the picture of the header. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP, EVENT_FILE_VERSION, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, SESSION_STATUS = 1, SESSION_START = 1 };
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct hone_tfevents {
    hone_appender file;
    bool started;
};

uint32_t hone_crc32c(const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* TFRecord stores checksums rotated and shifted, so that a checksum of data with checksums in it is a good one. */
static uint32_t masked(uint32_t crc) {
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static hone_status put_fixed(hone_buf *out, uint64_t value, int bytes) {
    unsigned char little[8];
    for (int i = 0; i < bytes; i++) little[i] = (unsigned char)(value >> (8 * i));
    return hone_buf_append(out, little, (size_t)bytes);
}

static hone_status put_varint(hone_buf *out, uint64_t value) {
    unsigned char groups[10];
    size_t count = 0;
    do {
        groups[count] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
        count++;
    } while (value > 0);
    return hone_buf_append(out, groups, count);
}

static hone_status put_tag(hone_buf *out, int field, int wire) {
    return put_varint(out, (uint64_t)(field << 3 | wire));
}

static hone_status put_bytes(hone_buf *out, int field, const void *bytes, size_t length) {
    HONE_TRY(put_tag(out, field, WIRE_BYTES));
    HONE_TRY(put_varint(out, length));
    return hone_buf_append(out, bytes, length);
}

/* The fields that every event begins with. */
static hone_status begin_event(hone_buf *out, int64_t step) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    HONE_TRY(put_tag(out, EVENT_WALL_TIME, WIRE_FIXED64));
    HONE_TRY(put_fixed(out, bits, 8));
    HONE_TRY(put_tag(out, EVENT_STEP, WIRE_VARINT));
    return put_varint(out, (uint64_t)step);
}

static hone_status frame(hone_buf *out, const hone_buf *event) {
    size_t start = out->length;
    HONE_TRY(put_fixed(out, event->length, 8));
    HONE_TRY(put_fixed(out, masked(hone_crc32c(out->data + start, 8)), 4));
    HONE_TRY(hone_buf_append(out, event->data, event->length));
    return put_fixed(out, masked(hone_crc32c(event->data, event->length)), 4);
}

static hone_status add_version(hone_buf *event) {
    static const char version[] = "brain.Event:2";
    HONE_TRY(begin_event(event, 0));
    return put_bytes(event, EVENT_FILE_VERSION, version, strlen(version));
}

static hone_status add_start(hone_buf *event, int64_t step) {
    const unsigned char session[] = {SESSION_STATUS << 3 | WIRE_VARINT, SESSION_START};
    HONE_TRY(begin_event(event, step));
    return put_bytes(event, EVENT_SESSION, session, sizeof session);
}

static hone_status add_value(hone_buf *value, const hone_tfscalar *scalar) {
    float number = (float)scalar->value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    HONE_TRY(put_bytes(value, VALUE_TAG, scalar->tag, strlen(scalar->tag)));
    HONE_TRY(put_tag(value, VALUE_SIMPLE, WIRE_FIXED32));
    return put_fixed(value, bits, 4);
}

static hone_status add_scalars(hone_buf *event, int64_t step, const hone_tfscalar *scalars,
                               size_t count) {
    hone_buf summary = {0};
    hone_buf value = {0};
    hone_status status = begin_event(event, step);
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        hone_buf_clear(&value);
        status = add_value(&value, &scalars[i]);
        if (status == HONE_OK)
            status = put_bytes(&summary, SUMMARY_VALUE, value.data, value.length);
    }
    if (status == HONE_OK) status = put_bytes(event, EVENT_SUMMARY, summary.data, summary.length);
    hone_buf_free(&summary);
    hone_buf_free(&value);
    return status;
}

/* Frames one event and writes it; `event` is emptied. `status` is what making it gave. */
static hone_status write_event(hone_tfevents *events, hone_buf *event, hone_status status) {
    hone_buf record = {0};
    if (status == HONE_OK) status = frame(&record, event);
    if (status == HONE_OK) status = hone_appender_write(&events->file, record.data, record.length);
    hone_buf_free(&record);
    hone_buf_clear(event);
    return status;
}

/* A name that no file has yet: two sessions may start within a second. */
static hone_status open_new(hone_appender *out, const char *folder) {
    struct utsname machine;
    const char *host = uname(&machine) == 0 && machine.nodename[0] ? machine.nodename : "host";
    hone_buf path = {0};
    hone_status status = HONE_OK;
    for (int n = 0; n < 1000; n++) {
        hone_buf_clear(&path);
        status = hone_buf_printf(&path, "%s/events.out.tfevents.%010lld.%s.%d.%d", folder,
                                 (long long)time(NULL), host, (int)getpid(), n);
        if (status == HONE_OK) status = hone_appender_open(out, path.data, true);
        if (status != HONE_ERR_IO || errno != EEXIST) break;
    }
    hone_buf_free(&path);
    return status;
}

hone_status hone_tfevents_create(hone_tfevents **out, const char *folder) {
    *out = NULL;
    hone_tfevents *events = hone_alloc(1, sizeof *events);
    if (!events) return HONE_ERR_MEMORY;
    hone_status status = open_new(&events->file, folder);
    if (status == HONE_OK) {
        hone_buf event = {0};
        status = write_event(events, &event, add_version(&event));
        hone_buf_free(&event);
    }
    if (status != HONE_OK) {
        hone_tfevents_free(events);
        return status;
    }
    *out = events;
    return HONE_OK;
}

hone_status hone_tfevents_scalars(hone_tfevents *events, int64_t step, const hone_tfscalar *scalars,
                                  size_t count) {
    hone_buf event = {0};
    hone_status status = HONE_OK;
    if (!events->started) status = write_event(events, &event, add_start(&event, step));
    events->started = true;
    if (status == HONE_OK)
        status = write_event(events, &event, add_scalars(&event, step, scalars, count));
    hone_buf_free(&event);
    return status;
}

hone_status hone_tfevents_sync(hone_tfevents *events) {
    return hone_appender_sync(&events->file);
}

void hone_tfevents_free(hone_tfevents *events) {
    if (!events) return;
    hone_appender_close(&events->file);
    hone_free(events);
}
