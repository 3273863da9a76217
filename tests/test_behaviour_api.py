"""Names, attributes and conveniences; the initializer; the user's own messages."""

import subprocess
import sys
from pathlib import Path

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


@RANKS
def test_the_users_own_window(ranks):
    """MPI may move what it has only while it is called, by the master, too."""
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    # Open MPI's wheel says on stderr that this one of its components fails.
    check("own_window.py", ranks, env={"OMPI_MCA_osc": "^ucx"})


def modules(code):
    code += "; import sys; print(*sys.modules)"
    command, here = [sys.executable, "-c", code], Path(__file__).parent
    return set(subprocess.check_output(command, text=True, cwd=str(here)).split())


def test_import_brings_little():
    """Every rank waits for it, and these take several times as long as the package."""
    brought = modules("import ezmpi, ezmpi._pickling") - modules("pass")
    slow = {"ctypes", "dill", "numpy", "pickle", "re", "socket", "traceback", "typing"}
    assert not brought & slow
