"""The C library's exit(), as Fortran's STOP calls it, in a task."""

import ctypes
import sys

from ezmpi import MPIPool

with MPIPool() as pool:
    print("mapping", flush=True)
    pool.map(lambda code: ctypes.CDLL(None).exit(code), [int(sys.argv[1])])
    print("finished", flush=True)
