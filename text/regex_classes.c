#include "text/regex_classes.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

typedef struct set {
    const char *name, *body;
} set;

static const set posix[] = {
    {"alpha", "\\p{Alphabetic}"}, {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"digit", "\\p{Nd}"},         {"upper", "\\p{Uppercase}"},
    {"lower", "\\p{Lowercase}"},  {"space", "\\p{White_Space}"},
    {"blank", "\\p{Zs}\\t"},      {"cntrl", "\\p{Cc}"},
    {"punct", "\\p{P}\\p{S}"},    {"xdigit", "0-9A-Fa-f"},
    {"ascii", "\\x00-\\x7f"},     {"word", HONE_REGEX_WORD},
};

const char *hone_regex_posix(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof posix / sizeof *posix; i++) {
        if (strlen(posix[i].name) == length && memcmp(posix[i].name, name, length) == 0) {
            return posix[i].body;
        }
    }
    return NULL;
}

/* Names in small letters without spaces, hyphens and underscores; PCRE2's own names. Scripts are asked for as such,
 * since PCRE2 would widen them by script extensions. */
static const set properties[] = {
    {"any", "Any"},
    {"alpha", "Alphabetic"},
    {"alphabetic", "Alphabetic"},
    {"upper", "Uppercase"},
    {"uppercase", "Uppercase"},
    {"lower", "Lowercase"},
    {"lowercase", "Lowercase"},
    {"space", "White_Space"},
    {"whitespace", "White_Space"},
    {"digit", "Nd"},
    {"cntrl", "Cc"},
    {"punct", "P"},
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"privateuse", "Co"},
};

static const char *const categories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                         "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                         "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                         "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co"};

static const char *const scripts[] = {
    "Arabic",   "Armenian", "Bengali", "Cyrillic", "Devanagari", "Georgian",  "Greek",
    "Gujarati", "Gurmukhi", "Han",     "Hangul",   "Hebrew",     "Hiragana",  "Kannada",
    "Katakana", "Khmer",    "Lao",     "Latin",    "Malayalam",  "Mongolian", "Myanmar",
    "Sinhala",  "Tamil",    "Telugu",  "Thai",     "Tibetan",
};

enum { LONGEST_NAME = 40 };

/* The name as the lists have it; empty when it is longer than any. */
static void plain_name(char out[LONGEST_NAME], const char *name, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length && count < LONGEST_NAME - 1; i++) {
        if (strchr(" -_", name[i])) continue;
        out[count++] = (char)tolower((unsigned char)name[i]);
    }
    out[length < LONGEST_NAME ? count : 0] = '\0';
}

static const char *find_name(const char *const *list, size_t count, const char *plain) {
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(list[i], plain) == 0) return list[i];
    }
    return NULL;
}

hone_status hone_regex_put_property(hone_buf *out, bool negated, const char *name, size_t length,
                                    const char *pattern, size_t pattern_length) {
    char plain[LONGEST_NAME];
    plain_name(plain, name, length);
    const char *found = find_name(categories, sizeof categories / sizeof *categories, plain);
    const char *kind = "";
    for (size_t i = 0; i < sizeof properties / sizeof *properties && !found; i++) {
        if (strcmp(properties[i].name, plain) == 0) found = properties[i].body;
    }
    if (!found) {
        found = find_name(scripts, sizeof scripts / sizeof *scripts, plain);
        kind = "sc:";
    }
    if (found) return hone_buf_printf(out, "\\%c{%s%s}", negated ? 'P' : 'p', kind, found);
    return hone_fail(HONE_ERR_UNSUPPORTED,
                     "regular expression `%.*s`: the property '%.*s' is not known",
                     (int)(pattern_length > 400 ? 400 : pattern_length), pattern,
                     (int)(length > 60 ? 60 : length), name);
}
