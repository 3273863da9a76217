"""A pool of MPI processes with the interface of `multiprocessing.Pool`'s map.

>>> from ezmpi import MPIPool  # start with: mpiexec -n 4 python script.py
"""

from .errors import (
    BrokenPoolError,
    PoolClosedError,
    RemoteError,
    RemoteTraceback,
    TaskExit,
    TransportError,
)
from .pool import MPIPool

__version__ = "1.0.0.dev0"

__all__ = [
    "BrokenPoolError",
    "MPIPool",
    "PoolClosedError",
    "RemoteError",
    "RemoteTraceback",
    "TaskExit",
    "TransportError",
    "__version__",
]
