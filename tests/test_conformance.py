"""Pools and executors behave as the standard library's: the same checks run on both.

What differs on purpose is listed, each with its reason, in tests/programs/conformance/
pool.py and executor.py. One check alone: its name behind the implementation's.
"""

import os
import signal
import subprocess
import sys

import pytest
from launch import PATIENCE, PROGRAMS, check

SECONDS = 120  # a check that hangs ends its program long before

POOL, EXECUTOR = "conformance_pool.py", "conformance_executor.py"
STANDARD = [(POOL, "multiprocessing"), (EXECUTOR, "concurrent.futures")]
OURS = [(program, name) for program in (POOL, EXECUTOR) for name in ("ezmpi", "mpipool")]


@pytest.mark.parametrize("program, implementation", STANDARD)
def test_standard_library(program, implementation, tmp_path):
    """The checks say what the standard library does, in this Python."""
    code, output = run(
        [sys.executable, str(PROGRAMS / program), implementation], tmp_path
    )
    assert code == 0 and output.endswith("\nok\n"), output


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("program, implementation", OURS)
def test_ours(program, implementation, ranks):
    check(program, ranks, implementation, timeout=SECONDS)


@pytest.mark.parametrize("program, implementation", STANDARD)
def test_a_check_that_fails_or_hangs_is_named(program, implementation, tmp_path):
    """A check that holds for ours alone fails here, and says so."""
    for name, sign in FAILING[implementation]:
        command = [sys.executable, str(PROGRAMS / program), implementation, name]
        code, output = run(command, tmp_path, EZMPI_TEST_PATIENCE="0.2")
        assert code == 1 and "case: " + name in output and sign in output, output
        assert "ok" not in output.splitlines(), output


FAILING = {
    "multiprocessing": [
        ("lambdas_travel", "multiprocessing fails: lambdas_travel"),
        ("a_failed_map_ends", "Timeout"),
    ],
    "concurrent.futures": [("starmap", "concurrent.futures fails: starmap")],
}


def run(command, directory, **env):
    """Run a program without MPI; what it started ends with it, whatever happens."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=str(directory),
        env=dict(os.environ, **env),
        start_new_session=True,
        universal_newlines=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS * PATIENCE)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    return process.returncode, output
