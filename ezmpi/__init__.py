"""A pool of MPI processes with the interfaces of Python's own pools and executors.

>>> from ezmpi import MPIPool  # start with: mpiexec -n 4 python script.py
"""

# Every rank waits for what is imported here, and typing, pickle.py, traceback, socket
# and the like would take several times as long as the package. typing is for type
# checkers, to whom TYPE_CHECKING is true; the rest is imported where a run needs it.

try:
    from . import _ezmpi  # noqa: F401
except ImportError as error:
    if error.name != __name__:  # it is there, but cannot be loaded
        raise
    raise ImportError(
        f"{__path__[0]} is not compiled for this Python. Start Python in another "
        "directory to import what is installed, or compile it here: pip install -e ."
    ) from None

from .errors import (
    CheckpointError,
    PoolClosedError,
    RemoteError,
    RemoteTraceback,
    TaskExit,
    TaskTimeout,
    TransportError,
    WorkerDied,
)
from .pool import MPIPool, Pool

__version__ = "1.0.0.dev0"

__all__ = [
    "AsyncResult",
    "BrokenPoolError",
    "CheckpointError",
    "JoblibPool",
    "MPIPool",
    "MultiPool",
    "Pool",
    "PoolClosedError",
    "PoolFuture",
    "RemoteError",
    "RemoteTraceback",
    "SerialPool",
    "Shared",
    "TaskExit",
    "TaskTimeout",
    "TimeoutError",
    "TransportError",
    "WorkerDied",
    "WorkerStatus",
    "__version__",
    "choose_pool",
]


# Made, or imported, when they are needed first.
_LATE = {
    "AsyncResult": "_future",
    "BrokenPoolError": "errors",
    "JoblibPool": "local",
    "MultiPool": "local",
    "PoolFuture": "_future",
    "SerialPool": "local",
    "Shared": "_shared",
    "TimeoutError": "errors",
    "WorkerStatus": "_status",
    "choose_pool": "local",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f".{_LATE[name]}", __name__), name)
