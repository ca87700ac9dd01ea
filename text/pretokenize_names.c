#include "text/pretokenize_names.h"

#include <string.h>

#include "base/alloc.h"

/* The expressions are data of the models; llama.cpp (src/llama-vocab.cpp, src/unicode.cpp) says which name stands for
 * which. Where its engine reads them in a way of its own, they are written here as it reads them: no letter but A-Z and
 * a-z is upper or lower case, classes of literal characters hold no white space. */
#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define SPACES      "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                             \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES
#define SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES
#define UPPER   "[^\\P{L}a-z]"
#define LOWER   "[^\\P{L}A-Z]"
#define CASED(upper, lower, contraction, digits)                                                   \
    "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" contraction "|[^\\r\\n\\p{L}\\p{N}]?" upper       \
    "+" lower "*" contraction "|" digits SYMBOLS
#define WORDS(digits) "[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+" CONTRACTION "?|" digits SYMBOLS
#define PUNCTUATED                                                                                 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                        \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES
#define CJK   "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}&&\\S]+"
#define KANJI "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define HAN                                                                                        \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{20000}-\\x{2a6df}\\x{2a700}-\\x{2ebef}"            \
    "\\x{f900}-\\x{faff}\\x{2f800}-\\x{2fa1f}]"
#define NO_HAN "[\\p{L}&&[^" HAN "]]"
#define BLOOM  " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"
#define DEEPSEEK_LETTERS                                                                           \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}"                 \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}"                          \
    "\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}"                  \
    "\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}"                         \
    "\\x{10a0}-\\x{10c5}\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}"                 \
    "\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}"                 \
    "\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}"                 \
    "\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}"                            \
    "\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}"                           \
    "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}"                 \
    "\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}"                  \
    "\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}"                   \
    "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}"                  \
    "\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}"                  \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"                  \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}"                 \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}"                                    \
    "\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"                              \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"                              \
    "\\x{1e900}-\\x{1e943}"
#define ASIAN                                                                                      \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{8c48}-\\x{faff}\\x{3040}-"                         \
    "\\x{309f}\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-"                  \
    "\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-"                    \
    "\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"
