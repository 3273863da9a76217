"""The C library's exit(), as Fortran's STOP calls it, in a task."""

import ctypes
import sys

if "mpi4py" in sys.argv:
    from mpi4py import MPI  # noqa: F401  it starts MPI, and would end it

from ezmpi import MPIPool

with MPIPool() as pool:
    print("mapping", flush=True)
    pool.map(lambda code: ctypes.CDLL(None).exit(code), [int(sys.argv[1])])
    print("finished", flush=True)
