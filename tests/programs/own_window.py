"""Tasks that count in a window of rank 0, which moves only while rank 0 calls MPI."""

import numpy
from cases import case
from mpi4py import MPI

from ezmpi import MPIPool

counter = numpy.zeros(1, "i8")
window = MPI.Win.Create(counter, 8, comm=MPI.COMM_WORLD)


def count(number):
    before = numpy.zeros(1, "i8")
    window.Lock(0)
    window.Fetch_and_op(numpy.ones(1, "i8"), before, 0)
    window.Unlock(0)
    return int(before[0])


with MPIPool() as pool:
    case("the pool's own messages have found their way")
    for _ in range(3):
        pool.map(abs, range(100))
    case("a window of the master's")
    assert sorted(pool.map(count, range(20))) == list(range(20))
    print("ok")
