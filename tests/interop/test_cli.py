"""The command line's contract: streams, exit statuses, help, JSON, messages that name what is wrong."""

import json
import os
import shutil
import pty
import re
import signal
import struct
import subprocess

import pytest

COMMANDS = ["doctor", "data", "data add", "data list", "data show", "tokenize", "inspect", "train", "eval", "generate", "chat", "export", "verify"]


@pytest.fixture(scope="module")
def model(fixtures):
    return fixtures / "models/grouped-tied"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "faq.jsonl"
    lines = [{"question": f"What is item {i}?", "answer": f"Item {i} is a loaf."} for i in range(40)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def data(hone, records):
    path = records.parent / "faq.h5"
    hone("data", "add", path, records)
    return path


def test_help_every_command_prints_usage_on_stdout(hone):
    page = hone("--help").stdout
    for command in COMMANDS:
        run = hone(*command.split(), "--help")
        assert f"hone {command}" in run.stdout
        assert run.stderr == ""
        assert run.stdout == hone(*command.split(), "-h").stdout
        if " " not in command:
            assert re.search(rf"^  {command} ", page, re.M)


def test_help_lists_only_commands_that_run(hone):
    for name in re.findall(r"^  (\w+) ", hone("--help").stdout, re.M):
        assert f"usage: hone {name}" in hone(name, "--help").stdout


def test_train_help_names_every_key_of_run_yaml(hone, tmp_path):
    page = hone("train", "--help").stdout
    for key in ["--rank R", "--lr LR", "--batch-size ROWS", "warmup", "recompute", "eval_fraction", "[0.0002]"]:
        assert key in page


def test_version_is_said(hone):
    assert re.fullmatch(r"hone \d+\.\d+\.\d+\n", hone("-V").stdout)
    for command in ["doctor", "train"]:
        assert hone(command, "--version").stdout == hone("--version").stdout


WRONG = {
    (): "which command?",
    ("trian",): 'unknown command "trian"; did you mean "train"?',
    ("nonsense",): 'unknown command "nonsense"; `hone --help` lists them',
    ("--rank", "8"): "unknown option --rank; a command comes first",
    ("data",): "data: which command?",
    ("data", "shwo"): 'unknown command "data shwo"; did you mean "data show"?',
    ("data", "add", "x.h5"): "something is missing; usage: hone data add FILE.h5 INPUT...",
    ("data", "list", "a.h5", "b.h5"): '"b.h5" has no place here',
    ("data", "show", "a.h5"): "--model is needed",
    ("data", "show", "a.h5", "--model"): "--model needs a value: --model PATH",
    ("data", "show", "a.h5", "--model", "--json"): "--model needs a value",
    ("data", "show", "a.h5", "--record", "x"): '--record "x": must be a whole number',
    ("data", "show", "a.h5", "--record", "-1"): "must be at least 0",
    ("data", "show", "a.h5", "--train-on", "some"): "must be one of assistant, all",
    ("doctor", "--jsn"): "unknown option --jsn; did you mean --json?",
    ("doctor", "--json=yes"): "--json takes no value",
    ("doctor", "-x"): "unknown option -x",
    ("tokenize", "--model", "m"): "one of --text, --file and --messages is needed",
    ("tokenize", "--model", "m", "--text", "a", "--file", "b"): "one of --text, --file and --messages",
    ("train",): "--model is needed",
    ("train", "--model", "m", "--data", "d"): "--out is needed",
    ("train", "--rank", "0"): '--rank: rank = "0": must be at least 1',
    ("train", "--rnak", "8"): "unknown option --rnak; did you mean --rank?",
    ("train", "--set", "rnak=8"): '--set: unknown key "rnak"; did you mean "rank"?',
    ("train", "--set", "rank"): "not of the form key=value",
    ("train", "--compute", "fp4"): 'compute = "fp4": must be one of auto, f32, tf32, bf16, fp8, int8',
    ("train", "--memory", "lots"): "must be a size",
    ("train", "--config", "nowhere.yaml"): "nowhere.yaml: cannot open",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_command_line_exits_2_and_says_why(hone, arguments):
    run = hone(*arguments, status=2)
    assert WRONG[arguments] in run.stderr
    assert "\033" not in run.stderr


def test_config_file_wrong_key_names_line_and_neighbour(hone, tmp_path):
    config = tmp_path / "shop.yaml"
    config.write_text("model: m.gguf\nbatchsize: 4\n")
    run = hone("train", "--config", config, status=2)
    assert f'{config}:2: unknown key "batchsize"; did you mean "batch_size"?' in run.stderr


def test_option_beats_config_beats_default(hone, model, records, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {model}\ndata: {records}\nrank: 2\nalpha: 4\nsteps: 1\nbatch_size: 1\nseq_len: 64\n")
    hone("train", "--config", config, "--out", tmp_path / "run", "--rank", "3", "--set", "eval_fraction=0", "-q")
    resolved = (tmp_path / "run/run.yaml").read_text()
    for line in ["rank: 3", "alpha: 4", "seq_len: 64", "lr: 0.0002", "eval_fraction: 0"]:
        assert f"\n{line}\n" in resolved
    again = tmp_path / "again"
    hone("train", "--config", tmp_path / "run/run.yaml", "--out", again, "-q")
    # The planned memory begins with what the process has at that moment.
    strip = lambda text: re.sub(r"^out: .*$|\"memory\": .*$", "", text, flags=re.M)
    assert strip((again / "run.yaml").read_text()) == strip(resolved)


MISSING = {
    ("data", "list", "nowhere.h5"): "nowhere.h5: cannot open",
    ("data", "add", "out.h5", "nowhere.jsonl"): "nowhere.jsonl",
    ("inspect", "nowhere.gguf"): "nowhere.gguf: cannot open",
    ("tokenize", "--model", "nowhere", "--text", "x"): "nowhere",
}


@pytest.mark.parametrize("arguments", MISSING, ids=" ".join)
def test_missing_file_exits_1_and_is_named(hone, arguments, tmp_path):
    run = hone(*arguments, status=1, cwd=tmp_path)
    assert MISSING[arguments] in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_threads_are_those_asked_for_or_openmps(hone, model, records):
    for flags, threads in [([], 3), (["--threads", 2], 2)]:
        shown = hone.json("plan", "--model", model, "--data", records, *flags, env={"OMP_NUM_THREADS": "3"})
        assert shown["threads"] == threads


def test_data_show_json_has_the_fields_of_the_contract(hone, data, model, records):
    shown = hone.json_lines("data", "show", data, "--model", model)
    assert len(shown) == 40
    for number, sample in enumerate(shown):
        assert list(sample) == ["record", "sample", "source", "split", "ids", "mask", "text"]
        assert sample["record"] == sample["sample"] == number
        assert sample["source"] == records.name
        assert sample["split"] in ("train", "eval")
        assert len(sample["ids"]) == len(sample["mask"])
        assert sample["mask"][0] == 0 and set(sample["mask"]) == {0, 1}
        assert f"Item {number} is a loaf." in sample["text"]
    assert hone.json_lines("data", "show", data, "--model", model, "--record", "7") == [shown[7]]
    assert {s["split"] for s in hone.json_lines("data", "show", data, "--model", model, "--eval-fraction", "1")} == {"eval"}


def test_data_show_without_terminal_has_no_control_codes(hone, data, model):
    run = hone("data", "show", data, "--model", model, "--record", "0")
    assert "\033" not in run.stdout + run.stderr
    assert "⟦" in run.stdout


def on_terminal(command, env):
    """Standard output of a command whose streams are a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdout=child, stderr=child, env=env)
    os.close(child)
    text = b""
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(parent)
    assert process.wait() == 0
    return text.decode()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_data_show_on_terminal_colours_unless_no_color(hone, data, model, no_color):
    command = [hone.binary, "data", "show", os.fspath(data), "--model", os.fspath(model), "--record", "0"]
    text = on_terminal(command, {**os.environ, "TERM": "xterm", "NO_COLOR": no_color})
    assert ("\033[0;32" in text) == (no_color == "")


def test_data_add_reports_shape_and_duplicates(hone, records, tmp_path):
    path = tmp_path / "a.h5"
    first = hone.json("data", "add", path, records)
    assert (first["created"], first["records"], first["files"][0]["shape"]) == (True, 40, "question/answer")
    second = hone.json("data", "add", path, records)
    assert (second["created"], second["records"], second["files"][0]["duplicates"]) == (False, 40, 40)
    listed = hone.json("data", "list", path)
    assert listed["records"] == 40 and listed["ledger"][0]["count"] == 40


def test_tokenize_json_gives_ids_pieces_and_mask(hone, model, tmp_path):
    run = hone.json("tokenize", "--model", model, "--text", "a loaf")
    assert len(run["ids"]) == len(run["pieces"]) == len(run["mask"])
    assert "".join(run["pieces"]).endswith("a loaf")
    text = tmp_path / "text"
    text.write_text("a loaf")
    assert hone.json("tokenize", "--model", model, "--file", text) == run
    assert hone.json("tokenize", "--model", model, "--file", "-", text="a loaf") == run


def test_tokenize_messages_masks_the_assistant(hone, model, tmp_path):
    path = tmp_path / "m.json"
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "a loaf"}]
    for content in (messages, {"messages": messages}):
        path.write_text(json.dumps(content))
        run = hone.json("tokenize", "--model", model, "--messages", path)
        learned = "".join(p for p, m in zip(run["pieces"], run["mask"]) if m)
        assert "a loaf" in learned and "hello" not in learned
    path.write_text('[{"role": "user"}]')
    assert "message 0" in hone("tokenize", "--model", model, "--messages", path, status=1).stderr


def test_inspect_names_tensors_as_the_files_do(hone, model, fixtures):
    from safetensors import safe_open

    shown = hone.json("inspect", model)
    assert shown["kind"] == "safetensors"
    with safe_open(model / "model.safetensors", "np") as file:
        expected = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    assert {t["name"]: t["shape"] for t in shown["tensors"]} == expected
    assert shown["metadata"]["config.json"] == json.loads((model / "config.json").read_text())
    sharded = hone.json("inspect", fixtures / "models/sharded-bf16")
    assert len(sharded["files"]) == 5 and {t["dtype"] for t in sharded["tensors"]} == {"bf16"}
    assert hone.json("inspect", model / "adapter")["metadata"]["adapter_config.json"]["peft_type"] == "LORA"


def test_inspect_gguf_agrees_with_gguf_package(hone, fixtures):
    import gguf

    path = fixtures / "formats/kinds.gguf"
    shown = hone.json("inspect", path)
    reader = gguf.GGUFReader(path)
    assert [t["name"] for t in shown["tensors"]] == [t.name for t in reader.tensors]
    assert [t["dtype"] for t in shown["tensors"]] == [t.tensor_type.name.lower() for t in reader.tensors]
    assert [t["shape"] for t in shown["tensors"]] == [[int(n) for n in t.shape[::-1]] for t in reader.tensors]
    assert set(shown["metadata"]) == {k for k in reader.fields if not k.startswith("GGUF.")}


def test_inspect_foreign_file_is_refused(hone, model, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("hello")
    for foreign in [path, model / "tokenizer.json"]:
        said = hone("inspect", foreign, status=1).stderr
        assert f"{foreign}: not a kind of file that inspect reads: GGUF, safetensors" in said


def test_doctor_json_has_machine_and_models(hone):
    shown = hone.json("doctor")
    assert shown["cores"] >= 1 and shown["memory_bytes"] > 0
    small = shown["models"][0]
    assert small["name"] == "135M" and 134e6 < small["parameters"] < 136e6
    assert small["bytes_recompute"]["q8_0"] < small["bytes"]["q8_0"] < small["bytes"]["f32"]
    assert hone("doctor", env={"HONE_ISA": "nonsense"}, status=2).stderr


def test_doctor_says_whether_a_gpu_can_be_used(hone):
    cuda = hone.json("doctor")["cuda"]
    if cuda["built"] == 0:
        assert cuda["gpus"] == [] and "no CUDA" in cuda["why_not"]
        assert f"no GPU       {cuda['why_not']}" in hone("doctor").stdout
    else:
        assert cuda["gpus"] or cuda["why_not"]


def test_quiet_says_nothing(hone, records, tmp_path):
    run = hone("data", "add", tmp_path / "q.h5", records, "-q")
    assert run.stdout == run.stderr == ""


def test_closed_standard_output_is_an_error(hone, data):
    with open("/dev/full", "w") as full:
        run = subprocess.run([hone.binary, "data", "list", data], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1 and "standard output" in run.stderr


# --- a run ---


@pytest.fixture(scope="module")
def trained(hone, model, records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    options = ["steps=6", "batch_size=1", "seq_len=64", "eval_every=3", "checkpoint_every=2", "checkpoint_keep=2", "rank=2", "eval_fraction=0.3"]
    settings = [word for option in options for word in ("--set", option)]
    result = hone.json("train", "--model", model, "--data", records, "--out", folder, *settings)
    return folder, result


def test_train_json_ends_with_one_object(trained):
    folder, result = trained
    for key in ["run", "steps", "losses", "seconds", "peak_bytes", "files"]:
        assert key in result
    assert result["steps"] == 6
    for file in result["files"]:
        assert os.path.exists(file)


def test_train_json_ends_with_one_object_when_it_fails(hone, model, records, tmp_path):
    run = ["train", "--model", model, "--data", records, "--out", tmp_path / "run", "--json"]
    for status, wrong, message in [(1, ["--memory", "1M"], "needs"), (2, ["--rnk", "3"], "--rank")]:
        said = hone(*run, *wrong, "--set", "seq_len=64", status=status)
        (line,) = said.stdout.splitlines()
        failure = json.loads(line)
        assert failure["status"] == status and message in failure["error"] and failure["error"] in said.stderr
    assert " MiB may be taken" in hone(*run, "--memory", "1M", "--set", "seq_len=64", status=1).stderr


def test_profile_prints_a_table_and_leaves_a_trace(hone, model, records, tmp_path):
    settings = ["--steps", "6", "--set", "seq_len=64", "--set", "recompute=full"]
    run = hone("train", "--model", model, "--data", records, "--out", tmp_path / "run", "--profile", "--json", *settings)
    assert "where the time goes: 5 steps" in run.stderr
    for row in ["linear +48x80 ", "lora +48x16x80 ", "attention +4x2x12 ", "cross_entropy ", "optimizer ", "unaccounted ", "step "]:
        assert re.search("^" + row, run.stderr, re.M), row
    path = str(tmp_path / "run/profile.json")
    assert path in json.loads(run.stdout)["files"]
    with open(path) as file:
        events = [event for event in json.load(file)["traceEvents"] if event["ph"] == "X"]
    assert {event.get("cat") for event in events} == {None, "forward", "replay", "backward", "loop"}
    steps = [event for event in events if event["name"].startswith("step ")]
    assert [event["name"] for event in steps] == ["step 2", "step 3", "step 4"]
    inside = sum(event["dur"] for event in events if "cat" in event)
    assert 0.5 < inside / sum(event["dur"] for event in steps) <= 1


def test_finished_run_that_is_resumed_tells_its_speed(hone, trained, tmp_path):
    again = hone.json("train", "--resume", "--out", shutil.copytree(trained[0], tmp_path / "run"))
    assert again["steps"] == 6 and again["tokens_per_second"] > 0


def test_train_that_cannot_start_does_not_wait_for_the_hash_of_its_model(hone, model, tmp_path):
    base = tmp_path / "base.gguf"
    hone("export", "--model", model, "--out", base)
    os.truncate(base, 1 << 40)  # mostly a hole, which takes minutes to read
    refused = hone("train", "--model", base, "--data", "nowhere.jsonl", "--out", tmp_path / "run", status=1)
    assert "nowhere.jsonl: no such file" in refused.stderr


def test_eval_takes_from_the_run_what_is_not_given(hone, model, records, trained):
    measure = ["eval", "--model", model, "--adapter", trained[0], "--data", records, "--split", "eval"]
    fraction = next(line for line in (trained[0] / "run.yaml").read_text().splitlines() if "eval_fraction" in line).split()[1]
    assert float(fraction) != 0.1
    assert hone.json(*measure)["loss"] == hone.json(*measure, "--eval-fraction", fraction)["loss"]
    evals = [line for line in (trained[0] / "metrics.jsonl").read_text().splitlines() if "eval_loss" in line]
    assert hone.json(*measure)["tokens"] == json.loads(evals[-1])["eval_tokens"]


def test_run_folder_as_a_model_says_what_to_give(hone, records, trained):
    said = hone("eval", "--model", trained[0], "--data", records, status=2).stderr
    assert f"{trained[0]}: a run folder" in said and "--adapter" in said


def test_metrics_lines_have_the_fields_of_the_contract(trained):
    lines = [json.loads(line) for line in (trained[0] / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    fields = ["step", "loss", "lr", "grad_norm", "tokens", "supervised_tokens", "seconds", "tokens_per_second", "peak_bytes"]
    assert all(list(line) == fields for line in steps)
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 3, 6]


CRC32C = [0] * 256
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = (_c >> 1) ^ (0x82F63B78 if _c & 1 else 0)
    CRC32C[_i] = _c


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC32C[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def read_events(path):
    """The file's version and its (step, tag, value) scalars, every checksum compared."""
    data, at, scalars, version = path.read_bytes(), 0, [], None
    while at < len(data):
        (length, crc) = struct.unpack_from("<QI", data, at)
        assert crc == masked_crc(data[at : at + 8])
        event = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked_crc(event)
        at += length + 16
        content = dict(fields(event))
        version = content.get(3, version)
        if 5 in content:
            for number, value in fields(content[5]):
                assert number == 1
                scalar = dict(fields(value))
                scalars.append((content.get(2, 0), scalar[1].decode(), struct.unpack("<f", scalar[2])[0]))
    return version, scalars


def test_event_file_holds_the_metrics(trained):
    (path,) = trained[0].glob("events.out.tfevents.*")
    version, scalars = read_events(path)
    assert version == b"brain.Event:2"
    lines = [json.loads(line) for line in (trained[0] / "metrics.jsonl").read_text().splitlines()]
    names = {"loss": "train/loss", "lr": "train/lr", "grad_norm": "train/grad_norm", "eval_loss": "eval/loss"}
    for key, tag in names.items():
        expected = [(line["step"], line[key]) for line in lines if key in line]
        found = [(step, value) for step, name, value in scalars if name == tag]
        assert [s for s, _ in found] == [s for s, _ in expected]
        assert [v for _, v in found] == pytest.approx([v for _, v in expected], rel=1e-6)


def test_checkpoints_are_hdf5_that_h5py_reads(hone, trained):
    import h5py

    files = sorted((trained[0] / "checkpoints").iterdir())
    assert [f.name for f in files] == ["step-000004.h5", "step-000006.h5"]
    shown = hone.json("inspect", files[-1])
    assert shown["kind"] == "checkpoint" and shown["metadata"]["step"] == 6
    shapes = {}
    with h5py.File(files[-1]) as file:
        assert file.attrs["format"] == b"hone checkpoint" and file.attrs["step"] == 6
        file["tensors"].visititems(lambda n, x: shapes.update({n: list(x.shape)}) if hasattr(x, "shape") else None)
    assert {t["name"]: t["shape"] for t in shown["tensors"]} == shapes and shapes


def test_damaged_checkpoint_is_refused_by_name(hone, trained, tmp_path):
    source = trained[0] / "checkpoints/step-000006.h5"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes()[:-1000])
    assert f"{path}: " in hone("inspect", path, status=1).stderr


def test_report_is_one_page_without_anything_fetched(trained):
    page = (trained[0] / "report.html").read_text()
    assert "<svg" in page and "</html>" in page
    assert not re.search(r"https?:|<script|<link|src=|@import|url\(", page)


def test_interrupted_run_saves_and_exits_130_or_143(hone, model, records, tmp_path):
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = tmp_path / str(status)
        command = [hone.binary, "train", "--model", model, "--data", records, "--out", out, "--steps", "100000"]
        command += ["--batch-size", "1", "--seq-len", "64", "--set", "eval_fraction=0"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if line.startswith("step "):
                break
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == status, said
        assert "--resume" in said
        assert len(list((out / "checkpoints").glob("step-*.h5"))) == 1
