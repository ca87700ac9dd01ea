"""Seeded templates that combine what the language has: statements, operators, filters, tests, methods, white space."""

import functools
import random

from transformers.utils.chat_template_utils import _compile_jinja_template

DATA = {
    "name": "Ada",
    "text": "  Hello, World! it's a-test\nSecond  line\n",
    "accent": "Grüße, Ωmega ß 日本 😀",
    "empty": "",
    "n": 7,
    "neg": -3,
    "zero": 0,
    "big": 123456789,
    "x": 2.5,
    "y": -0.125,
    "yes": True,
    "no": False,
    "nothing": None,
    "words": ["pear", "Apple", "fig", "apple"],
    "nums": [3, 1, 2, 3],
    "mixed": [1, "two", None, True, 2.5, [1, 2], {"a": 1}],
    "none_list": [],
    "obj": {"b": 2, "a": "one", "c": [1, 2, {"deep": "yes"}], "items": "key", "quote": "it's \"so\""},
    "rows": [
        {"role": "user", "content": "Hi <b>", "n": 1, "tags": ["x", "y"]},
        {"role": "assistant", "content": " Fine & well ", "n": 3, "tags": []},
        {"role": "user", "content": "Bye", "n": 2, "tags": ["z"], "extra": {"k": "v"}},
        {"role": "tool", "content": "", "n": 2, "tags": ["x"]},
    ],
}

STRINGS = ["name", "text", "accent", "empty", "obj.a", "rows[0].content", "'lit\\teral'", '"q\\"t"', "rows[-1].role", "'a,b,,c'"]
NUMBERS = ["n", "neg", "zero", "big", "x", "y", "3", "2.0", "1e3", "rows[1].n", "nums[0]", "true"]
LISTS = ["words", "nums", "none_list", "rows[0].tags", "[1, 2, 3]", "['b', 'a']", "(1, 'x')", "range(4)", "range(8, 1, -3)"]
ANY = ["nothing", "yes", "no", "missing", "obj.zzz", "mixed", "obj", "rows[9]", "obj['c'][2]", "rows[2].extra", "mixed[5]"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping",
         "iterable", "sequence", "odd", "even", "lower", "upper", "callable", "divisibleby 2", "eq 3", "in nums", "sameas none",
         "gt(1)", "ne 'x'", "escaped"]
TEXT_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "replace('l', 'LL')", "replace('a', '', 1)", "reverse",
                "indent", "indent(2, true)", "indent('> ', first=true, blank=true)", "truncate(9)", "truncate(8, true, '..', 0)",
                "wordcount", "urlencode", "e", "string", "list", "center(20)", "first", "last", "trim('H d')", "tojson", "safe",
                "int", "float", "int(5)", "default('D')", "d('E', true)", "striptags", "title|length", "list|join('-')",
                "map('upper')|join('.')", "unique|join", "batch(3)|map('join')|join('|')", "sort|join", "select('in', 'aeiou')|list"]
NUMBER_FILTERS = ["abs", "round", "round(1)", "round(1, 'floor')", "int", "float", "string", "tojson", "default(4)", "round|int"]
LIST_FILTERS = ["length", "first", "last", "join(', ')", "list", "sort|list", "sort(reverse=true)|join(',')", "unique|list", "max", "min",
                "sum", "reverse|list", "tojson", "tojson(indent=2)", "map('string')|join('/')", "select('odd')|list", "reject('none')|list",
                "batch(2, 'pad')|list", "slice(2)|list", "string", "select|list", "count", "map('upper')|list", "map('int', default=9)|sum",
                "first|default('none')", "sort(case_sensitive=true)|list", "select('string')|map('length')|list"]
