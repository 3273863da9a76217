"""Pools without MPI, with `MPIPool`'s methods: `choose_pool` and what it chooses from.

Thin fronts on `map`, on `multiprocessing` and on joblib, for scripts that choose by a
flag, as those that were written for schwimmbad do.
"""

from __future__ import annotations

import multiprocessing.pool
import signal

from ._batches import batches
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, Iterable, List, Optional, Type, Union

__all__ = ["JoblibPool", "MultiPool", "SerialPool", "choose_pool"]


def choose_pool(
    mpi: bool = False, processes: int = 1, **kwargs: Any
) -> Union[MPIPool, MultiPool, SerialPool]:
    """Choose a pool by two options of a script.

    Parameters
    ----------
    mpi : bool, optional
        `MPIPool`: the script was started with mpiexec.
    processes : int, optional
        Else `MultiPool` with so many processes, or `SerialPool` if it is 1.
    **kwargs
        Arguments of the pool that is chosen. `SerialPool` takes any.

    Returns
    -------
    MPIPool, MultiPool or SerialPool
        A pool; use it in a ``with`` statement.

    Raises
    ------
    Exception
        What the pool's constructor raises.

    Examples
    --------
    >>> from ezmpi import choose_pool
    >>> with choose_pool(processes=1) as pool:
    ...     pool.map(abs, [-1, 2])
    [1, 2]
    """
    if mpi:
        return MPIPool(**kwargs)
    if processes != 1:
        return MultiPool(processes, **kwargs)
    return SerialPool(**kwargs)


class _Local:
    """What is the same in all of them."""

    rank = 0
    size: int

    @staticmethod
    def enabled() -> bool:
        """Tell whether such a pool can be made.

        Returns
        -------
        bool
            True.
        """
        return True

    def is_master(self) -> bool:
        """Tell whether this process gives out the tasks.

        Returns
        -------
        bool
            True: there is no other that runs the script.
        """
        return True

    def is_worker(self) -> bool:
        """Tell whether this process waits for tasks.

        Returns
        -------
        bool
            False.
        """
        return False

    def wait(self, callback: Optional[Callable[[], object]] = None) -> None:
        """Return at once: workers of an `MPIPool` would serve here.

        Parameters
        ----------
        callback : callable, optional
            Not called; `MPIPool` has its workers call it.
        """

    def batched_map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[Any]]:
        """Call ``worker(batch)`` for as many batches as there are workers.

        Parameters
        ----------
        worker : callable
            Takes ``((start, stop), tasks[start:stop])``.
        tasks : iterable
            The tasks to be split; at least one.
        *args, **kwargs
            The other arguments of `map`.

        Returns
        -------
        list or None
            One result per batch, in order.
        """
        return self.map(worker, batches(list(tasks), self.size), *args, **kwargs)

    def map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Union[Callable[[Any], object], int, None] = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
    ) -> Optional[List[Any]]:
        raise NotImplementedError

    def __call__(self, worker: Callable[[Any], Any], tasks: Iterable[Any]) -> Any:
        return self.map(worker, tasks)


