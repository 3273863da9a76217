"""What fails, forks or is given up leaves the pool as it was."""

import pytest
from launch import check, launch

RANKS = pytest.mark.parametrize("ranks", [2, 4])


@RANKS
def test_a_failure_on_a_worker_is_not_for_ever(ranks):
    check("recovers.py", ranks)


@RANKS
def test_forked_children(ranks):
    check("forks.py", ranks)


@RANKS
def test_large_answers_that_nobody_takes_hold_up_no_worker(ranks):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("gone.py", ranks)


def test_a_spawned_child_that_imports_an_unguarded_script():
    result = launch("spawns.py", 2)
    assert result.returncode == 0 and "child: 1" in result.stdout, result
    assert 'guard its end with if __name__ == "__main__"' in result.errors[0], result
