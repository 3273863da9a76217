"""absent.py HOW -- one rank never comes to the pool where the others wait.

first: mpi4py has started MPI.  second: ezmpi has, for a pool that all ranks have left.
"""

import sys
import time

from ezmpi import MPIPool

if sys.argv[1] == "second":
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        pool.close()

from mpi4py import MPI  # noqa: E402

comm = MPI.COMM_WORLD.Dup()
if comm.rank == comm.size - 1:
    time.sleep(60)
print("waiting", flush=True)
MPIPool(comm)
