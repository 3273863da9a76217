"""Pools on the two halves of a split communicator, at the same time."""

import sys
import time

from cases import case, check_works, raised
from mpi4py import MPI

from ezmpi import MPIPool


def where(x):
    time.sleep(0.002)
    return MPI.COMM_WORLD.Get_rank(), x


def check_half(comm, make):
    """Collective over the half; workers come back where the pool is in test_mode."""
    with make(comm) as pool:
        if pool.is_worker():
            return
        started = time.monotonic()
        for _ in range(5):
            result = pool.map(where, range(50))
            assert [x for _, x in result] == list(range(50))
            assert {rank % 2 for rank, _ in result} == {world.Get_rank() % 2}
            check_works(pool)
        print("half %d took %.2f s" % (color, time.monotonic() - started), flush=True)


world = MPI.COMM_WORLD
color = world.Get_rank() % 2
half = world.Split(color)

if "ending" in sys.argv:  # each half's workers end with their own master
    check_half(half, MPIPool)
    print("half ok", flush=True)
else:
    case("by communicator")
    check_half(half, lambda comm: MPIPool(comm, test_mode=True))
    case("by Fortran handle, again")
    check_half(half, lambda comm: MPIPool(comm.py2f(), test_mode=True))
    case("attributes")
    pool = MPIPool(half, test_mode=True)
    if pool.is_master():
        assert pool.comm == half, pool.comm
        assert pool.size == half.Get_size() - 1
    pool.close()
    case("freed by the user, and another one made")
    half.Free()
    half = world.Split(color)
    check_half(half, lambda comm: MPIPool(comm, test_mode=True))
    case("too small a communicator")
    error = raised(MPIPool, MPI.COMM_SELF)
    assert type(error) is ValueError and "only one MPI process" in str(error)
    error = raised(MPIPool, MPI.COMM_NULL)
    assert isinstance(error, (ValueError, TypeError, ImportError)), repr(error)
    for wrong in ("world", 1.5, object()):
        assert type(raised(MPIPool, wrong)) is TypeError
    case("the world")
    with MPIPool() as pool:
        check_works(pool)
        assert {rank for rank, _ in pool.map(where, range(100))} == pool.workers
    print("ok")