#define YOUTU                                                                                      \
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}"                       \
    "\\x{201d}\\x{2018}\\x{2019}\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-"                    \
    "\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|[\\x{4e00}-\\x{9fa5}"                   \
    "\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"

const char hone_gpt2_regex[] = GPT2;

/* Groups of three from the right, the first with the text before it; and where llama.cpp's SuperBPE cuts. */
static const char thousands[] = "\\p{N}{1,2}(?=(?:\\p{N}{3})*(?!\\p{N}))|\\p{N}{3}";
static const char ascii_thousands[] = "(?=([0-9]{3})+(?![0-9]))";

static const char *const gpt2_names[] = {
    "gpt-2",      "phi-2",      "jina-es",      "jina-de",         "gigachat",
    "jina-v2-es", "jina-v2-de", "a.x-4.0",      "mellum",          "modern-bert",
    "exaone4",    "jina-v1-en", "jina-v2-code", "roberta-bpe",     "mpt",
    "olmo",       "jais",       "trillion",     "granite-docling", NULL};
static const char *const llama3_names[] = {"llama-bpe",    "llama3",  "llama-v3", "falcon3",
                                           "falcon-h1",    "pixtral", "midm-2.0", "lfm2",
                                           "jina-v5-nano", NULL};
static const char *const llama3_like_names[] = {"smaug-bpe", "dbrx", "glm4", "chatglm-bpe", NULL};
static const char *const qwen2_names[] = {
    "qwen2",     "deepseek-r1-qwen", "kormo",      "f2llmv2", "megrez",
    "stablelm2", "hunyuan",          "solar-open", "grok-2",  NULL};
static const char *const smollm_names[] = {"smollm",     "starcoder", "refact",
                                           "command-r",  "codeshell", "exaone",
                                           "minerva-7b", "mellum2",   NULL};
static const char *const falcon_names[] = {"falcon", NULL};
static const char *const deepseek_llm_names[] = {"deepseek-llm", NULL};
static const char *const deepseek_coder_names[] = {"deepseek-coder", NULL};
static const char *const deepseek_v3_names[] = {"deepseek-v3", "hunyuan-dense", "joyai-llm", NULL};
static const char *const youtu_names[] = {"youtu", NULL};
static const char *const qwen35_names[] = {"qwen35", NULL};
static const char *const bloom_names[] = {"bloom", "poro-chat", "gpt3-finnish", NULL};
static const char *const viking_names[] = {"viking", NULL};
static const char *const tekken_names[] = {"tekken", NULL};
static const char *const gpt4o_names[] = {"gpt-4o", "llama4",     "kanana2",
                                          "talkie", "minimax-m2", NULL};
static const char *const granite_multi_names[] = {"granite-embed-multi-97m", NULL};
static const char *const chameleon_names[] = {"chameleon", NULL};
static const char *const tiny_aya_names[] = {"tiny_aya", "cohere2moe", NULL};
static const char *const kimi_names[] = {"kimi-k2", NULL};
static const char *const superbpe_names[] = {"superbpe", NULL};
static const char *const bailing_names[] = {"bailingmoe", "bailingmoe2", "llada-moe", NULL};
static const char *const seed_names[] = {"seed-coder", NULL};
static const char *const afmoe_names[] = {"afmoe", NULL};
static const char *const laguna_names[] = {"laguna", NULL};
static const char *const exaone_moe_names[] = {"exaone-moe", NULL};
static const char *const jais2_names[] = {"jais-2", NULL};
static const char *const minicpm5_names[] = {"minicpm5", NULL};
static const char *const gemma4_names[] = {"gemma4", "granite-embed-multi-311m", NULL};
static const char *const sarvam_names[] = {"sarvam-moe", NULL};
static const char *const whitespace_names[] = {"whitespace", NULL};
static const char *const default_names[] = {"default", NULL};

#define CUT(regex)                                                                                 \
    { regex, HONE_SPLIT_ISOLATED }

static const hone_pretokenizer pretokenizers[] = {
    {.names = gpt2_names, .cuts = {CUT(GPT2)}},
    {.names = llama3_names,
     .cuts = {CUT(LLAMA3("\\p{N}{1,3}"))},
     .ignore_merges = true,
     .adds_bos = true},
    {.names = llama3_like_names, .cuts = {CUT(LLAMA3("\\p{N}{1,3}"))}},
    {.names = qwen2_names, .cuts = {CUT(LLAMA3("\\p{N}"))}},
    {.names = smollm_names, .cuts = {CUT("\\p{N}"), CUT(GPT2)}},
    {.names = falcon_names,
     .cuts = {CUT("[\\p{P}\\$\\+<=>\\^~\\|`]+"), CUT(GPT2), CUT("[0-9][0-9][0-9]")}},
    {.names = deepseek_llm_names,
     .cuts =
         {CUT("[\\r\\n]"), CUT("\\s?[" DEEPSEEK_LETTERS "]+"),
          CUT("\\s?[!-/"
              ":-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3001}-\\x{3002}]+"),
          CUT("\\s+\\z"), CUT(CJK), CUT("\\p{N}+")}},
    {.names = deepseek_coder_names,
     .cuts = {CUT("[\\r\\n]"), CUT("\\s?\\p{L}+"), CUT("\\s?\\p{P}+"), CUT(CJK), CUT("\\p{N}")}},
    {.names = deepseek_v3_names, .cuts = {CUT("\\p{N}{1,3}"), CUT(KANJI), CUT(PUNCTUATED)}},
    {.names = youtu_names, .cuts = {CUT(YOUTU), CUT(WORDS("\\p{N}"))}, .ignore_merges = true},
    {.names = qwen35_names,
     .cuts = {CUT(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                              "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES)}},
    {.names = bloom_names, .cuts = {CUT(BLOOM)}},
    {.names = viking_names, .cuts = {CUT(BLOOM), CUT("\\p{N}")}},
    {.names = tekken_names,
     .cuts = {CUT(CASED(UPPER, LOWER, "", "\\p{N}"))},
     .ignore_merges = true,
     .adds_bos = true},
    {.names = gpt4o_names, .cuts = {CUT(CASED(UPPER, LOWER, CONTRACTION "?", "\\p{N}{1,3}"))}},
    {.names = granite_multi_names,
     .cuts = {CUT(CASED("[[\\p{L}\\p{M}]&&[^a-z]]", "[[\\p{L}\\p{M}]&&[^A-Z]]", CONTRACTION "?",
                        "\\p{N}{1,3}"))},
     .ignore_merges = true},
    {.names = chameleon_names,
     .cuts = {CUT("<sentinel:[0-9]+>"), CUT("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
              CUT("([\\t\\n]|    |  )"), CUT("\\p{N}"), CUT("[\\p{P}!-/:-@\\[-`{-~]"), CUT(GPT2)},
     .adds_bos = true},
    {.names = tiny_aya_names,
     .cuts = {{thousands, HONE_SPLIT_MERGED_WITH_PREVIOUS}, CUT(WORDS("\\p{N}{1,3}"))}},
    {.names = kimi_names,
     .cuts = {CUT(HAN "+|[^\\r\\n\\p{L}\\p{N}]?" NO_HAN "+" CONTRACTION
                      "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES)}},
    {.names = superbpe_names, .cuts = {CUT("\\p{N}+"), CUT(ascii_thousands)}},
    {.names = bailing_names,
     .cuts = {CUT("'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")}},
    {.names = seed_names,
     .cuts = {CUT(CONTRACTION
                  "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES)}},
    {.names = afmoe_names,
     .cuts = {{thousands, HONE_SPLIT_MERGED_WITH_PREVIOUS}, CUT(ASIAN), CUT(PUNCTUATED)}},
    {.names = laguna_names, .cuts = {CUT("[^\\n]+|[\\n]+"), CUT(LLAMA3("\\p{N}"))}},
    {.names = exaone_moe_names,
     .cuts = {CUT(CONTRACTION
                  "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| "
                  "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+")}},
    {.names = jais2_names,
     .cuts = {CUT(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                              "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}"
                              "(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)"
                              "|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}")}},
    {.names = minicpm5_names,
     .cuts = {CUT("\\p{N}{1,3}"), CUT(LLAMA3("\\p{N}+"))},
     .ignore_merges = true},
    {.names = gemma4_names,
     .cuts = {CUT("[^\\n]+|[\\n]+")},
     .adds_bos = true,
     .insists = true,
     .plain = true,
     .marks_space = true,
     .newlines = true},
    {.names = sarvam_names, .cuts = {CUT("[^\\n]+|[\\n]+")}, .plain = true, .marks_space = true},
    {.names = whitespace_names, .cuts = {CUT("\\S+")}, .plain = true},
    {.names = default_names,
     .cuts = {CUT("[\\p{P}\\$\\+<=>\\^~\\|]+"), CUT(GPT2), CUT("\\p{N}+"), CUT("[0-9][0-9][0-9]")}},
};
enum { PRETOKENIZERS = sizeof pretokenizers / sizeof *pretokenizers };

const hone_pretokenizer *hone_pretokenizer_at(size_t index) {
    return index < PRETOKENIZERS ? &pretokenizers[index] : NULL;
}

static hone_status unknown_name(const char *name, size_t length, const char *file) {
    hone_buf list = {0};
    hone_status status = HONE_OK;
    for (size_t i = 0; i < PRETOKENIZERS; i++) {
        for (const char *const *known = pretokenizers[i].names; *known && !status; known++) {
            status = hone_buf_printf(&list, "%s%s", list.length ? ", " : "", *known);
        }
    }
    if (status == HONE_OK) {
        status = hone_fail(HONE_ERR_UNSUPPORTED,
                           "%s: tokenizer.ggml.pre: the pre-tokenizer '%.*s' is not known; known "
                           "are %s",
                           file, (int)(length > 100 ? 100 : length), name, list.data);
    }
    hone_buf_free(&list);
    return status;
}

hone_status hone_pretokenizer_find(const hone_pretokenizer **out, const char *name, size_t length,
                                   const char *file) {
    for (size_t i = 0; i < PRETOKENIZERS; i++) {
        for (const char *const *known = pretokenizers[i].names; *known; known++) {
            if (strlen(*known) == length && memcmp(*known, name, length) == 0) {
                *out = &pretokenizers[i];
                return HONE_OK;
            }
        }
    }
    return unknown_name(name, length, file);
}

/* Whether an expression names characters only: it needs no stand-ins for recent ones. */
static bool is_literal(const char *regex) {
    return !strstr(regex, "\\p") && !strstr(regex, "\\P");
}

static hone_status set_cut(hone_step *step, hone_cut cut) {
    if (cut.regex == thousands || cut.regex == ascii_thousands) {
        step->run = hone_pretokenize_thousands;
        step->as_is = cut.regex == ascii_thousands;
        return HONE_OK;
    }
    step->run = hone_pretokenize_split;
    step->split = cut.split;
    step->as_is = is_literal(cut.regex);
    return hone_regex_new(&step->regex, cut.regex, strlen(cut.regex));
}

hone_status hone_pretokenizer_steps(hone_steps *steps, const hone_pretokenizer *pretokenizer) {
    for (const hone_cut *cut = pretokenizer->cuts; cut->regex; cut++) {
        hone_step *step = hone_steps_add(steps);
        if (!step) return HONE_ERR_MEMORY;
        HONE_TRY(set_cut(step, *cut));
    }
    return HONE_OK;
}
