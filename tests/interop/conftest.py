"""What the interop tests share: the program, the repository's fixtures and samples, and the shared test data.

Run by tools/test.sh, or by hand:  HONE_BIN=build/release/cli/hone .venv/bin/python -m pytest tests/interop
"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parents[2]


# A job in the background inherits an ignored SIGINT, which hone honours; programs started here take every signal.
for taken in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(taken, signal.default_int_handler)


class Files(LoadFileScheduling):
    """Files run side by side (pytest-xdist), but for two that prove a table of the README together."""

    def _split_scope(self, nodeid):
        return super()._split_scope(nodeid).replace("test_merge_types", "test_quantised")


def pytest_xdist_make_scheduler(config, log):
    return Files(config, log)


class Hone:
    """Runs the program and checks its exit status; a wrong one shows what it said."""

    def __init__(self, binary):
        self.binary = binary

    def __call__(self, *arguments, status=0, text="", timeout=300, cwd=ROOT, env=None):
        command = [self.binary, *map(os.fspath, map(_plain, arguments))]
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
        assert done.returncode == status, (
            f"{' '.join(command)}\nexit status {done.returncode}, not {status}\n{done.stderr[-4000:]}"
        )
        return done

    def json_lines(self, *arguments, **options):
        """The JSON objects on standard output, one a line."""
        return [json.loads(line) for line in self(*arguments, "--json", **options).stdout.splitlines() if line]

    def json(self, *arguments, **options):
        """The last JSON object on standard output."""
        return self.json_lines(*arguments, **options)[-1]


def _plain(argument):
    return argument if isinstance(argument, (str, os.PathLike)) else str(argument)


@pytest.fixture(scope="session")
def hone():
    binary = Path(os.environ.get("HONE_BIN", ROOT / "build/release/cli/hone"))
    if not binary.is_file():
        pytest.fail(f"no program at {binary}: build it, or name it in HONE_BIN")
    return Hone(os.fspath(binary.resolve()))


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def fixtures():
    """tests/fixtures: what the repository generates and keeps."""
    return ROOT / "tests/fixtures"


@pytest.fixture(scope="session")
def test_data():
    """The shared test data, $HONE_TEST_DATA. Without it a test is skipped, and fails where CI is set."""
    folder = os.environ.get("HONE_TEST_DATA")
    if folder:
        return Path(folder)
    if os.environ.get("CI"):
        pytest.fail("HONE_TEST_DATA must be set when CI is")
    pytest.skip("needs HONE_TEST_DATA")