ROW_FILTERS = ["map(attribute='content')|join('|')", "selectattr('role', 'equalto', 'user')|list|length", "map(attribute='tags.0', default='-')|join",
               "rejectattr('tags')|map(attribute='role')|list", "groupby('role')|map('first')|join(',')", "sort(attribute='n,role')|map(attribute='n')|list",
               "selectattr('extra', 'defined')|map(attribute='extra.k')|first", "sum(attribute='n')", "unique(attribute='n')|map(attribute='role')|join(' ')",
               "max(attribute='n')|string", "tojson(ensure_ascii=true, sort_keys=true)", "tojson(separators=(',', ':'))", "last|items|list",
               "map('length')|list", "first|dictsort|map('first')|join(',')", "min(attribute='role')|length"]
METHODS = ["upper()", "lower()", "strip()", "lstrip(' H')", "rstrip('\\n')", "split()", "split(',')", "split('l', 1)", "rsplit(' ', 1)",
           "splitlines()", "title()", "capitalize()", "startswith('He')", "endswith(('d', '\\n'))", "replace('l', 'L')", "replace('o', '0', 1)",
           "find('o')", "rfind('o')", "count('l')", "isdigit()", "isalpha()", "isupper()", "islower()", "isspace()", "zfill(12)", "center(15, '*')",
           "ljust(9, '.')", "rjust(9)", "join(['1', '2'])", "partition(',')", "rpartition(' ')", "removeprefix('A')", "removesuffix('a')",
           "swapcase()", "split(None, 1)", "index('a')", "format(1)", "isalnum()", "find('l', 4)", "splitlines(true)", "casefold()"]
GAPS = ["", " ", "\n", "  \n", "text ", "\n\n  ", "  ", ".\n", "\t"]


