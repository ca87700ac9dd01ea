"""The example runs of configs/, cut short, and several of them unattended."""

import json
import os
import subprocess

import pytest

EXAMPLES = ["shop", "full", "scratch"]
MADE = {"shop": "adapter.gguf", "full": "model.gguf", "scratch": "model.gguf"}


def test_configs_all_listed(root):
    assert sorted(path.stem for path in (root / "configs").glob("*.yaml")) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_config_run_learns(hone, root, tmp_path, name):
    out = tmp_path / name
    result = hone.json("train", "--config", f"configs/{name}.yaml", "--out", out, "--steps", 12)
    assert result["steps"] == 12
    assert result["losses"]["last"] < result["losses"]["first"]
    assert (out / MADE[name]).is_file() and (out / "report.html").is_file()


def test_run_batch_one_fails_others_finish(hone, root, tmp_path):
    configs = []
    for name, change in (("first", {}), ("broken", {"data": "samples/none.jsonl"}), ("last", {"rank": "4"})):
        lines = (root / "configs/shop.yaml").read_text().split("\n")
        changes = {"out": os.fspath(tmp_path / name), "epochs": "1", **change}
        lines = [line for line in lines if line.split(":")[0] not in changes]
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join(lines + [f"{key}: {value}" for key, value in changes.items()]) + "\n")
        configs.append(os.fspath(path))
    run = subprocess.run(
        ["tools/run_batch.sh", tmp_path / "results.jsonl", *configs],
        cwd=root,
        env={**os.environ, "HONE_BIN": hone.binary},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 1, run.stderr
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [result["config"] for result in results] == configs
    assert [result["status"] for result in results] == [0, 1, 0]
    assert "samples/none.jsonl" in results[1]["result"]["error"] and results[1]["result"]["status"] == 1
    assert not (tmp_path / "broken").exists()
    for result in (results[0], results[2]):
        assert "error" not in result["result"]
        assert result["result"]["losses"]["last"] < result["result"]["losses"]["first"]
