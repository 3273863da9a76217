"""The engine over a fake transport, in one process, without MPI.

tests/programs/engine_over_fake.py is what runs; each scenario in a process of
its own, so that a crash or a hang is one failed test.
"""

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from c_program import HERE, compile_c, run_c, run_command
from launch import PATIENCE

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM = PROGRAMS / "engine_over_fake.py"
LOAD = PROGRAMS / "load_transport.py"
SCENARIOS = re.findall(r"@scenario\(.*\)\ndef (\w+)", PROGRAM.read_text())
SHARED = ("-shared", "-fPIC", "-fvisibility=default")


# Which of the plans of failing allocations are run, for the whole takes some minutes:
# every so-manieth from that number on, or "all".
MEMORY_SHARES = 16
MEMORY = os.environ.get("EZMPI_TEST_MEMORY")


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    library = tmp_path_factory.mktemp("fake") / "fake.so"
    return compile_c([HERE / "fake_transport.c"], library, *SHARED)


@pytest.fixture(scope="module")
def short_of_memory(tmp_path_factory):
    """The environment in which allocations may be made to fail."""
    before = os.environ.get("LD_PRELOAD", "")
    if "asan" in before:
        pytest.skip("a sanitizer's own allocator")
    if platform.libc_ver()[0] != "glibc" or sys.version_info[:2] != (3, 11):
        pytest.skip("seen with glibc and CPython 3.11, whose own faults are known")
    library = tmp_path_factory.mktemp("memory") / "failing_malloc.so"
    compile_c([HERE / "failing_malloc.c"], library, *SHARED)
    preload = f"{library}:{before}".rstrip(":")
    return dict(os.environ, PYTHONMALLOC="malloc", LD_PRELOAD=preload)


def run(*arguments):
    """Run Python with these arguments; the lines that it printed."""
    command = [sys.executable] + [str(argument) for argument in arguments]
    return run_command(command, 150).splitlines()


def test_fake_is_interrupted(tmp_path):
    assert run_c([HERE / "fake_test.c", HERE / "fake_transport.c"], tmp_path) == ""


def test_all_scenarios_are_found():
    assert "late_answers" in SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_failure(fake, scenario):
    assert run(PROGRAM, fake, scenario) == ["ok"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_call_fails_once(fake, scenario):
    """A right result or a TransportError, never a crash, a hang or a leak."""
    with ThreadPoolExecutor() as both:  # each is one process, which only computes
        runs = [both.submit(run, PROGRAM, fake, scenario, rank) for rank in (0, 1)]
    for rank, lines in enumerate(run.result() for run in runs):
        assert lines[-1] == "ok", rank
        # A second call's turn comes only after the first one has failed.
        for call in calls_that_fail(scenario, rank):
            assert f"{rank} {call} 2 0" in lines, call


def calls_that_fail(scenario, rank):
    calls = ["open", "send", "wait"]
    if scenario == "large":
        calls += ["flush", "take"]
        if rank == 1:  # the master's mailbox is closed by MPI's end
            calls.append("close")
    if scenario == "multicast" and rank == 0:
        calls.append("multicast")
    return calls


# Some 20 s for a share: the stage of CI that counts lines runs one.
@pytest.mark.skipif(MEMORY is None, reason="by hand: EZMPI_TEST_MEMORY")
def test_allocations_fail(fake, short_of_memory):
    """A right result, or an exception that says so; never a crash, or a hang."""
    share = ["0", "1"] if MEMORY == "all" else [MEMORY, str(MEMORY_SHARES)]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(fake), "all", "memory", *share],
        env=short_of_memory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600 if MEMORY == "all" else PATIENCE * 300,
        check=False,
    )
    print(done.stdout[-20000:])  # how many there were, and which share
    if "this Python has no symbols" in done.stdout:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, f"EZMPI_TEST_MEMORY={MEMORY}"
    assert done.stdout.endswith("ok\n")


def test_transport_of_another_version_is_refused(tmp_path):
    library = tmp_path / "old.so"
    flags = (*SHARED, "-DFAKE_VERSION=77")
    compile_c([HERE / "fake_transport.c"], library, *flags)
    (message,) = run(LOAD, library)
    assert "version 77" in message and "--no-deps . (in" in message


def test_library_without_the_symbol_is_refused(tmp_path):
    source, library = tmp_path / "empty.c", tmp_path / "empty.so"
    source.write_text("int unused;\n")
    compile_c([source], library, *SHARED)
    (message,) = run(LOAD, library)
    assert "ezmpi_transport" in message


def test_missing_library_is_refused(tmp_path):
    (message,) = run(LOAD, tmp_path / "missing.so")
    assert "missing.so" in message
