/*
 * Jinja, as chat templates use it: jinja2 3.1 with trim_blocks and lstrip_blocks set, loop controls, the generation
 * tag, and the functions that transformers adds (raise_exception, strftime_now, its own tojson). Lists and objects
 * cannot be changed by a template (transformers renders in a sandbox that forbids it); namespaces can.
 *
 * Rendering keeps track of which message every run of the output came from, through operators, filters and methods.
 * Nothing that a template does can run for ever or fill the memory: see hone_jinja_limits.
 */
#ifndef HONE_TEXT_JINJA_H
#define HONE_TEXT_JINJA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/status.h"

typedef struct hone_jinja hone_jinja;

/* Compiles `length` bytes of UTF-8; `name` stands for the template in messages, which give line and column.
 * HONE_ERR_FORMAT for what jinja2 cannot parse; HONE_ERR_UNSUPPORTED names a tag, filter or test that hone lacks. */
HONE_MUST_USE hone_status hone_jinja_new(hone_jinja **out, const char *text, size_t length,
                                         const char *name);
void hone_jinja_free(hone_jinja *jinja); /* takes NULL */

/* Whether the name of a variable stands in the template. */
bool hone_jinja_mentions(const hone_jinja *jinja, const char *variable);

/* Whether the template has {% generation %} blocks. */
bool hone_jinja_has_generation(const hone_jinja *jinja);

/* What of a message a run of text came from. */
typedef enum hone_jinja_field {
    HONE_JINJA_ROLE,
    HONE_JINJA_CONTENT,
    HONE_JINJA_REASONING, /* reasoning_content, thinking, reasoning */
    HONE_JINJA_TOOL_CALLS,
    HONE_JINJA_OTHER,
} hone_jinja_field;

enum { HONE_JINJA_NO_MESSAGE = -1, HONE_JINJA_GIVEN = -2 };

/* Bytes begin <= i < end of the output. Runs are sorted and apart; text of the template's own has none, unless it
 * stands in a generation block. */
typedef struct hone_jinja_run {
    size_t begin, end;
    int32_t
        message; /* index; HONE_JINJA_GIVEN: from another variable (tools, documents); HONE_JINJA_NO_MESSAGE */
    uint8_t field;   /* hone_jinja_field */
    bool generation; /* within a generation block */
} hone_jinja_run;

typedef struct hone_jinja_output {
    hone_buf text;
    hone_jinja_run *runs; /* [count], owned */
    size_t count, capacity;
    /* 1 + the first message with a part of its content that was made a text as Python spells it ("{'type': 'text', ..."):
     * the template takes parts for what they are not; 0: none. */
    size_t spelled_part_of;
} hone_jinja_output;

void hone_jinja_output_free(hone_jinja_output *output); /* takes a zeroed one */

/* Beyond any of these, rendering is stopped with an error that says which. */
typedef struct hone_jinja_limits {
    int64_t
        steps; /* evaluated parts of the template, and every 64 bytes that are built or searched */
    int64_t memory; /* bytes of all values */
    int64_t output; /* bytes of the output */
} hone_jinja_limits;

extern const hone_jinja_limits hone_jinja_default_limits;

/* What a template is given. All is borrowed. */
typedef struct hone_jinja_input {
    const json_t *messages;          /* an array of objects; NULL: no such variable */
    size_t count;                    /* of them, the first so many */
    const json_t *variables;         /* an object: name to value; may be NULL */
    bool generation_prompt;          /* the variable add_generation_prompt */
    const struct tm *now;            /* for strftime_now; NULL: it is refused */
    const hone_jinja_limits *limits; /* NULL: hone_jinja_default_limits */
} hone_jinja_input;

/* Renders into *out, whose old content is forgotten. HONE_ERR_DATA with line and column for what the template refuses
 * or cannot do with this input. Any number of threads may render with one template. */
HONE_MUST_USE hone_status hone_jinja_render(hone_jinja_output *out, const hone_jinja *jinja,
                                            const hone_jinja_input *input);

#endif
