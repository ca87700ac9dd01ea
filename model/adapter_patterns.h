/*
 * rank_pattern and alpha_pattern of adapter_config.json: an object of regular expressions over module paths, each with
 * a number. The first key k with Python's re.match("(.*\.)?(k)$", path) gives the value (peft, utils/other.py,
 * get_pattern_key).
 */
#ifndef HONE_MODEL_ADAPTER_PATTERNS_H
#define HONE_MODEL_ADAPTER_PATTERNS_H

#include "formats/json.h"

typedef struct hone_patterns hone_patterns;

/* Compiles the object under `key` of `config`; one that is absent or null has no patterns. `file` for messages,
 * borrowed as `config` is. */
HONE_MUST_USE hone_status hone_patterns_new(hone_patterns **out, const json_t *config,
                                            const char *key, const char *file);
void hone_patterns_free(hone_patterns *patterns); /* takes NULL */

/* Sets *out to the number of the first matching pattern; without one *out stays as it is. */
HONE_MUST_USE hone_status hone_patterns_find(double *out, const hone_patterns *patterns,
                                             const char *module);

#endif