@functools.cache
def works(expression):
    names = {"item": 1, "a": "A", "v1": "V", "v2": 2, "v3": [3], "v4": "v", "m1": str.format, "m2": str.format}
    try:
        return "object at 0x" not in _compile_jinja_template("{% set ns = namespace(t='') %}{% for i in [1, 2] %}{{ " + expression + " }}{% endfor %}").render(**DATA, **names)
    except Exception:
        return False


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.loops = 0
        self.names = []
        self.macros = []

    def pick(self, options):
        return self.r.choice(options)

    def text(self, depth):
        kind = self.r.randrange(7 if depth > 0 else 2)
        if kind < 2:
            return self.pick(STRINGS)
        if kind == 2:
            return f"({self.text(depth - 1)} ~ {self.any(depth - 1)})"
        if kind == 3:
            return f"({self.text(depth - 1)} + {self.text(depth - 1)})"
        if kind == 4:
            return f"({self.text(depth - 1)} * {self.pick(['2', '0', 'n % 3'])})"
        if kind == 5:
            bounds = [self.pick(["", "1", "-2", "3", "0", "-1"]) for _ in range(3)]
            bounds[2] = self.pick(["", "", "2", "-1"])
            return f"({self.text(depth - 1)})[{':'.join(bounds)}]"
        chosen = self.pick(["upper", "lower", "trim", "title", "replace('e', '3')", "string"])
        return f"({self.text(depth - 1)})|{chosen}"

    def number(self, depth):
        if depth == 0 or self.r.random() < 0.3:
            return self.pick(NUMBERS)
        if self.r.random() < 0.1:
            return f"({self.pick(['n', 'x', 'neg', '3', '2.0'])} ** {self.pick(['2', '3', 'zero', '-1'])})"
        op = self.pick(["+", "-", "*", "/", "//", "%"])
        return f"({self.number(depth - 1)} {op} {self.pick(['2', '3', 'n', 'x', '-2', self.number(0)])})"

    def any(self, depth):
        return self.pick([self.text, self.number, lambda d: self.pick(LISTS), lambda d: self.pick(ANY), self.condition])(depth)

    def condition(self, depth):
        if depth <= 0:
            return self.pick(["yes", "no", "words", "empty", "nothing", "missing", "n > 3", "'a' in name", "not zero"])
        kind = self.r.randrange(6)
        if kind == 0:
            return f"({self.any(depth - 1)} is {self.pick(['', 'not '])}{self.pick(TESTS)})"
        if kind == 1:
            return f"({self.condition(depth - 1)} {self.pick(['and', 'or'])} {self.condition(depth - 1)})"
        if kind == 2:
            return f"(not {self.condition(depth - 1)})"
        if kind == 3:
            return f"({self.number(depth - 1)} {self.pick(['<', '<=', '==', '!=', '>', '>='])} {self.number(depth - 1)})"
        if kind == 4:
            return f"({self.text(depth - 1)} {self.pick(['in', 'not in', '==', '<'])} {self.text(depth - 1)})"
        return f"({self.any(depth - 1)} {self.pick(['in', '==', '!='])} {self.pick(LISTS + ['obj', 'mixed'])})"

    def expression(self):
        """Mostly one that jinja2 can do: a template in which every tenth part is an error would never be rendered."""
        for _ in range(8):
            expression = self.any_expression()
            if works(expression) or self.r.random() < 0.004:
                break
        return expression

    def any_expression(self):
        kind = self.r.randrange(13)
        if kind == 0:
            return f"({self.text(2)})|{self.pick(TEXT_FILTERS)}"
        if kind == 1:
            return f"({self.number(2)})|{self.pick(NUMBER_FILTERS)}"
        if kind == 2:
            return f"{self.pick(LISTS)}|{self.pick(LIST_FILTERS)}"
        if kind == 3:
            return f"rows|{self.pick(ROW_FILTERS)}"
        if kind == 4:
            return f"({self.text(1)}).{self.pick(METHODS)}"
        if kind == 5:
            return f"{self.any(1)} if {self.condition(2)}" + self.pick(["", f" else {self.any(1)}"])
        if kind == 6:
            return self.condition(2)
        if kind == 7:
            return f"{self.pick(ANY)}|{self.pick(['tojson', 'default(1)', 'string', 'd(2, true)', 'list', 'length'])}"
        if kind == 8:
            return self.pick(["'%s-%5.2f|%-4d|%03d' % (name, x, n, n)", "'%(a)s' % obj", "'{:>8}|{:<5}|{:^7}'.format(name, n, 'm')",
                              "'{0}{1!r}{b:.3f}'.format(n, text, b=x)", "'%s' % missing", "'%r %s' % (obj, nothing)", "'%x %o %e' % (n, n, x)",
                              "obj.items()|list", "obj.get('a')", "obj.get('q', 5)", "obj.keys()|list", "obj.values()|join(';')", "dict(a=1, **{'b': 2})",
                              "namespace(a=1).a", "words.index('fig')", "nums.count(3)", "obj|dictsort", "obj|items|list|length",
                              "[1, 2] + [3]", "{'k': [name, x], 2: none}", "(1,)", "1 < 2 < 3 > n", "-n ** 2", "'%d%%' % 5", "2 ** 3 ** 2"])
        if kind == 9 and self.macros:
            return f"{self.pick(self.macros)}({self.any(1)}{self.pick(['', ', b=' + self.any(0)])})"
        if kind == 10 and self.loops:
            return self.pick(["loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.previtem", "loop.nextitem|string",
                              "loop.cycle('a', 'b')", "loop.changed(item)", "loop.depth", "item", "item|string", "loop.revindex0"])
        if kind == 11 and self.names:
            return self.pick(self.names)
        return self.any(2)

    def tag(self, inside):
        open_mark, close_mark = self.pick(["", "", "-", "+"]), self.pick(["", "", "-", "+"])
        return "{%" + open_mark + " " + inside + " " + close_mark + "%}"

    def output(self):
        return "{{" + self.pick(["", "", "-"]) + " " + self.expression() + " " + self.pick(["", "", "-"]) + "}}"

    def statement(self, depth):
        kind = self.r.randrange(15)
        if kind == 0:
            middle = self.pick(["", self.tag(f"elif {self.condition(1)}") + self.block(depth - 1), self.tag("else") + self.block(depth - 1)])
            return self.tag(f"if {self.condition(2)}") + self.block(depth - 1) + middle + self.tag("endif")
        if kind in (1, 2):
            return self.loop(depth)
        if kind == 3:
            name = self.pick(["v1", "v2", "v3"])
            self.names.append(name)
            return self.tag(f"set {name} = {self.expression()}")
        if kind == 4:
            self.names.append("v4")
            return self.tag("set v4" + self.pick(["", " | upper", " | trim | title"])) + self.block(depth - 1) + self.tag("endset")
        if kind == 5:
            name = self.pick(["m1", "m2"])
            body = self.tag(f"macro {name}(a, b={self.any(0)})") + "{{ a }}/{{ b }}" + self.block(0) + self.tag("endmacro")
            self.macros.append(name)
            return body
        if kind == 6:
            chosen = self.pick(["upper", "trim", "indent(3)", "replace('a', '@')", "title | trim"])
            return self.tag("filter " + chosen) + self.block(depth - 1) + self.tag("endfilter")
        if kind == 7:
            return self.tag(f"with w = {self.any(1)}, z = n") + "{{ w }}{{ z }}" + self.block(depth - 1) + self.tag("endwith")
        if kind == 8:
            return self.tag("raw").replace("+%}", "%}") + "{{ raw }} {% if %}" + self.pick(GAPS) + self.tag("endraw")
        if kind == 9:
            return "{#" + self.pick(["", "-", "+"]) + " a comment {{ x }} " + self.pick(["", "-", "+"]) + "#}"
        if kind == 10:
            self.names.append("ns.t")
            return self.tag("set ns.t = ns.t ~ " + self.text(1))
        if kind == 11:
            return self.tag("macro c1(x)") + "[{{ caller(x) }}|{{ caller('2') }}]" + self.tag("endmacro") + self.tag("call(y) c1(n)") + "{{ y }}" + self.block(0) + self.tag("endcall")
        if kind == 12:
            return self.tag("generation") + self.block(depth - 1) + self.tag("endgeneration")
        if kind == 13 and self.loops:
            return self.tag(f"if {self.condition(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
        return self.output()

    def loop(self, depth):
        kind = self.r.randrange(5)
        self.loops += 1
        if kind == 0:
            head, body = "for item, value in obj.items()", "{{ item }}={{ value }}"
        elif kind == 1:
            head, body = f"for item in {self.pick(LISTS)} if {self.pick(['item', 'item is string', 'item != 3', 'loop_is_not_here is undefined'])}", "{{ item }}"
        elif kind == 2:
            head, body = "for item in [[1, [2, [3]]], [4]] recursive", "{% if item is iterable %}<{{ loop(item) }}>{% else %}{{ loop.depth }}:{{ item }}{% endif %}"
        elif kind == 3:
            head, body = "for item in rows", "{{ item.role }}{{ item['content'] | trim }}"
        else:
            head, body = f"for item in {self.pick(LISTS)}", "{{ loop.index }}"
        # recursion with a break inside would skip what the generator counts on
        inner = self.block(depth - 1) if kind != 2 else ""
        otherwise = self.pick(["", self.tag("else") + "none at all"])
        self.loops -= 1
        return self.tag(head) + body + inner + otherwise + self.tag("endfor")

    def block(self, depth):
        names, macros = len(self.names), len(self.macros)
        parts = [self.pick(GAPS)]
        for _ in range(self.r.randrange(1, 4) if depth > 0 else 1):
            parts.append(self.statement(depth) if depth > 0 else self.output())
            parts.append(self.pick(GAPS))
        del self.names[names:]
        del self.macros[macros:]
        return "".join(parts)

    def template(self):
        parts = ["{% set ns = namespace(t='') %}"]
        for _ in range(self.r.randrange(2, 7)):
            parts.append(self.statement(2))
            parts.append(self.pick(GAPS))
        return "".join(parts)


def template(seed):
    return Generator(seed).template()
