"""Names, attributes and conveniences; the initializer; the user's own messages."""

import pytest
from launch import check

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_api(ranks):
    check("api.py", ranks)


@RANKS
def test_initializer(ranks):
    check("initializer.py", ranks)


@RANKS
def test_the_users_own_messages(ranks):
    """schwimmbad 0.4.2 and ezmpi 0.1.0 work on the communicator itself, with its tags."""
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("own_messages.py", ranks)
