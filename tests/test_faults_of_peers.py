"""What users of the existing pools suffer from: shown on those pools, and gone here.

``EZMPI_TEST_PEERS`` names a directory with the pools of the table below, each in a
directory of its own (`.ci/run` makes it).  Their rows say what was seen there:

- hang: the job had to be ended, some time after its pool was there;
- success: exit code 0 though the script did not finish;
- killed: MPICH ended the job with 9, because of a message that nobody received;
- wrong: an AssertionError of the scenario;
- mistaken: it took the tag of a message of the user's for a task's index;
- None: all is as it should be, or nobody looked.
"""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from launch import launch, mpi, start

PEERS = os.environ.get("EZMPI_TEST_PEERS")
LOST = "hang or success or killed"  # which, depends on who comes first
FOUND = {  # scenario: ezmpi 0.1.0, schwimmbad 0.4.2
    "exception": ("hang", "success"),
    "lowest_of_several_failures": ("hang", "success"),
    "uncaught_failure": ("hang", "success"),
    "unpickling_of_a_task": ("hang", "success"),
    "pickling_of_a_result": ("hang", "success"),
    "exception_that_cannot_travel": ("hang", "success"),
    "exit_in_a_task": ("hang", "hang"),
    "interrupt_in_a_task": ("hang", "hang"),
    "interrupt_not_caught": ("hang", "hang"),
    "interrupt_at_a_worker": ("hang", "hang"),
    "next_map_after_an_interrupt": ("hang", "hang"),
    "end_while_workers_are_busy": ("hang", "hang"),
    "map_after_close": (LOST, LOST),
    "map_in_a_task": ("wrong", None),
    "ten_pools": (LOST, LOST),
    "tasks_are_drawn_as_needed": ("wrong", "wrong"),
    "function_defined_later": (None, "success"),
    "constant_changed_later": ("wrong", "wrong"),
    "callable_changed_in_place": (None, None),
    "callable_is_sent_once": ("wrong", "wrong"),
    "class_stays_the_same": ("wrong", None),
    "enum_member_stays_the_same": ("hang", None),
    "own_messages": ("hang or mistaken", "hang or mistaken"),  # by who ends first
    "idle_worker": ("wrong", "wrong"),
    "waiting_master": ("wrong", "wrong"),
}
CODES = {  # of the scenarios that end otherwise than with 0 here
    "uncaught_failure": 1,
    "interrupt_not_caught": 130,
    "end_while_workers_are_busy": 1,  # a worker had to be ended
}
NOT_FINISHED = {"uncaught_failure", "interrupt_not_caught"}
ENDINGS = {"plain": 0, "exit": 3, "error": 1}
MODULES = {"ezmpi-0.1.0": "ezmpi", "schwimmbad": "schwimmbad"}
ROWS = [
    (scenario, peer, found)
    for scenario, row in FOUND.items()
    for peer, found in zip(MODULES, row)
    if found
]
HANG = 2.5  # seconds after the first pool was made; what works takes less than one
ENDS = 30  # the same, where no hang is looked for: the machine's own stalls are none
needs_peers = pytest.mark.skipif(not PEERS, reason="EZMPI_TEST_PEERS is not set")


def needs(scenario):
    if scenario == "own_messages":
        pytest.importorskip("mpi4py", reason="needs mpi4py")


@pytest.mark.parametrize("scenario", FOUND)
def test_here_all_is_well(scenario):
    needs(scenario)
    result = launch("faults.py", 2, scenario)
    assert result.returncode == CODES.get(scenario, 0), result
    finished = "ok" in result.stdout.splitlines()
    assert finished == (scenario not in NOT_FINISHED), result
    assert result.left == [], result


@pytest.mark.parametrize("where", ["ending_within", "ending_after"])
@pytest.mark.parametrize("how", ENDINGS)
def test_exit_code_here(where, how):
    result = launch("faults.py", 4, where, how)
    assert result.returncode == ENDINGS[how], result
    assert "ok" in result.stdout.splitlines(), result
    assert result.left == [], result


def at_peer(peer):
    return {"PYTHONPATH": str(Path(str(PEERS)) / peer), "POOL": MODULES[peer]}


def outcome(job, patience):
    """What the module's documentation calls it."""
    job.wait_for("begun")
    try:
        result = job.finish(timeout=time.monotonic() - job.started + patience)
    except pytest.fail.Exception as hung:
        assert "did not end" in str(hung)
        return "hang"
    if "ok" in result.stdout.splitlines():
        return "ok"
    if "AssertionError" in result.errors[0]:  # the exit code may be lost
        return "wrong"
    if "IndexError: list assignment index out of range" in result.errors[0]:
        return "mistaken"
    return {0: "success", 9: "killed"}.get(result.returncode, repr(result))


@pytest.mark.slow
@needs_peers
@pytest.mark.parametrize(("scenario", "peer", "found"), ROWS)
def test_shown_on_a_peer(scenario, peer, found):
    found = found.split(" or ")
    with start("faults.py", 2, scenario, env=at_peer(peer)) as job:
        assert outcome(job, HANG if "hang" in found else ENDS) in found


@pytest.mark.slow
@needs_peers
@pytest.mark.parametrize("peer", MODULES)
@pytest.mark.parametrize("where", ["ending_within", "ending_after"])
@pytest.mark.parametrize("how", ENDINGS)
def test_a_peers_exit_code_is_lost_now_and_then(where, how, peer):
    """They tell workers to stop at the end of ``with`` and once more at exit: MPICH 5
    ends the job with 9 when it comes to the second message, or with 0."""
    if mpi() != "mpich":
        pytest.skip("seen with MPICH")
    codes = set()
    for _ in range(25):
        codes.add(launch("faults.py", 4, where, how, env=at_peer(peer)).returncode)
        if codes - {ENDINGS[how]}:
            return
    raise AssertionError(codes)


def test_multiprocessing_pickles_a_chunk_as_one():
    """So results depend on chunksize, where a task changes what two tasks hold."""
    fork = multiprocessing.get_context("fork")
    shared = [1, 2]
    with fork.Pool(1) as pool:
        assert pool.map(list.pop, [shared, shared], 1) == [2, 2]
        assert pool.map(list.pop, [shared, shared], 2) == [2, 1]
