"""A call of MPI's fails: the error names it, and the job ends with a bad code."""

import os

import launch
import pytest
from c_program import HERE, run_command
from test_transport_c import mpicc

# Before the ranks have met; which of the calls; what the error names.
OPENING = [
    ("MPI_Get_library_version", 1, "MPI_Get_library_version"),
    ("MPI_Init_thread", 1, "MPI_Init_thread"),
    ("MPI_Comm_create_keyval", 1, "MPI_Comm_create_keyval"),
    ("MPI_Comm_set_attr", 1, "MPI_Comm_create_keyval"),
    ("MPI_Comm_get_attr", 1, "MPI_Comm_get_attr"),
    ("MPI_Comm_idup", 1, "MPI_Comm_idup"),
    ("MPI_Test", 1, "MPI_Comm_idup"),
    ("MPI_Comm_set_attr", 2, "MPI_Comm_set_attr"),
]
TALKING = ["MPI_Isend", "MPI_Improbe", "MPI_Get_count", "MPI_Imrecv"]


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    if mpicc() is None:
        pytest.skip("no mpicc")
    path = tmp_path_factory.mktemp("failing") / "failing_mpi.so"
    source = str(HERE / "failing_mpi.c")
    run_command([mpicc(), "-shared", "-fPIC", source, "-o", str(path)], 60)
    return path


@pytest.mark.parametrize("call, number, named", OPENING)
def test_no_pool_is_made(failing, call, number, named):
    check_fails(failing, "all", call, number, named)


# The first is made before MPI is there: of a process that ends so early MPICH's launcher
# does not tell the others.
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("call, number, named", OPENING[1:])
def test_one_rank_has_no_pool(failing, call, number, named, rank):
    """And does not wait in MPI_Finalize for those that wait for it."""
    check_fails(failing, rank, call, number, named)


@pytest.mark.parametrize("rank", [0, 1])
def test_it_tries_again(failing, rank):
    result = launch_failing(failing, rank, "MPI_Comm_idup", 1, "tries_again.py", "again")
    assert result.returncode == 0 and "ok" in result.stdout, result


def test_its_code_is_kept(failing):
    result = launch_failing(failing, 1, "MPI_Comm_idup", 1, "tries_again.py", "exit")
    assert result.returncode == 3, result
    assert "rank 1 has no pool where others may have one" in result.stderr, result


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("call", TALKING)
def test_a_call_of_one_rank(failing, call, rank):
    check_fails(failing, rank, call, 1, call)


def launch_failing(failing, rank, call, number, *program):
    preload = f"{failing}:{os.environ.get('LD_PRELOAD', '')}".rstrip(":")
    env = {
        "LD_PRELOAD": preload,
        "EZMPI_TEST_FAILS": f"{rank} {call} {number}",
        "EZMPI_SHARED_MEMORY": "0",  # all messages are MPI's
    }
    name, *args = program
    return launch.launch(name, 2, *args, env=env, timeout=30)


def check_fails(failing, rank, call, number, named):
    result = launch_failing(failing, rank, call, number, "short.py")
    assert result.returncode != 0, result
    assert f"TransportError: {named}: " in result.stderr, result
    assert result.left == [], result
