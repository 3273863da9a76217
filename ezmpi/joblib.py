"""A backend of joblib: `joblib.Parallel`, and scikit-learn, on MPI's workers."""

from __future__ import annotations

import copy

import joblib
import joblib._parallel_backends as backends

from ._shared import Shared
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from ._future import PoolFuture

__all__ = ["register"]

LARGE = 1_000_000  # bytes of an array that is sent once, as joblib's max_nbytes


def register(pool: Optional[MPIPool] = None) -> MPIPool:
    """Make "ezmpi" a backend of joblib.

    Every rank calls it: rank 0 goes on, the others serve until its process ends, and
    then end.

    Parameters
    ----------
    pool : MPIPool, optional
        The pool whose workers are to be used. Default: a new one.

    Returns
    -------
    MPIPool
        The pool, on rank 0.

    Raises
    ------
    Exception
        As `MPIPool`.

    Examples
    --------
    >>> import joblib
    >>> import ezmpi.joblib
    >>> _ = ezmpi.joblib.register()
    >>> with joblib.parallel_config("ezmpi"):
    ...     joblib.Parallel()(joblib.delayed(pow)(n, 2) for n in range(4))
    [0, 1, 4, 9]
    """
    used = MPIPool() if pool is None else pool

    def make(**kwargs: Any) -> _Backend:
        return _Backend(used, **kwargs)

    joblib.register_parallel_backend("ezmpi", make)
    return used


class _Backend(backends.AutoBatchingMixin, backends.ParallelBackendBase):  # type: ignore[misc]
    """What joblib asks for; see its `ParallelBackendBase`."""

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_sharedmem = False
    uses_threads = False

    def __init__(self, pool: MPIPool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pool = pool
        self._futures: List[PoolFuture] = []
        self._shared: Dict[int, Tuple[Any, Shared]] = {}  # by id; the array is kept

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        size: int = self._pool.size
        if n_jobs is None:
            return 1
        return max(size + 1 + n_jobs, 1) if n_jobs < 0 else min(n_jobs, size)

    def submit(
        self, func: Any, callback: Optional[Callable[[Any], object]] = None
    ) -> Any:
        batch = copy.copy(func)
        batch.items = [
            (function, self._send(args), self._send(kwargs))
            for function, args, kwargs in func.items
        ]
        future = self._pool.submit(_run, batch)
        self._futures.append(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: PoolFuture) -> Any:
        return out.result()

    def _send(self, arguments: Any) -> Any:
        """The same, with large arrays as handles on what the workers hold."""
        if isinstance(arguments, dict):
            return {key: self._handle(value) for key, value in arguments.items()}
        return tuple(self._handle(value) for value in arguments)

    def _handle(self, value: Any) -> Any:
        if getattr(value, "nbytes", 0) < LARGE or not hasattr(
            value, "__array_interface__"
        ):
            return value
        if id(value) not in self._shared:
            self._shared[id(value)] = value, self._pool.share(value)
        return self._shared[id(value)][1]

    def stop_call(self) -> None:
        self._futures.clear()
        self._shared.clear()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        for future in self._futures:
            future.cancel()
        self.stop_call()


def _run(batch: Any) -> Any:
    """On a worker: the batch, with what handles stand for."""
    batch.items = [
        (function, tuple(map(_value, args)), {k: _value(v) for k, v in kwargs.items()})
        for function, args, kwargs in batch.items
    ]
    return batch()


def _value(argument: Any) -> Any:
    if not isinstance(argument, Shared):
        return argument
    value = argument.value
    value.setflags(write=False)  # other tasks have it, too; as joblib's memory maps
    return value
