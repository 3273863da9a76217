"""What users of the existing pools suffer from: shown on those pools, and gone here.

``EZMPI_TEST_PEERS`` names a directory with the pools of the table below, each in a
directory of its own (`.ci/run` makes it).  Their rows say what was seen there:

- hang: the job had to be ended;
- success: exit code 0 though the script did not finish;
- wrong: an AssertionError of the scenario, and exit code 1.
"""

import os
from pathlib import Path

import pytest
from launch import launch, start

PEERS = os.environ.get("EZMPI_TEST_PEERS")
FOUND = {  # scenario: ezmpi 0.1.0, schwimmbad 0.4.2
    "exception": ("hang", "success"),
    "unpickling_of_a_task": ("hang", "success"),
    "pickling_of_a_result": ("hang", "success"),
    "exception_that_cannot_travel": ("hang", "success"),
    "exit_in_a_task": ("hang", "hang"),
    "interrupt_in_a_task": ("hang", "hang"),
    "next_map_after_an_interrupt": ("hang", "hang"),
    "map_after_close": ("hang", "hang"),
    "map_in_a_task": ("wrong", None),
    "ten_pools": ("hang", "hang"),
    "tasks_are_drawn_as_needed": ("wrong", "wrong"),
    "function_defined_later": (None, "success"),
    "class_stays_the_same": ("wrong", None),
    "own_messages": ("hang", "hang"),
    "idle_worker": ("wrong", "wrong"),
}
MODULES = {"ezmpi-0.1.0": "ezmpi", "schwimmbad": "schwimmbad"}
ROWS = [
    (scenario, peer, found)
    for scenario, row in FOUND.items()
    for peer, found in zip(MODULES, row)
    if found
]


def needs(scenario):
    if scenario == "own_messages":
        pytest.importorskip("mpi4py", reason="needs mpi4py")


@pytest.mark.parametrize("scenario", [*FOUND, "exit_code"])
def test_here_all_is_well(scenario):
    needs(scenario)
    result = launch("faults.py", 2, scenario)
    assert result.returncode == (3 if scenario == "exit_code" else 0), result
    assert "ok" in result.stdout.splitlines(), result
    assert result.left == [], result


def outcome(job, timeout):
    """What the module's documentation calls it."""
    try:
        result = job.finish(timeout)
    except pytest.fail.Exception as hung:
        assert "did not end" in str(hung)
        return "hang"
    if "ok" in result.stdout.splitlines():
        return "ok"
    if "AssertionError" in result.errors[0] and result.returncode != 0:
        return "wrong"
    return "success" if result.returncode == 0 else repr(result)


@pytest.mark.slow
@pytest.mark.skipif(not PEERS, reason="EZMPI_TEST_PEERS is not set")
@pytest.mark.parametrize(("scenario", "peer", "found"), ROWS)
def test_shown_on_a_peer(scenario, peer, found):
    path = str(Path(str(PEERS)) / peer)
    env = {"PYTHONPATH": path, "POOL": MODULES[peer]}
    with start("faults.py", 2, scenario, env=env) as job:
        assert outcome(job, timeout=4) == found
