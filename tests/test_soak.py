"""Memory, descriptors, children and threads stay flat: a short run of soak.py.

Under a launcher, and as a local pool. docs/contributing.md says how to run it for long.
"""

import inspect
import os
import runpy
import subprocess
import sys
import threading

import pytest
from launch import PATIENCE, PROGRAMS, check

from ezmpi import MPIPool

# Above this glibc would give memory back at once, and the resident size would jump.
STEADY = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
}
MUCH = "--tasks", "1e6", "--maps", "3000"


def run_alone(*args):
    """Without mpiexec; what it printed, its exit code first."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "soak.py"), *args],
        env=dict(os.environ, **STEADY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=120 * PATIENCE,
    )
    return f"{done.returncode}\n{done.stdout}"


@pytest.mark.slow
def test_under_a_launcher():
    check("soak.py", 3, *MUCH, timeout=120, env=STEADY)


@pytest.mark.slow
def test_local():
    said = run_alone(*MUCH)
    assert said.startswith("0\n") and said.endswith("ok\n"), said


@pytest.mark.slow
def test_deaths():
    if "isolate" not in inspect.signature(MPIPool).parameters:
        said = run_alone("--deaths", "1")
        assert said.startswith("2\n") and "isolate=True" in said, said
        return
    check("soak.py", 3, "--deaths", "100", timeout=120, env=STEADY)


# ---- that growth would be found --------------------------------------------------

soak = runpy.run_path(str(PROGRAMS / "soak.py"))
FLAT = [{"master": (20.0, 9, 2, 2), "worker 1": (18.0, 8, 0, 1)}] * soak["POINTS"]


@pytest.mark.parametrize("index", range(4))
def test_growth_is_found(index):
    """In any quantity, of any process, once the warm-up is over; not within it."""
    grown = list(FLAT[0]["worker 1"])
    grown[index] += 3
    points = list(FLAT)
    points[0] = dict(FLAT[0], master=(26.0, 11, 4, 4))
    assert list(soak["find_growth"](points)) == []
    points[-1] = {"master": FLAT[0]["master"], "worker 1": tuple(grown)}
    (found,) = soak["find_growth"](points)
    assert found.startswith(f"worker 1: {grown[index]:g} {soak['QUANTITIES'][index]},")


def test_state():
    """What it says of a process is so."""
    before = soak["state_of"](os.getpid())
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    memory = b"x" * 10**8  # new: of the system, not of what was free here
    after = soak["state_of"](os.getpid())
    child.communicate(b"\n")
    end.set()
    thread.join()
    assert after[0] - before[0] > 0.9 * len(memory) / 1e6
    assert [b - a for a, b in zip(before[1:], after[1:])] == [1, 1, 1]
