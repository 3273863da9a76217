"""A master that leaves the pool for a barrier while large answers are on their way."""

import time

from mpi4py import MPI

from ezmpi import MPIPool

SIZE = 3_000_000


def large(number):
    if number % 10 == 7:
        raise LookupError(number)
    return bytes(SIZE)


comm = MPI.COMM_WORLD
pool = MPIPool(test_mode=True)
for number in range(30):
    if pool.is_master():
        try:
            pool.map(large, range(5, 40))
        except LookupError as error:
            assert error.args == (7,), error
        else:
            raise AssertionError("nothing was raised")
        pool.close()
        if number % 3 == 0:
            time.sleep(0.01)
        comm.Barrier()
        pool = MPIPool(test_mode=True)
    else:
        comm.Barrier()
        pool.wait()
pool.close()
if pool.is_master():
    print("ok")
