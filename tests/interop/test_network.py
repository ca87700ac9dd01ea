"""Nothing touches the network: no command makes a socket call, watched by strace, its threads included."""

import json
import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def work(tmp_path_factory, fixtures):
    """A folder with records, and what the commands below make in it, in their order."""
    folder = tmp_path_factory.mktemp("network")
    rows = [{"question": f"What is item {i}?", "answer": f"Item {i} is a loaf."} for i in range(40)]
    (folder / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


MODEL = ["--model", "{model}"]
ADAPTED = [*MODEL, "--adapter", "run"]
COMMANDS = [
    ["--help"],
    ["--version"],
    ["doctor"],
    ["data", "add", "faq.h5", "faq.jsonl"],
    ["data", "list", "faq.h5"],
    ["data", "show", "faq.h5", *MODEL],
    ["plan", *MODEL, "--data", "faq.h5", "--seq-len", "64"],
    ["train", *MODEL, "--data", "faq.h5", "--out", "run", "--steps", "2", "--seq-len", "64"],
    ["eval", *ADAPTED, "--data", "faq.h5"],
    ["tokenize", *MODEL, "--text", "a loaf"],
    ["generate", *ADAPTED, "--prompt", "What", "--max-tokens", "4"],
    ["chat", *ADAPTED, "--max-tokens", "4"],
    ["export", *ADAPTED, "--out", "merged.gguf", "--format", "gguf"],
    ["verify", *ADAPTED, "--merged", "merged.gguf"],
    ["inspect", "merged.gguf"],
]


def test_every_command_makes_no_socket_call(hone, fixtures, work):
    assert shutil.which("strace"), "this test needs strace"
    model = str(fixtures / "models/grouped-tied")
    log = work / "calls"
    for command in COMMANDS:
        arguments = [part.format(model=model) for part in command]
        traced = ["strace", "-f", "-qq", "-e", "trace=%network", "-e", "signal=none", "-o", str(log), hone.binary]
        done = subprocess.run([*traced, *arguments], input="Hello\n", capture_output=True, text=True, cwd=work, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert log.read_text() == "", f"{command} made these calls:\n{log.read_text()}"


def test_the_list_holds_every_command(hone):
    names = re.findall(r"^  (\w+) ", hone("--help").stdout, re.M)
    assert set(names) == {command[0] for command in COMMANDS if not command[0].startswith("-")}
