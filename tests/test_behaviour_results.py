"""What map returns, and when it calls back."""

import pytest
from launch import check

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_results_equal_a_serial_map(ranks):
    check("results.py", ranks)


@RANKS
def test_arrays(ranks):
    pytest.importorskip("numpy", reason="needs numpy")
    check("results_numpy.py", ranks)


@RANKS
def test_what_travels_without_pickle(ranks):
    check("results_plain.py", ranks)


@RANKS
def test_who_waits_behind_a_long_task_is_called_elsewhere(ranks):
    check("late.py", ranks)


@RANKS
def test_callback(ranks):
    check("callback.py", ranks)


@RANKS
def test_inside_a_task(ranks):
    check("inside_task.py", ranks)
