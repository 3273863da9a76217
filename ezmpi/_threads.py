"""How many threads numerical libraries use on a worker: `threads_per_worker`."""

from __future__ import annotations

import os

from . import _forks

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple, Union

# What libraries read when they are loaded; threadpoolctl reaches those that are.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_LOCAL_RANKS = (
    "MPI_LOCALNRANKS",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_NTASKS_PER_NODE",
)
_limits: List[Any] = []  # kept: they end with the object


def check(threads: Union[int, str]) -> None:
    """Raise on the master what would go wrong on the workers."""
    is_number = isinstance(threads, int) and not isinstance(threads, bool)
    if threads != "auto" and (not is_number or int(threads) < 1):
        raise ValueError(
            f'threads_per_worker must be an int, at least 1, or "auto", not {threads!r}'
        )
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        raise ImportError(
            "threads_per_worker needs threadpoolctl: pip install threadpoolctl"
        ) from None


def automatic() -> int:
    """The host's processors over its ranks; fewer where this rank is bound to fewer."""
    known = (int(os.environ[name]) for name in _LOCAL_RANKS if name in os.environ)
    ranks = _forks.siblings or next(known, 1)
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return max(1, min(mine, (os.cpu_count() or 1) // ranks))


def begin(
    threads: Union[int, str],
    initializer: Optional[Callable[..., object]],
    initargs: Tuple[Any, ...],
) -> None:
    """Set the limit, on a worker; then what the user's initializer does."""
    import threadpoolctl

    limit = automatic() if threads == "auto" else int(threads)
    for name in _VARIABLES:
        os.environ[name] = str(limit)
    _limits[:] = [threadpoolctl.threadpool_limits(limit)]
    if initializer is not None:
        initializer(*initargs)
