"""Waiting costs next to nothing, and ends at once."""

import os

import pytest
from launch import PATIENCE, check


@pytest.mark.slow
@pytest.mark.skipif(PATIENCE != 1, reason="a sanitizer's own cost would be measured")
def test_waiting_is_quiet_and_the_answer_quick():
    """The existing pools wait in MPI_Recv or MPI_Probe, each on a whole core."""
    check("idle.py", min(3, os.cpu_count() or 1), 1)


@pytest.mark.parametrize("owner", ["", "mpi4py"])
def test_who_waits_is_quiet_and_not_deaf(owner):
    if owner:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("waiting.py", 2, owner)


@pytest.mark.slow
@pytest.mark.skipif(PATIENCE != 1, reason="a sanitizer's own cost would be measured")
@pytest.mark.parametrize("ranks", [3, 4 * (os.cpu_count() or 1)])
def test_with_more_ranks_than_processors(ranks):
    check("idle.py", ranks, 10)
