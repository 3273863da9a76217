"""Tasks share no mutable object; changes of the callable's data reach the workers."""

import pytest
from launch import check

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_objects(ranks):
    """multiprocessing.Pool pickles a chunk as one: the tasks in it share objects."""
    check("sharing.py", ranks)


@RANKS
def test_arrays(ranks):
    pytest.importorskip("numpy", reason="needs numpy")
    check("sharing_numpy.py", ranks)
