"""Failures in place of results, and tasks that are run again."""

import pytest
from launch import check

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_failures_are_returned(ranks):
    check("on_error.py", ranks)


@RANKS
def test_failed_tasks_are_run_again(ranks):
    check("retries.py", ranks)
