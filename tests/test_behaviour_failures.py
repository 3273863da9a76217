"""Exceptions in tasks, and in what brings tasks and results there and back."""

import sys

import pytest
from launch import check, launch

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_failures_are_raised_in_the_master(ranks):
    """ezmpi 0.1.0 hangs at the first of them, schwimmbad 0.4.2 ends with code 0."""
    check("failures.py", ranks)


@RANKS
def test_the_lowest_failure_is_raised(ranks):
    check("failures_lowest.py", ranks)


@pytest.mark.parametrize("ranks", [2, 4])
def test_an_uncaught_failure_shows_where_it_happened(ranks):
    """ezmpi 0.1.0 hangs, schwimmbad 0.4.2 ends with code 0."""
    result = launch("failure_uncaught.py", ranks)
    assert result.returncode == 1, result
    assert result.left == [], result
    text = result.errors[0]
    assert text.count("in culprit") == 1, result
    last = text.rstrip().splitlines()[-1]
    noted = sys.version_info >= (3, 11)
    assert last.startswith("Raised by task 3" if noted else "ValueError: deliberate"), (
        result
    )
    assert "direct cause" in text, result
    assert all(error == "" for error in result.errors[1:]), result
    assert result.seconds < 10, result
