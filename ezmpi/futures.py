"""Executors on MPI, which pass for those of `mpi4py.futures`.

>>> from ezmpi.futures import MPIPoolExecutor  # mpiexec -n 4 python script.py
"""

from __future__ import annotations

import time
from concurrent.futures import (  # noqa: F401
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    TimeoutError,
    as_completed,
    wait,
)

from . import _mpi
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, Iterable, Iterator, Optional, Type

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "MPICommExecutor",
    "MPIPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
]

_MOST = 1 << 62  # tasks, whatever is asked for

# What mpi4py's executors take to start processes. Here mpiexec has started them.
_OF_SPAWNING = {
    "backoff",
    "env",
    "globals",
    "main",
    "max_pickle5_size",
    "max_tasks_per_child",  # this and mp_context are ProcessPoolExecutor's
    "mp_context",
    "mpi_info",
    "path",
    "python_args",
    "python_exe",
    "use_pkl5",
    "wdir",
}


class MPIPoolExecutor(Executor):
    """A `concurrent.futures.Executor` whose workers are MPI processes.

    Every rank makes it, as an `MPIPool`: rank 0 goes on, the others serve until its
    process ends, and then end.

    Parameters
    ----------
    max_workers : int, optional
        Not used: there are as many workers as mpiexec started, but for rank 0.
    initializer : callable, optional
        Called once on each worker, before its first task.
    initargs : iterable, optional
        The arguments of `initializer`.
    **kwargs
        ``comm``, ``use_dill``, ``threads_per_worker``, ``retries``, ``retry_on``,
        ``isolate`` and ``task_timeout`` as of `MPIPool`. What mpi4py's executors, or
        `ProcessPoolExecutor`, take to start processes is not used.

    Raises
    ------
    TypeError
        If there is another keyword.
    ValueError
        If `max_workers` is below 1, or there is only one MPI process.
    Exception
        As `MPIPool`.

    Examples
    --------
    >>> from ezmpi.futures import MPIPoolExecutor
    >>> with MPIPoolExecutor() as executor:
    ...     print(executor.submit(pow, 2, 3).result())
    ...     print(list(executor.map(abs, [-1, 2, -3])))
    8
    [1, 2, 3]
    """

    def __init__(
        self,
        max_workers: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        options = {k: v for k, v in kwargs.items() if k not in _OF_SPAWNING}
        self._pool: Any = MPIPool(initializer=initializer, initargs=initargs, **options)

    @property
    def num_workers(self) -> int:
        """Number of workers.

        Returns
        -------
        int
            The communicator's processes, but for rank 0; 0 after `shutdown`, and
            when `initializer` has failed.

        Examples
        --------
        >>> executor.num_workers == pool.size
        True
        """
        return 0 if self._pool.closed or self._pool._broken else int(self._pool.size)

    @property
    def _max_workers(self) -> int:  # where concurrent.futures keeps it
        return int(self._pool.size)

    def bootup(self, wait: bool = True) -> MPIPoolExecutor:
        """Do nothing: the workers serve already.

        Parameters
        ----------
        wait : bool, optional
            Not used.

        Returns
        -------
        MPIPoolExecutor
            The executor itself.

        Raises
        ------
        RuntimeError
            After `shutdown`.

        Examples
        --------
        >>> executor.bootup() is executor
        True
        """
        if self._pool.closed:
            raise RuntimeError("cannot bootup after shutdown")
        return self

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``fn(*args, **kwargs)`` called on a worker: `MPIPool.submit`.

        Parameters
        ----------
        fn : callable
            What to call.
        *args, **kwargs
            Its arguments; pickled before this returns.

        Returns
        -------
        concurrent.futures.Future
            It can be cancelled until a worker is given the call. What pickling the
            function or its arguments raised counts as what the call raised.

        Raises
        ------
        RuntimeError
            After `shutdown`.

        Examples
        --------
        >>> executor.submit(pow, 2, 3).result()
        8
        """
        future: Future[Any] = self._pool.submit(fn, *args, **kwargs)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: Optional[int] = 1,
        buffersize: Optional[int] = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Call ``fn`` with an item of each iterable, until the shortest ends.

        Work begins at once. The iterables are drawn from as workers need tasks, at most
        a thousand for each worker ahead of what was taken: they may be without end.

        Parameters
        ----------
        fn : callable
            Takes one item of each iterable.
        *iterables : iterable
            Its arguments.
        timeout : float, optional
            Seconds from this call on in which results have to come. Default: no limit.
        chunksize : int or None, optional
            Tasks sent in one message, at least 1. None: as many as run for about 0.1 ms,
            as of `MPIPool.imap`, which for short tasks is several times as fast.
        buffersize : int, optional
            How many tasks are drawn ahead of what was taken, at most. Default: a
            thousand for each worker.
        unordered : bool, optional
            Whether to give each result as it comes.

        Returns
        -------
        iterator
            Of the results.

        Raises
        ------
        TimeoutError
            From the iterator, if a result does not come in time.
        Exception
            From the iterator, what the task raised that is next; then it has ended,
            and what was not begun is not begun.
        RuntimeError
            After `shutdown`.
        TypeError, ValueError
            If an argument is not of its kind, or a number below 1.

        Examples
        --------
        >>> list(executor.map(pow, [2, 3], [3, 2]))
        [8, 9]
        """
        if len(iterables) == 1:
            return self._results(
                fn, iterables[0], False, timeout, chunksize, buffersize, unordered
            )
        tasks: Iterable[Any] = zip(*iterables)
        if all(hasattr(iterable, "__len__") for iterable in iterables):
            tasks = list(tasks)
        return self._results(fn, tasks, True, timeout, chunksize, buffersize, unordered)

    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        timeout: Optional[float] = None,
        chunksize: Optional[int] = 1,
        buffersize: Optional[int] = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Call ``fn(*task)`` for every task.

        Parameters
        ----------
        fn : callable
            Takes what a task holds.
        iterable : iterable of iterables
            The tasks.
        timeout : float, optional
            As of `map`.
        chunksize : int or None, optional
            As of `map`.
        buffersize : int, optional
            As of `map`.
        unordered : bool, optional
            As of `map`.

        Returns
        -------
        iterator
            As of `map`.

        Raises
        ------
        Exception
            As `map`.

        Examples
        --------
        >>> list(executor.starmap(pow, [(2, 3), (3, 2)]))
        [8, 9]
        """
        return self._results(
            fn, iterable, True, timeout, chunksize, buffersize, unordered
        )

    def _results(
        self,
        fn: Callable[..., Any],
        tasks: Iterable[Any],
        star: bool,
        timeout: Optional[float],
        chunksize: Optional[int],
        buffersize: Optional[int],
        unordered: bool,
    ) -> Iterator[Any]:
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        window = min(buffersize, _MOST) if buffersize else self._pool._window
        results = self._pool._iterate(fn, tasks, star, unordered, chunksize, window, None)
        end = None if timeout is None else time.monotonic() + timeout
        return _until(results, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls: `MPIPool.shutdown`.

        Parameters
        ----------
        wait : bool, optional
            Whether to wait until all that was begun is done.
        cancel_futures : bool, optional
            Whether to cancel the calls that no worker was given.

        Examples
        --------
        >>> executor.shutdown()
        """
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _until(results: Any, end: Optional[float]) -> Iterator[Any]:
    """The results that come until then; the first failure is the last."""
    try:
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            yield results.next(left)  # no name keeps it
    except StopIteration:
        return
    finally:
        results.close()


class _ProcessItself(MPIPoolExecutor):
    """The executor of a communicator of one process: a thread of it runs the calls."""

    def __init__(
        self,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        self._threads = ThreadPoolExecutor(1, "ezmpi", initializer, tuple(initargs))
        self._closed = False

    @property
    def num_workers(self) -> int:
        return 0 if self._closed else 1

    @property
    def _max_workers(self) -> int:
        return 1

    def bootup(self, wait: bool = True) -> MPIPoolExecutor:
        if self._closed:
            raise RuntimeError("cannot bootup after shutdown")
        return self

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(fn, *args, **kwargs)

    def _results(
        self,
        fn: Callable[..., Any],
        tasks: Iterable[Any],
        star: bool,
        timeout: Optional[float],
        chunksize: Optional[int],
        buffersize: Optional[int],
        unordered: bool,
    ) -> Iterator[Any]:
        columns = list(zip(*tasks)) if star else [list(tasks)]
        return self._threads.map(fn, *columns, timeout=timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True
        if cancel_futures:  # ThreadPoolExecutor has it since Python 3.9
            _cancel_queued(self._threads)
        self._threads.shutdown(wait)


def _cancel_queued(executor: Any) -> None:
    import queue

    while True:
        try:
            item = executor._work_queue.get_nowait()
        except queue.Empty:
            return
        if item is not None:
            item.future.cancel()


class MPICommExecutor:
    """A context manager that gives the root an executor on the other processes.

    Every process of the communicator enters it. The root gets an `MPIPoolExecutor`; the
    others get None when the root's ``with`` block has ended, and all go on behind it.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or int, optional
        The communicator. Default: the world.
    root : int, optional
        The rank that gets the executor; another than 0 needs mpi4py's communicator.
    **kwargs
        As of `MPIPoolExecutor`.

    Raises
    ------
    ValueError
        If there is no such rank.
    Exception
        As `MPIPoolExecutor`; but a communicator of one process is enough: its executor
        runs the calls in the process itself.

    Examples
    --------
    >>> from ezmpi.futures import MPICommExecutor
    >>> with MPICommExecutor() as executor:
    ...     if executor is not None:
    ...         print(list(executor.map(abs, [-1, 2, -3])))
    [1, 2, 3]
    """

    def __init__(self, comm: Any = None, root: int = 0, **kwargs: Any) -> None:
        if hasattr(comm, "Is_inter") and comm.Is_inter():
            raise ValueError("Expecting an intracommunicator")
        if root > 0 and comm is None:
            comm = _mpi.communicator(_mpi.WORLD)
        if root < 0 or (hasattr(comm, "Get_size") and root >= comm.Get_size()):
            raise ValueError("Expecting root in range(comm.size)")
        if root > 0 and not hasattr(comm, "Split"):
            raise ValueError("another root than 0 needs a communicator of mpi4py")
        self._comm = comm
        self._root = root
        self._options = {k: v for k, v in kwargs.items() if k not in _OF_SPAWNING}
        self._options.pop("max_workers", None)
        self._reordered: Any = None
        self._executor: Optional[MPIPoolExecutor] = None

    def __enter__(self) -> Optional[MPIPoolExecutor]:
        """Enter the block.

        Returns
        -------
        MPIPoolExecutor or None
            None on all ranks but the root, when its block has ended.

        Raises
        ------
        RuntimeError
            If it is entered while it is.
        """
        if self._executor is not None:
            raise RuntimeError("__enter__ was called already")
        if self._is_alone():
            self._executor = _ProcessItself(
                self._options.get("initializer"), self._options.get("initargs", ())
            )
            return self._executor
        executor = MPIPoolExecutor(comm=self._ordered(), test_mode=True, **self._options)
        if executor._pool.is_master():
            self._executor = executor
        else:
            self._free()
        return self._executor

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        exception: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)
            self._free()

    def _is_alone(self) -> bool:
        if self._comm is None:
            return _mpi.is_alone()
        return hasattr(self._comm, "Get_size") and bool(self._comm.Get_size() == 1)

    def _ordered(self) -> Any:
        """The communicator, with the root as its rank 0."""
        if self._root == 0:
            return self._comm
        rank = self._comm.Get_rank()
        self._reordered = self._comm.Split(0, -1 if rank == self._root else rank)
        return self._reordered

    def _free(self) -> None:
        if self._reordered is not None:
            self._reordered.Free()
            self._reordered = None
