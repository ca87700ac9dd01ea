#include <stdio.h>
#include <string.h>

#include "text/chat.h"

/* The templates that hone brings, for models without one of their own. They write what the families' own do, without
 * tools; a conversation that a family has no place for is refused. */

/* Roles that can stand in a header as they are. */
#define CHECK_ROLE                                                                                 \
    "{%- for m in messages %}{% if not m.role.replace('_', '').replace('-', '').isalnum() %}"      \
    "{{- raise_exception('message ' ~ loop.index ~ ' (role \"' ~ m.role ~ '\"): not a role that "  \
    "can stand in a header') }}{% endif %}{% endfor -%}"

/* A system message may come first; then user and assistant by turns. */
#define CHECK_TURNS                                                                                \
    "{%- set turns = messages[1:] if messages[0].role == 'system' else messages %}"                \
    "{%- set skipped = messages|length - turns|length %}"                                          \
    "{%- if not turns %}{{ raise_exception('a system message without a user message has no "       \
    "place') }}{% endif %}"                                                                        \
    "{%- for m in turns %}{% if m.role != ('user' if loop.index is odd else 'assistant') %}"       \
    "{{- raise_exception('message ' ~ (loop.index + skipped) ~ ' (role \"' ~ m.role ~ '\"): user " \
    "and assistant must take turns, the user first') }}{% endif %}{% endfor -%}"

static const char chatml[] =
    CHECK_ROLE "{%- for m in messages -%}"
               "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
               "{%- endfor -%}"
               "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}";

static const char llama2[] = CHECK_TURNS
    "{%- for m in turns -%}"
    "{%- if m.role == 'user' -%}"
    "{%- if loop.first and skipped -%}"
    "{%- set said = '<<SYS>>\\n' ~ messages[0].content ~ '\\n<</SYS>>\\n\\n' ~ m.content -%}"
    "{%- else %}{% set said = m.content %}{% endif -%}"
    "{{ bos_token ~ '[INST] ' ~ said.strip() ~ ' [/INST]' }}"
    "{%- else -%}"
    "{{ ' ' ~ m.content.strip() ~ ' ' ~ eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}";

static const char llama3[] = CHECK_ROLE
    "{{- bos_token -}}"
    "{%- for m in messages -%}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content.strip() + "
    "'<|eot_id|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{%- endif -%}";

#define ROLE_TAGS(template)                                                                        \
    "{%- for m in messages -%}"                                                                    \
    "{%- if m.role not in ['system', 'user', 'assistant'] -%}"                                     \
    "{{ raise_exception('message ' ~ loop.index ~ ' (role \"' ~ m.role ~ '\"): " template " knows" \
                                                                                          " the "  \
                                                                                          "roles " \
                                                                                          "system" \
                                                                                          ", "     \
                                                                                          "user "  \
                                                                                          "and "   \
                                                                                          "assist" \
                                                                                          "ant "   \
                                                                                          "only')" \
                                                                                          " }}"    \
                                                                                          "{%- "   \
                                                                                          "endif " \
                                                                                          "-%}"

static const char zephyr[] =
    ROLE_TAGS("zephyr") "{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ eos_token ~ '\\n' }}"
                        "{%- endfor -%}"
                        "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif -%}";

static const char phi3[] =
    ROLE_TAGS("phi-3") "{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' }}"
                       "{%- endfor -%}"
                       "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif -%}";

static const char phi4[] = ROLE_TAGS(
    "phi-4") "{{ '<|im_start|>' ~ m.role ~ '<|im_sep|>' ~ m.content ~ '<|im_end|>' }}"
             "{%- endfor -%}"
             "{%- if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif -%}";

static const char gemma[] = CHECK_TURNS
    "{{- bos_token -}}"
    "{%- for m in turns -%}"
    "{%- set system = messages[0].content ~ '\\n\\n' if loop.first and skipped else '' -%}"
    "{{ '<start_of_turn>' ~ ('user' if m.role == 'user' else 'model') ~ '\\n' ~ system ~ "
    "m.content.strip() ~ '<end_of_turn>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}";

/* The system message goes before the first thing that the user says. */
#define MISTRAL(user, assistant)                                                                   \
    CHECK_TURNS                                                                                    \
    "{{- bos_token -}}"                                                                            \
    "{%- for m in turns -%}"                                                                       \
    "{%- set system = messages[0].content ~ '\\n\\n' if loop.first and skipped else '' -%}"        \
    "{{ " user " if m.role == 'user' else " assistant " }}"                                        \
    "{%- endfor -%}"

static const char mistral_v1[] =
    MISTRAL("' [INST] ' ~ system ~ m.content ~ ' [/INST]'", "' ' ~ m.content ~ eos_token");
static const char mistral_v3[] =
    MISTRAL("'[INST] ' ~ system ~ m.content ~ '[/INST]'", "' ' ~ m.content.strip() ~ eos_token");
static const char mistral_nemo[] =
    MISTRAL("'[INST]' ~ system ~ m.content ~ '[/INST]'", "m.content ~ eos_token");
static const char mistral_v7[] = CHECK_TURNS
    "{{- bos_token -}}"
    "{%- if skipped %}{{ '[SYSTEM_PROMPT] ' ~ messages[0].content ~ '[/SYSTEM_PROMPT]' }}"
    "{%- endif -%}"
    "{%- for m in turns -%}"
    "{{ '[INST] ' ~ m.content ~ '[/INST]' if m.role == 'user' else ' ' ~ m.content ~ eos_token }}"
    "{%- endfor -%}";

/* Contents with line ends between; an assistant's turn ends with eos, or with its line end where there is no eos. bos
 * stands only where the tokenizer puts one by itself. */
static const char plain[] =
    "{{- added_bos_token -}}"
    "{%- for m in messages -%}"
    "{%- set ended = eos_token and m.role == 'assistant' -%}"
    "{{ m.content ~ (eos_token if ended else '\\n') }}"
    "{%- if ended and (not loop.last or add_generation_prompt) %}{{ '\\n' }}{% endif -%}"
    "{%- endfor -%}";

static const struct {
    const char *name, *source;
} sources[] = {
    {"chatml", chatml},
    {"llama-2", llama2},
    {"llama-3", llama3},
    {"zephyr", zephyr},
    {"gemma", gemma},
    {"mistral-v1", mistral_v1},
    {"mistral-v3", mistral_v3},
    {"mistral-v3-tekken", mistral_nemo},
    {"mistral-v7", mistral_v7},
    {"phi-3", phi3},
    {"phi-4", phi4},
    {"plain", plain},
};

const char *hone_chat_source(const char *name) {
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (strcmp(sources[i].name, name) == 0) return sources[i].source;
    }
    return NULL;
}

const char *hone_chat_names(void) {
    return "chatml, llama-2, llama-3, zephyr, gemma, mistral-v1, mistral-v3, mistral-v3-tekken, "
           "mistral-v7, phi-3, phi-4, plain";
}
