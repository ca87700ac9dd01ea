"""The man page and the README show what exists: their commands and options are those of the program's own help."""

import re

COMMANDS = re.compile(r"^  ([a-z]+(?: [a-z]+)?) {2,}\S", re.M)
OPTION = re.compile(r"--[a-z][a-z-]+")


def commands_of(hone, *family):
    return COMMANDS.findall(hone(*family, "--help").stdout)


def help_of(hone):
    """The help of every command, by its whole name."""
    pages = {}
    for name in commands_of(hone):
        text = hone(*name.split(), "--help").stdout
        pages[name] = text
        if "commands:" in text:
            del pages[name]
            for sub in commands_of(hone, name):
                pages[sub] = hone(*sub.split(), "--help").stdout
    return pages


def man_page(root):
    """The man page as plain text, without the marks of fonts."""
    text = (root / "docs/hone.1").read_text()
    text = re.sub(r"\\f[BIRP]", "", text).replace("\\-", "-").replace('"', "")
    return re.sub(r"^\.(BI|BR|RB|RI|IR|IB|B|I) ", "", text, flags=re.M)


def test_man_page_commands_are_those_of_the_help(hone, root):
    shown = set(re.findall(r"^hone ([a-z]+(?: (?:add|list|show))?)(?= |$)", man_page(root), re.M))
    assert shown == set(help_of(hone))


def test_man_page_options_exist(hone, root):
    known = {option for page in help_of(hone).values() for option in OPTION.findall(page)}
    known |= set(OPTION.findall(hone("--help").stdout))
    text = man_page(root).replace("--lora", "")  # llama.cpp's
    assert set(OPTION.findall(text)) - known == set()


def test_readme_options_exist(hone, root):
    known = {option for page in help_of(hone).values() for option in OPTION.findall(page)}
    for line in (root / "README.md").read_text().split("\n"):
        if "hone " in line and "cmake" not in line and "tools/" not in line:
            assert set(OPTION.findall(line)) - known == set(), line


def test_readme_paths_exist(root):
    text = (root / "README.md").read_text()
    paths = re.findall(r"`((?:tools|configs|samples|models|docs|\.ci|bench)/[\w./-]*)`", text)
    assert paths
    assert [path for path in paths if not (root / path).exists()] == []
