"""User code in a child of each worker, which may die: isolate=True."""

import pytest
from launch import check, launch

RANKS = pytest.mark.parametrize("ranks", [2, 4])
CASES = ["deaths", "retries", "state", "timeout", "large", "many"]
CASES += ["in_vain", "unpickled", "calls", "signals", "blamed", "pinned", "journal"]
CASES += ["orphans", "terminated", "unaccounted", "rebound"]


@RANKS
@pytest.mark.parametrize("case", CASES)
def test_isolated(ranks, case, tmp_path):
    check("isolated.py", ranks, case, str(tmp_path))


@pytest.mark.parametrize("ranks, how", [(2, "shared"), (2, "copied"), (3, "shared")])
def test_large_arrays(ranks, how, tmp_path):
    pytest.importorskip("numpy", reason="needs numpy")
    check("isolated_arrays.py", ranks, str(tmp_path), how)


def test_random_numbers(tmp_path):
    pytest.importorskip("numpy", reason="needs numpy")
    check("isolated.py", 3, "random_numbers", str(tmp_path))


def test_memory_of_the_rank(tmp_path):
    check("isolated.py", 2, "memory", str(tmp_path))


def test_no_memory_of_the_rank(tmp_path):
    result = launch("isolated.py", 2, "no_memory", str(tmp_path))
    assert result.returncode != 0 and result.left == [], result
    assert "no memory for 1006" in result.stderr, result
    assert "rank 1 cannot go on" in result.stderr, result


def test_what_a_rank_has_not_written_yet(tmp_path):
    env = {"PYTHONUNBUFFERED": ""}
    result = launch("isolated.py", 3, "said_before", str(tmp_path), env=env)
    assert result.returncode == 0, result
    assert result.stdout.count("said once") == 3, result


def test_a_handler_that_raises(tmp_path):
    result = launch("isolated.py", 3, "handlers", str(tmp_path))
    assert result.returncode == 0 and "ok" in result.stdout.splitlines(), result
    ignored = "Exception ignored in: \"a signal's handler, in a worker"
    assert result.stderr.count(ignored) == 3, result
    assert result.stderr.count("Traceback") == 3, result


def test_a_handler_that_raises_at_a_death(tmp_path):
    result = launch("isolated.py", 3, "handlers_and_death", str(tmp_path))
    assert result.returncode == 0 and "ok" in result.stdout.splitlines(), result


def test_what_tasks_leave_behind(tmp_path):
    check("isolated.py", 3, "left_behind", str(tmp_path))


def test_not_on_every_rank(tmp_path):
    check("isolated.py", 3, "elsewhere", str(tmp_path))


def test_by_environment(tmp_path):
    check("isolated.py", 3, "by_environment", str(tmp_path), env={"EZMPI_ISOLATE": "1"})
