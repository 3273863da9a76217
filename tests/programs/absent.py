"""One rank never comes to the pool; mpi4py has started MPI, so the others wait there."""

import time

from mpi4py import MPI

from ezmpi import MPIPool

if MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
    time.sleep(60)
print("waiting", flush=True)
MPIPool()
