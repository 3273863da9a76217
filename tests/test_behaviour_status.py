"""What each worker does: workers_status(), and the warning after EZMPI_STALL seconds."""

import re
import time

import pytest
from launch import check, launch, start

SAID = re.compile(
    r"ezmpi: rank (\d+) on \S+ has run (task (\d+)|a call) of task for [\d.]+ s, "
    r"since \d\d:\d\d:\d\d"
)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_status(ranks):
    check("status.py", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("how", ["map", "async", "call", "iterator"])
def test_a_stalled_task_is_warned_of_once(how, ranks):
    with start("stall.py", ranks, how, env={"EZMPI_STALL": "0.4"}) as job:
        deadline = time.monotonic() + 60
        while len(job.rank_stderr(0).splitlines()) < ranks - 1:
            assert time.monotonic() < deadline, job.rank_stderr(0)
            time.sleep(0.02)
        time.sleep(1)  # it is not said again
        (job.directory / "gate").touch()
        result = job.finish()
    assert result.returncode == 0 and "ok" in result.stdout, result
    found = [SAID.fullmatch(line) for line in result.errors[0].splitlines()]
    assert len(found) == ranks - 1 and all(found), result
    assert sorted(int(one.group(1)) for one in found) == list(range(1, ranks)), result
    if how != "call":
        numbers = sorted(int(one.group(3)) for one in found)
        assert numbers == list(range(ranks - 1)), result
    assert all(error == "" for error in result.errors[1:]), result


@pytest.mark.parametrize("patience", [None, "", "0", "3600"])
def test_without_it_nothing_is_said(patience):
    with start("stall.py", 3, "map", env={"EZMPI_STALL": patience}) as job:
        time.sleep(2)
        (job.directory / "gate").touch()
        result = job.finish()
    assert result.returncode == 0 and "ok" in result.stdout, result
    assert result.stderr == "", result


def test_short_tasks_are_not_stalled():
    """They are not one chunk, though a worker is busy all the time."""
    check("stall.py", 3, "short", env={"EZMPI_STALL": "5"})


@pytest.mark.parametrize("patience", ["soon", "-1", "nan", "inf"])
def test_a_wrong_number_is_an_error(patience):
    result = launch("stall.py", 3, "map", env={"EZMPI_STALL": patience})
    assert result.returncode != 0, result
    said = "ValueError: EZMPI_STALL must be the seconds after which"
    # of any rank: the launcher ends the others once the first has ended
    assert said in result.stderr and repr(patience) in result.stderr, result
    assert result.left == [] and result.seconds < 30, result
