"""A backend of joblib: `joblib.Parallel`, and scikit-learn, on MPI's workers."""

from __future__ import annotations

import collections
import copy
import os
import pickle
import threading
import weakref
from concurrent.futures import Future

import joblib
from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from ._shared import Shared
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

__all__ = ["register"]

_NAME = "ezmpi"
_PROCESS = os.getpid()  # a fork of it has no pool
_LARGE = 1 << 20  # bytes, as joblib's max_nbytes


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
    ValueError
        If there is only one MPI process.
    Exception
        As `MPIPool`.

    Notes
    -----
    ``joblib.parallel_config("ezmpi", pool=another)`` uses another pool for once.

    Examples
    --------
    >>> import joblib
    >>> import ezmpi.joblib
    >>> _ = ezmpi.joblib.register()
    >>> with joblib.parallel_config("ezmpi"):
    ...     joblib.Parallel()(joblib.delayed(pow)(n, 2) for n in range(4))
    [0, 1, 4, 9]
    """
    registered = MPIPool() if pool is None else pool

    def make(pool: Optional[MPIPool] = None, **options: Any) -> MPIPoolBackend:
        return MPIPoolBackend(registered if pool is None else pool, **options)

    joblib.register_parallel_backend(_NAME, make)
    return registered


class MPIPoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What joblib asks for; see its `ParallelBackendBase`. It prints the name."""

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_sharedmem = False
    uses_threads = False

    def __init__(
        self,
        pool: MPIPool,
        nesting_level: Optional[int] = None,
        inner_max_num_threads: Optional[int] = None,
    ) -> None:
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads
        )
        self.parallel: Any = None
        self._pool = pool
        self._at_once = 1
        self._large: Optional[int] = None
        self._call: Optional[_Call] = None

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        if os.getpid() != _PROCESS:
            return 1
        size: int = self._pool.size
        return max(size + 1 + n_jobs, 1) if n_jobs < 0 else min(n_jobs, size)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        max_nbytes: Optional[int] = _LARGE,
        mmap_mode: Optional[str] = "r",
        **others: Any,
    ) -> int:
        if "initializer" in others or "initargs" in others:
            raise TypeError("an initializer is given to MPIPool, and that to register")
        if os.getpid() != _PROCESS:  # another backend's, forked: no pool is there
            raise FallbackToBackend(SequentialBackend(self.nesting_level))
        if self.parallel is not parallel:  # several may be at work in parallel_config
            own = MPIPoolBackend(
                self._pool, self.nesting_level, self.inner_max_num_threads
            )
            own.parallel = parallel
            raise FallbackToBackend(own)
        self._at_once = self.effective_n_jobs(n_jobs)
        self._large = max_nbytes if mmap_mode == "r" else None
        return self._at_once

    def start_call(self) -> None:
        # joblib (1.6) leaves batches of a call that failed at once to the next one.
        left = getattr(self.parallel, "_ready_batches", None)
        while left is not None and not left.empty():
            left.get_nowait()
        self._call = _Call(self._pool, self._at_once, self._large)

    def submit(
        self, func: Any, callback: Optional[Callable[[Any], object]] = None
    ) -> Any:
        assert self._call is not None
        return self._call.submit(func, callback)

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: Any) -> Any:
        return out.result()

    def stop_call(self) -> None:
        if self._call is not None:
            self._call.end()
        self._call = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._call is not None:
            self._call.end()

    def terminate(self) -> None:
        self.reset_batch_stats()