class SerialPool(_Local):
    """Calls each task in this process, one after the other.

    Parameters
    ----------
    **kwargs
        ``initializer`` and ``initargs`` are called here, once; other arguments of other
        pools are not used.

    Attributes
    ----------
    size : int
        1: the process itself.

    Examples
    --------
    >>> from ezmpi import SerialPool
    >>> with SerialPool() as pool:
    ...     pool.map(abs, [-1, 2])
    [1, 2]
    """

    size = _processes = _max_workers = 1

    def __init__(self, **kwargs: Any) -> None:
        initializer = kwargs.get("initializer")
        if initializer is not None:
            initializer(*kwargs.get("initargs", ()))

    def map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Union[Callable[[Any], object], int, None] = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
    ) -> Optional[List[Any]]:
        """Call ``worker(task)`` for every task.

        Parameters
        ----------
        worker : callable
            Takes one task.
        tasks : iterable
            What to call it with.
        callback : callable, optional
            Called with each result when it is there.
        return_results : bool, optional
            False: they are not kept.
        chunksize : int, optional
            Not used.

        Returns
        -------
        list or None
            The results, in order; None if they are not wanted.

        Raises
        ------
        Exception
            What a task, `tasks` or `callback` raises.
        """
        results: List[Any] = []
        for task in tasks:
            result = worker(task)
            if callable(callback):
                callback(result)
            if return_results:
                results.append(result)
        return results if return_results else None

    def close(self) -> None:
        """Do nothing: there is nothing to be ended."""

    join = terminate = close

    def __enter__(self) -> SerialPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class MultiPool(_Local, multiprocessing.pool.Pool):
    """A `multiprocessing.Pool` with `MPIPool`'s `map`: processes of this host alone.

    Parameters
    ----------
    processes : int, optional
        How many. Default: as many as there are processors.
    initializer : callable, optional
        Called once in each of them.
    initargs : iterable, optional
        Its arguments.
    **kwargs
        Other arguments of `multiprocessing.Pool`.

    Attributes
    ----------
    size : int
        Number of processes.

    Examples
    --------
    >>> from ezmpi import MultiPool
    >>> with MultiPool(2) as pool:
    ...     pool.map(lambda x: x * x, [2, 3])
    [4, 9]
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        arguments = initializer, tuple(initargs)
        super().__init__(processes, _begin, arguments, **kwargs)
        self.size = self._max_workers = int(self._processes)  # type: ignore[attr-defined]

    def map(  # type: ignore[override]
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Union[Callable[[Any], object], int, None] = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
    ) -> Optional[List[Any]]:
        """Call ``worker(task)`` for every task, in the processes.

        Parameters
        ----------
        worker : callable
            Takes one task. Lambdas and local functions go by dill.
        tasks : iterable
            What to call it with; all are drawn at first.
        callback : callable or int, optional
            Called with each result, in order, when all are there; or `chunksize`.
        return_results : bool, optional
            False: None is returned.
        chunksize : int, optional
            Tasks that travel together.

        Returns
        -------
        list or None
            The results, in order; None if they are not wanted.

        Raises
        ------
        Exception
            What a task, `tasks` or `callback` raises.
        """
        if isinstance(callback, int):
            callback, chunksize = None, callback
        results = super().map(_by_dill(worker), tasks, chunksize)
        if callback is not None:
            for result in results or ():
                callback(result)
        return results if return_results else None

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        exception: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if exception is None:
            self.close()
        else:
            self.terminate()
        self.join()


def _begin(initializer: Optional[Callable[..., object]], initargs: Any) -> None:
    """In each process of a `MultiPool`: Ctrl-C is the parent's, which ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        initializer(*initargs)


class _ByDill:
    """Becomes the function where it is unpickled."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    def __reduce__(self) -> Any:
        import dill

        return dill.loads, (self.pickled,)


def _by_dill(function: Callable[[Any], Any]) -> Any:
    """The function as it is, if pickle can send it."""
    import pickle

    try:
        pickle.dumps(function)
    except Exception:
        import dill

        return _ByDill(dill.dumps(function))
    return function


class JoblibPool(_Local):
    """Calls tasks by `joblib.Parallel`.

    Parameters
    ----------
    *args, **kwargs
        Arguments of `joblib.Parallel`.

    Raises
    ------
    ImportError
        If joblib is not installed.

    Examples
    --------
    >>> from ezmpi import JoblibPool
    >>> with JoblibPool(n_jobs=2) as pool:
    ...     pool.map(abs, [-1, 2])
    [1, 2]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import joblib

        self._delayed = joblib.delayed
        self._parallel = joblib.Parallel(*args, **kwargs)
        jobs = kwargs.get("n_jobs", args[0] if args else None)
        self.size = int(joblib.effective_n_jobs(-1 if jobs is None else jobs))

    def map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Union[Callable[[Any], object], int, None] = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
    ) -> Optional[List[Any]]:
        """Call ``worker(task)`` for every task.

        Parameters
        ----------
        worker : callable
            Takes one task.
        tasks : iterable
            What to call it with.
        callback : callable, optional
            Called with each result, in order, when all are there.
        return_results : bool, optional
            False: None is returned.
        chunksize : int, optional
            Not used: joblib has ``batch_size``.

        Returns
        -------
        list or None
            The results, in order; None if they are not wanted.

        Raises
        ------
        Exception
            What a task, `tasks` or `callback` raises.
        """
        results: List[Any] = self._parallel(self._delayed(worker)(task) for task in tasks)
        if callable(callback):
            for result in results:
                callback(result)
        return results if return_results else None

    def close(self) -> None:
        """Do nothing: joblib ends its processes itself."""

    join = terminate = close

    def __enter__(self) -> JoblibPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
