"""Exit hooks that were registered before the pool was made still have it, and MPI.

An argument, before or after: when mpi4py is imported; none: not at all.
"""

import atexit
import sys

from cases import check_works

from ezmpi import MPIPool


@atexit.register
def last_hook():
    """On every rank; a worker has no pool."""
    if "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI

        assert MPI.Is_initialized() and not MPI.Is_finalized()
        MPI.COMM_SELF.Dup().Free()
    if pool is not None:
        check_works(pool)
        print("ok")


if "before" in sys.argv:
    from mpi4py import MPI  # noqa: F401
pool = None
pool = MPIPool()
if "after" in sys.argv:
    from mpi4py import MPI  # noqa: F401
check_works(pool)