class _Call:
    """One call of a `Parallel`: its batches, and what was shared for them."""

    def __init__(self, pool: MPIPool, at_once: int, large: Optional[int]) -> None:
        self._pool = pool
        self._lock = threading.Lock()  # not held while anything foreign is called
        self._free = at_once
        self._waiting: Deque[Tuple[Any, Any]] = collections.deque()
        self._begun: Dict[Future[Any], List[Shared]] = {}  # what they need is kept
        self._done: Deque[Tuple[Future[Any], Any]] = collections.deque()
        self._is_telling = False
        self._ended = False
        self._large = large
        self._seen: Dict[int, weakref.ref[Any]] = {}
        self._shared: Dict[int, Shared] = {}

    def submit(self, batch: Any, callback: Any) -> Any:
        with self._lock:
            if self._ended:
                return None
            if not self._free:  # n_jobs is less than there are workers
                self._waiting.append((batch, callback))
                return None
            self._free -= 1
        return self._begin(batch, callback)

    def _begin(self, batch: Any, callback: Any) -> Any:
        needed: List[Shared] = []
        try:
            future: Future[Any] = self._pool.submit(_run, self._packed(batch, needed))
        except Exception as error:  # in a callback nobody would hear of it
            future = Future()
            future.set_exception(error)
        with self._lock:
            self._begun[future] = needed

        def done(future: Future[Any]) -> None:
            self._done.append((future, callback))
            self._tell()

        future.add_done_callback(done)
        if self._ended:  # meanwhile
            future.cancel()
        return future

    def _tell(self) -> None:
        """Tell joblib of what is done, which then submits more, which may be done at
        once, and so on: one thread at a time, in a loop, since calls would nest."""
        while self._done:
            with self._lock:
                if self._is_telling:
                    return  # who is at it looks again
                self._is_telling = True
            try:
                while self._done:
                    self._tell_of(*self._done.popleft())
            finally:
                self._is_telling = False

    def _tell_of(self, future: Future[Any], callback: Any) -> None:
        if future.cancelled() or future.exception() is not None:
            self._take_no_more()  # joblib ends the call
        with self._lock:
            self._begun.pop(future, None)
            following = self._waiting.popleft() if self._waiting else None
            self._free += following is None
        if following is not None:
            self._begin(*following)
        if callback is not None:
            callback(future)

    def _take_no_more(self) -> None:
        with self._lock:
            self._ended = True
            self._waiting.clear()

    def end(self) -> None:
        """Cancel what no worker was given; let go of what was shared."""
        self._take_no_more()
        with self._lock:
            begun = list(self._begun)
        for future in begun:
            future.cancel()
        self._seen.clear()
        self._shared.clear()

    def _packed(self, batch: Any, needed: List[Shared]) -> Any:
        """The batch with large arguments packed; `needed` gets their handles."""
        if self._large is None:
            return batch

        def pack(value: Any) -> Any:
            return self._pack(value, needed)

        packed = copy.copy(batch)  # joblib's: by its __reduce__
        packed.items = [
            (function, tuple(map(pack, args)), {k: pack(v) for k, v in kwargs.items()})
            for function, args, kwargs in batch.items
        ]
        return packed

    def _pack(self, value: Any, needed: List[Shared]) -> Any:
        if _buffer_bytes(value) < (self._large or 0):
            return value
        key = id(value)
        if key not in self._shared:
            buffers: List[pickle.PickleBuffer] = []
            content = pickle.dumps(value, 5, buffer_callback=buffers.append), buffers
            seen = self._seen.get(key)
            if seen is None or seen() is not value:  # of many none may come again
                try:
                    self._seen[key] = weakref.ref(value, self._forget(key))
                except TypeError:  # a numpy.bytes_
                    pass
                return _Packed(content)
            shared = self._pool.share(content)
            shared._value = None  # it would keep the array
            self._shared[key] = shared
        needed.append(self._shared[key])
        return _Packed(self._shared[key])

    def _forget(self, key: int) -> Callable[[Any], None]:
        seen, shared = self._seen, self._shared

        def forget(reference: Any) -> None:
            if seen.get(key) is reference:
                del seen[key]
                shared.pop(key, None)

        return forget


def _buffer_bytes(value: Any) -> int:
    """Of arrays, sparse matrices and data frames of plain numbers; else -1."""
    if type(value).__module__.partition(".")[0] not in ("numpy", "pandas", "scipy"):
        return -1
    if hasattr(value, "dtypes") and hasattr(value, "columns"):
        if any(getattr(dtype, "hasobject", False) for dtype in value.dtypes):
            return -1
        return int(value.memory_usage(index=False).sum())
    array = value.data if hasattr(value, "tocoo") else value  # a sparse matrix
    if getattr(getattr(array, "dtype", None), "hasobject", False):
        return -1
    return int(getattr(array, "nbytes", -1))


class _Packed:
    """A large argument. Each task gets an object of its own, whose arrays are
    read-only, as joblib's memory maps: the buffers are the same for all."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def open(self) -> Any:
        content = self._content
        data, buffers = content.value if isinstance(content, Shared) else content
        views = [memoryview(buffer).toreadonly() for buffer in buffers]
        value = pickle.loads(data, buffers=views)
        if hasattr(value, "setflags"):  # one that was not contiguous is no view
            value.setflags(write=False)
        return value


def _open(value: Any) -> Any:
    return value.open() if isinstance(value, _Packed) else value


def _in_a_task(nesting_level: Optional[int] = None, **options: Any) -> Any:
    return SequentialBackend(nesting_level=nesting_level)


def _run(batch: Any) -> Any:
    """On a worker: what is in the batch."""
    joblib.register_parallel_backend(_NAME, _in_a_task)  # where a task asks for it
    batch.items = [
        (function, tuple(map(_open, args)), {k: _open(v) for k, v in kwargs.items()})
        for function, args, kwargs in batch.items
    ]
    return batch()
