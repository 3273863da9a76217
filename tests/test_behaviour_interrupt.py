"""Ctrl-C: in the master, at the launcher, in a worker."""

import os
import signal
import time

import pytest
from launch import check, mpi, start

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


# Which processes get SIGINT: a terminal sends it to all in its foreground, often every
# rank; the launcher passes it on, or ends the job.
TO = pytest.mark.parametrize("to", ["master", "all", "launcher"])


def interrupt(job, to="master", busy=0.5):
    """Send SIGINT once the workers are busy; returns when."""
    job.wait_for("mapping")
    time.sleep(busy)
    sent = time.monotonic()
    if to == "all":
        (job.directory / "interrupt").touch()
    else:
        os.kill(job.pid(0) if to == "master" else job.launcher_pid, signal.SIGINT)
    return sent


def check_caught(mode, ranks, to="master", within=1.0):
    if to == "launcher" and mpi() != "mpich":
        pytest.skip("only MPICH's launcher leaves it to the ranks")
    with start("interrupt.py", ranks, mode) as job:
        sent = interrupt(job, to)
        job.wait_for("caught")
        seconds = time.monotonic() - sent
        result = job.finish(timeout=30)
    assert seconds < within, result
    assert result.returncode == 0, result
    assert "ok" in result.stdout.splitlines(), result
    assert result.stderr == "", result
    assert result.left == [], result


@TO
@RANKS
def test_caught_and_the_next_map_is_right(ranks, to):
    """ezmpi 0.1.0 and schwimmbad 0.4.2: the next map hangs."""
    check_caught("caught", ranks, to)


@pytest.mark.parametrize("to", ["master", "all"])
@pytest.mark.parametrize("ranks", [4, 8])
def test_a_busy_worker_does_not_hold_up_the_next_map(ranks, to):
    check_caught("some_busy", ranks, to)


@TO
@pytest.mark.parametrize("mode", ["in_generator", "in_callback"])
def test_in_the_users_own_code(mode, to):
    check_caught(mode, 3, to)


@TO
def test_handled_by_the_user(to):
    check_caught("handled", 3, to, within=10)


@pytest.mark.parametrize("to", ["master", "all"])
def test_twice(to):
    with start("interrupt.py", 3, "twice") as job:
        interrupt(job, to)
        deadline = time.monotonic() + 5
        while job.stdout().count("mapping") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        interrupt(job, to, busy=0.3)
        result = job.finish(timeout=30)
    assert result.returncode == 0 and "ok" in result.stdout, result
    assert result.stderr == "", result


@pytest.mark.parametrize("ranks", [2, 3])
def test_between_short_tasks_it_does_not_reach_the_next_map(ranks):
    check("interrupt_short.py", ranks)


@pytest.mark.parametrize(
    ("ranks", "how"), [(2, "with"), (4, "with"), (8, "with"), (4, "no_with")]
)
def test_not_caught(ranks, how):
    """ezmpi 0.1.0 and schwimmbad 0.4.2 hang, also when the tasks have ended."""
    with start("interrupt.py", ranks, "not_caught", how) as job:
        sent = interrupt(job)
        result = job.finish(timeout=30)
    assert job.started + result.seconds - sent < 5, result
    assert result.returncode != 0, result
    assert result.errors[0].count("\nKeyboardInterrupt") == 1, result
    assert all(not error for error in result.errors[1:]), result
    assert "ok" not in result.stdout.splitlines(), result
    assert result.left == [], result


@pytest.mark.parametrize("ranks", [2, 4])
def test_at_the_launcher(ranks):
    """What Ctrl-C at the terminal does: the launcher gets it, and the ranks perhaps."""
    with start("interrupt.py", ranks, "not_caught") as job:
        job.wait_for("mapping")
        time.sleep(0.5)
        sent = time.monotonic()
        os.kill(job.launcher_pid, signal.SIGINT)
        result = job.finish(timeout=30)
    assert job.started + result.seconds - sent < 5, result
    assert result.returncode != 0, result
    assert all(not error for error in result.errors[1:]), result
    assert result.left == [], result


@RANKS
def test_in_a_worker(ranks):
    """ezmpi 0.1.0 and schwimmbad 0.4.2: a worker that gets SIGINT is lost."""
    check("interrupt_worker.py", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_worker_gets_it_late(ranks):
    """In the next map, which the user did not interrupt."""
    check("interrupt_late.py", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
def test_while_the_account_of_a_failure_is_made(ranks):
    check("interrupt_failing.py", ranks)


@pytest.mark.parametrize(
    ("how", "rank", "code"), [("first", 0, 1), ("second", 0, 130), ("second", 1, 130)]
)
def test_while_waiting_for_a_rank_that_does_not_come(how, rank, code):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    with start("absent.py", 3, how) as job:
        job.wait_for("waiting\nwaiting")
        time.sleep(0.5)  # on the way there Ctrl-C is Python's, and MPI_Finalize waits
        sent = time.monotonic()
        job.signal(rank, signal.SIGINT)
        result = job.finish(timeout=30)
    assert job.started + result.seconds - sent < 5, result
    assert result.returncode == code and result.left == [], result
    assert result.errors[rank].count("\nKeyboardInterrupt") == 1, result
    said = "rank %d waited for other ranks to come to MPIPool()" % rank
    assert said in result.errors[rank], result
