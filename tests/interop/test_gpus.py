"""Several GPUs, on emulated ones over a fake of NCCL between processes: N processes take the steps of one that accumulates N
times as much, however they are started; and when one is lost, all end."""

import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy
import pytest
import runs

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n"]
STEP = {"beta1": 0, "clip": 0, "checkpoint_every": 1, "checkpoint_keep": 99, "eval_every": 2, "template": "plain"}
LAUNCHERS = ["OMPI_COMM_WORLD", "PMI", "PMIX", "MPI_LOCAL", "SLURM", "PBS", "LSB", "HONE_JOB"]


class Program:
    """The program on emulated GPUs, and what it trains."""

    def __init__(self, binary, model, folder):
        self.binary, self.model, self.folder = binary, model, folder
        draw = random.Random(3)
        words = "harbour boat gull fish ice crate rope slate knot ferry cat scale tide mud crab stone net wind rain".split()
        rows = [{"text": " ".join(draw.choices(words, k=draw.randint(4, 9)))} for _ in range(24)]
        self.data = runs.write_jsonl(folder / "records.jsonl", rows)

    def command(self, out, *extra, steps=2, **sets):
        flags = ["--model", self.model, "--data", self.data, "--out", out, "--steps", steps, "--seq-len", 32, "--rank", 2]
        flags += ["--batch-size", 2, "--compute", "f32", *runs.settings(**{**STEP, **sets}), *extra]
        return [os.fspath(self.binary), "train", *map(str, flags)]

    @staticmethod
    def environment(gpus, **more):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(tuple(LAUNCHERS))}
        return {**clean, "OMP_NUM_THREADS": "1", "FAKE_GPUS": str(gpus), **more}

    def run(self, command, gpus=1, status=0, **more):
        done = subprocess.run(
            command, env=self.environment(gpus, **more), cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, done.stderr[-4000:]
        return done

    def start(self, command, gpus=2, **more):
        return subprocess.Popen(
            command, env=self.environment(gpus, **more), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def resumed(self, out):
        return [os.fspath(self.binary), "train", "--resume", "--out", str(out)]


@pytest.fixture(scope="module")
def program(root, fixtures, tmp_path_factory):
    binary = Path(os.environ.get("HONE_EMULATED_BIN", root / "build/release/tests/hone_on_emulator"))
    if not binary.is_file():
        assert "CI" not in os.environ or platform.machine() != "x86_64", f"no {binary}"
        pytest.skip("the tests were built without CUDA's headers")
    return Program(binary.resolve(), fixtures / "models/grouped-tied", tmp_path_factory.mktemp("gpus"))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def gradients(out, step=1):
    """Of a step of a run with beta1 = 0 and without clipping, whose first moments they are."""
    parts = {}
    with h5py.File(out / f"checkpoints/step-{step:06}.h5") as file:
        file["tensors/adam_m"].visititems(lambda name, item: parts.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return numpy.concatenate([parts[name][()].astype("f8").ravel() for name in sorted(parts)])


def losses(out):
    rows = runs.read_jsonl(out / "metrics.jsonl")
    return [row.get("loss", row.get("eval_loss")) for row in rows]


def result(out):
    return (out / "adapter/adapter_model.safetensors").read_bytes()


def apart(found, wanted):
    return numpy.linalg.norm(found - wanted) / numpy.linalg.norm(wanted)


def wait_for_step(process, out, step):
    path = out / "metrics.jsonl"
    for _ in range(1200):
        if path.exists() and len(re.findall(r'"loss"', path.read_text())) >= step:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("no step in a minute")


def children_of(process):
    """By number of their GPU: as they were started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


WAYS = {
    "factors": {"dropout": 0.1, "accumulation": 2},
    "recomputed": {"dropout": 0.1, "recompute": "full", "activations": "bf16"},
    "int8": {"compute": "int8"},
}


@pytest.mark.parametrize("gpus", [2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_one_gpu_that_accumulates_more(program, tmp_path, way, gpus):
    sets = {"accumulation": 1, "batch_size": 1, **WAYS[way]}
    more = {**sets, "accumulation": gpus * sets["accumulation"]}
    several, one = tmp_path / "several", tmp_path / "one"
    program.run(program.command(several, "--gpus", gpus, **sets), gpus)
    program.run(program.command(one, "--device", "cuda", **more))
    assert apart(gradients(several), gradients(one)) < 1e-6
    numpy.testing.assert_allclose(losses(several), losses(one), rtol=1e-6)


def test_gradients_of_fewer_rows_are_others(program, tmp_path):
    """What the tests above compare shows when a process's part is missing."""
    less, more = tmp_path / "less", tmp_path / "more"
    program.run(program.command(less, "--device", "cuda", steps=1))
    program.run(program.command(more, "--device", "cuda", steps=1, accumulation=2))
    assert apart(gradients(less), gradients(more)) > 1e-2


def test_all_parameters_are_trained_by_several(program, tmp_path):
    several, one = tmp_path / "several", tmp_path / "one"
    sets = {"full": "true", "batch_size": 1}
    program.run(program.command(several, "--gpus", 2, **sets), 2)
    program.run(program.command(one, "--device", "cuda", **sets, accumulation=2))
    assert apart(gradients(several), gradients(one)) < 1e-6
    numpy.testing.assert_allclose(losses(several), losses(one), rtol=1e-6)


def test_mpirun_gives_the_bits_of_gpus(program, tmp_path):
    assert shutil.which("mpirun"), "this test needs mpirun (openmpi-bin)"
    several, started = tmp_path / "several", tmp_path / "started"
    program.run(program.command(several, "--gpus", 2), 2)
    done = program.run([*MPIRUN, "2", *program.command(started, "--json")], 2)
    assert result(started) == result(several) and losses(started) == losses(several)
    assert len(done.stdout.splitlines()) == 1 and json.loads(done.stdout)["steps"] == 2
    assert done.stderr.count("step 2/2") == 1
    assert not list(started.glob(".group*"))
    recorded = (started / "run.yaml").read_text()
    assert '"processes": "2"' in recorded and '"rows_per_step": "4"' in recorded


def test_failure_under_mpirun_ends_all_with_its_cause(program, out):
    command = [*MPIRUN, "2", *program.command(out, steps=9)]
    done = program.run(command, 2, status=1, FAKE_NCCL_FAIL="1:30")
    assert re.search(r"^hone: process 1 of 2: after step 3 of 9; go on with: .*: NCCL: cannot sum over the GPUs: .*\(as told\)", done.stderr, re.M), done.stderr
    program.run([*MPIRUN, "2", *program.resumed(out)], 2)


ENVIRONMENTS = {
    "hydra": lambda r: {"PMI_RANK": r, "PMI_SIZE": 2, "MPI_LOCALRANKID": r, "MPI_LOCALNRANKS": 2},
    "hydra on machines of a batch system": lambda r: {"PMI_RANK": r, "PMI_SIZE": 2, "MPI_LOCALRANKID": r, "PBS_JOBID": "7.a"},
    "srun": lambda r: {
        "SLURM_PROCID": r,
        "SLURM_LOCALID": r,
        "SLURM_STEP_NUM_TASKS": 2,
        "SLURM_NTASKS": 2,
        "SLURM_JOB_ID": 81,
        "SLURM_STEP_ID": 0,
    },
    "Open MPI": lambda r: {
        "OMPI_COMM_WORLD_RANK": r,
        "OMPI_COMM_WORLD_SIZE": 2,
        "OMPI_COMM_WORLD_LOCAL_RANK": r,
        "PMIX_NAMESPACE": "5",
    },
}


def launched(program, command, name, **more):
    """The two processes of a launcher."""
    variables = [{key: str(value) for key, value in ENVIRONMENTS[name](rank).items()} for rank in range(2)]
    return [program.start(command, **{**own, **more}) for own in variables]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_processes_of_a_launcher_find_each_other(program, out, name):
    out.mkdir()
    (out / ".group-of-another-start").write_bytes(b"x" * 128)
    started = launched(program, [*program.resumed(out), *program.command(out)[2:]], name)
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "done: 2 steps" in said[0][1] and said[1] == ("", "")
    assert [path.name for path in out.glob(".group*")] == [".group-of-another-start"]


@pytest.mark.parametrize(
    "variables",
    [
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
        {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "81"},  # a script of sbatch
    ],
)
def test_process_that_a_launcher_started_alone_is_alone(program, out, variables):
    program.run(program.command(out, steps=1), **variables)
    assert '"processes": "1"' in (out / "run.yaml").read_text()


def test_start_that_nothing_names_is_refused(program, out):
    hydra = {"PMI_RANK": "0", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
    assert "HONE_JOB" in program.run(program.command(out), 2, status=2, **hydra).stderr


@pytest.mark.parametrize("extra, message", [(["--gpus", 2], "leave --gpus out"), (["--device", "cpu"], "leave --device cpu out")])
def test_options_that_contradict_a_launcher_are_refused(program, out, extra, message):
    done = program.run(program.command(out, *extra), 2, status=2, OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="2",
                       OMPI_COMM_WORLD_LOCAL_RANK="0", PMIX_NAMESPACE="5")
    assert message in done.stderr


def test_more_gpus_than_there_are_are_refused(program, out):
    done = program.run(program.command(out, "--gpus", 4), 2, status=2)
    assert done.stderr.splitlines() == [
        "hone: 4 GPUs are asked for on this machine, and CUDA counts 2: ask for fewer, or see nvidia-smi and CUDA_VISIBLE_DEVICES"
    ]
    assert not out.exists()


def test_build_without_cuda_refuses_gpus(hone, program, out):
    done = hone(*program.command(out, "--gpus", 2)[1:], status=2)
    assert "this build of hone has no CUDA" in done.stderr and not out.exists()


def test_rows_that_do_not_reach_all_gpus_are_refused(program, out):
    few = runs.write_jsonl(program.folder / "few.jsonl", [{"text": "a gull"}] * 3)
    done = program.run(program.command(out, "--gpus", 4, "--data", few, eval_fraction=0), 4, status=1)
    assert "less than one for each of 4 GPUs" in done.stderr and not out.exists()


def test_failure_of_all_is_told_once(program, out):
    done = program.run(program.command(out, "--gpus", 2, "--model", "/no/such"), 2, status=1)
    assert len(done.stderr.splitlines()) == 1 and not out.exists()


def test_json_has_one_object_also_for_a_failure(program, out):
    done = program.run(program.command(out, "--gpus", 2, "--json"), 2)
    assert json.loads(done.stdout)["steps"] == 2
    done = program.run(program.command(out, "--gpus", 2, "--json"), 2, status=2)
    assert "exists already" in json.loads(done.stdout)["error"]


def test_signal_stops_all_after_the_same_step_and_resume_goes_on(program, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sets = {"steps": 6, "beta1": 0.9, "dropout": 0.1, "early_stop": 9}
    program.run(program.command(whole, "--gpus", 2, **sets), 2)
    process = program.start(program.command(parts, "--gpus", 2, **sets))
    wait_for_step(process, parts, 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.count("finishing this step") == 1 and len(re.findall(r"stopped after step \d of 6, saved", said)) == 1
    assert "resumed from step" in program.run(program.resumed(parts), 2).stderr
    assert result(parts) == result(whole) and losses(parts) == losses(whole)


def test_resume_by_another_number_of_processes_is_refused(program, out):
    program.run(program.command(out, "--gpus", 2), 2)
    for gpus in [0, 3]:
        done = program.run([*program.resumed(out), "--gpus", str(gpus)], 3, status=2)
        assert "begun by 2 processes" in done.stderr


@pytest.mark.parametrize("lost, more", [(0, {}), (1, {}), (1, {"FAKE_NCCL_DEAF": "1"})])
def test_killed_process_ends_all_and_the_run_goes_on_from_its_checkpoint(program, tmp_path, lost, more):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    program.run(program.command(whole, "--gpus", 2, steps=8), 2)
    process = program.start(program.command(parts, "--gpus", 2, steps=8), **more)
    wait_for_step(process, parts, 3)
    children = children_of(process)
    os.kill(children[lost], signal.SIGKILL)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert re.search(rf"hone: GPU {lost}: its process was ended by signal 9 \(Killed\).*the checkpoint of step \d is kept", said)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    program.run(program.resumed(parts), 2)
    assert result(parts) == result(whole)


def test_children_end_with_the_process_that_was_started(program, out):
    process = program.start(program.command(out, "--gpus", 2, steps=50))
    wait_for_step(process, out, 1)
    children = children_of(process)
    process.kill()
    process.communicate(timeout=20)
    for _ in range(100):
        left = [child for child in children if Path(f"/proc/{child}/exe").exists()]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(f"{left} are still there")


@pytest.mark.parametrize("fail, message", [("1:0", "could not meet all others"), ("1:30", "cannot sum over the GPUs")])
def test_failure_of_nccl_ends_all_with_its_cause(program, out, fail, message):
    done = program.run(program.command(out, "--gpus", 2, steps=9), 2, status=1, FAKE_NCCL_FAIL=fail)
    assert re.search(rf"hone: GPU 1: (after step 3 of 9; go on with: .*: )?NCCL: .*{message}.*: unhandled system error \(as told\)", done.stderr), done.stderr
    assert "Traceback" not in done.stderr and len(re.findall("^hone: ", done.stderr, re.M)) == 1
    assert out.exists() == (fail == "1:30")


@pytest.mark.parametrize("faulty", [0, 1])
def test_gpu_that_fails_is_named(program, out, faulty):
    done = program.run(program.command(out, "--gpus", 2), 2, status=1, FAKE_FAULTY_GPU=str(faulty))
    assert re.fullmatch(rf"hone: GPU {faulty}: CUDA: cannot use the GPU.*hardware had a fault.*\n", done.stderr), done.stderr
    assert not out.exists()


def test_plan_counts_the_rows_of_all(program):
    command = program.command("unused", "--gpus", 2)
    command[1] = "plan"
    command = [part for i, part in enumerate(command) if "--out" not in command[max(0, i - 1) : i + 1]]
    shown = program.run(command, 2).stdout
    assert "of 4 rows of 32 tokens" in shown and re.search(r"^GPUs +2", shown, re.M)
