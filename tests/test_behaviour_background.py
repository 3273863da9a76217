"""Jobs that go on while the master does something else, and what all workers share."""

import importlib.util
import sys

import pytest
from c_program import run_command
from launch import PROGRAMS, check, launch

RANKS = pytest.mark.parametrize("ranks", [2, 4])


@RANKS
def test_in_the_background(ranks):
    check("background.py", ranks)


@RANKS
def test_without_shared_memory(ranks):
    """There another thread's wake-up must end a sleep, too."""
    check("background.py", ranks, env={"EZMPI_SHARED_MEMORY": "0"})


@RANKS
@pytest.mark.parametrize("shared_memory", ["1", "0"])
def test_calls_sent_ahead(ranks, shared_memory):
    check("ahead.py", ranks, env={"EZMPI_SHARED_MEMORY": shared_memory})


def test_many_calls_of_several_threads():
    check("many_submits.py", 3, timeout=120)


@RANKS
def test_workers(ranks):
    has = importlib.util.find_spec("threadpoolctl") is not None
    check("workers.py", ranks, *(["threadpoolctl"] if has else []))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_comm_executor(ranks):
    check("comm_executor.py", ranks)


def test_comm_executor_without_a_launcher():
    output = run_command([sys.executable, str(PROGRAMS / "comm_executor.py")], 60)
    assert "ok" in output.splitlines()


@pytest.mark.parametrize("root", [0, 2])
def test_comm_executor_of_another_root(root):
    pytest.importorskip("mpi4py")
    check("comm_executor.py", 3, root)


@pytest.mark.parametrize(
    "how", "dropped in_iterable by_iterable forked shared windows stopped".split()
)
def test_results_one_by_one(how):
    check("iterators.py", 3, how)


@pytest.mark.parametrize(
    "how",
    "terminated_by_handler used_by_handler terminated_by_code terminated_while_drawn "
    "called_by_cancel waits_while_pickled nested made_by_handler".split(),
)
def test_the_users_code_uses_the_pool(how):
    check("reentry.py", 3, how)


@pytest.mark.parametrize(
    "how", "first_calls first_pools one_thread starving wake_ups".split()
)
def test_whose_turn_it_is(how):
    check("turns.py", 3, how)


@pytest.mark.parametrize(
    "how",
    "no_memory interrupted alarmed late freed initializers interrupted_ending cancelled "
    "handles".split(),
)
def test_nothing_is_lost(how):
    check("lost.py", 3, how)


@pytest.mark.parametrize(
    "how, code, printed",
    [
        ("pending", 0, "done 9"),
        ("map_async", 0, "done [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"),
        ("endless", 0, "first 0"),
        ("thread", 0, "sum 190"),
        ("exit_3", 3, "done 9"),
        ("error", 1, None),
        ("error_in_with", 1, None),
        ("interrupted", 130, None),
        ("exit_at_once", None, None),  # the launcher's own, where it kills others
        ("dropped", 0, "done 9"),
    ],
)
def test_at_exit(how, code, printed):
    """Nothing is lost, and nothing that has no end is waited for."""
    result = launch("at_exit.py", 3, how, timeout=20)
    assert result.returncode == code or (code is None and result.returncode), result
    assert printed is None or printed in result.stdout.splitlines(), result
    assert result.left == [], result
    assert result.seconds < 5, result


def test_at_exit_the_calls_of_a_second_thread_are_waited_for():
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("two_makers.py", 3)
