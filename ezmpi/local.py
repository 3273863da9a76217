"""Pools without MPI, with `MPIPool`'s methods: `choose_pool` and what it chooses from.

For scripts that choose by a flag, as those that were written for schwimmbad do.
"""

from __future__ import annotations

import functools
import sys

from . import _failures, _mpi, pool
from ._local import (
    Counter,
    Local,
    Results,
    as_result,
    check,
    collect,
    future_of,
    iterate_kept,
    map_kept,
)
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import (
        Any,
        Callable,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Tuple,
        Union,
    )

    from ._checkpoint import Key, Path
    from ._failures import RetryOn
    from ._future import AsyncResult
    from ._local import Callback, Draw
    from ._progress import Wanted

__all__ = ["JoblibPool", "MultiPool", "SerialPool", "choose_pool"]


def choose_pool(
    mpi: bool = False, processes: int = 1, **kwargs: Any
) -> Union[MPIPool, MultiPool, SerialPool]:
    """Choose a pool by two options of a script.

    Parameters
    ----------
    mpi : bool, optional
        With True `MPIPool`: the script was started with mpiexec.
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

    Warns
    -----
    UserWarning
        On rank 0, if mpiexec started several processes, `mpi` is not true, and nothing
        in the script has used MPI: each of them runs all of it.

    Examples
    --------
    >>> from ezmpi import choose_pool
    >>> with choose_pool(processes=1) as pool:
    ...     pool.map(abs, [-1, 2])
    [1, 2]
    """
    if mpi:
        return MPIPool(**kwargs)
    if _mpi.is_under_launcher() and _mpi.is_first() and not _uses_mpi():
        import warnings

        each = "wait" if "ezmpi._command" in sys.modules else "run the whole script"
        warnings.warn(
            f"mpiexec started several processes, and all others {each}, since "
            "choose_pool() was not told mpi=True",
            UserWarning,
            stacklevel=2,
        )
    if processes != 1:
        return MultiPool(processes, **kwargs)
    return SerialPool(**kwargs)


def _uses_mpi() -> bool:
    """Whether the script has shown that it knows of mpiexec."""
    not_its = 1 if "ezmpi._command" in sys.modules else 0
    return "mpi4py.MPI" in sys.modules or len(pool._masters()) > not_its


class _AtOnce(Local):
    """Methods that return when all is done: here, but for what `_drawing` sends away."""

    def _drawing(self, func: Callable[[Any], Any], iterable: Iterable[Any]) -> Draw:
        raise NotImplementedError

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        callback: Callback = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Optional[List[Any]]:
        """Call ``func(task)`` for every task.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            What to call it with.
        callback : callable, optional
            Called with each result, in order.
        return_results : bool, optional
            With False the results are not kept, and None is returned.
        chunksize : int, optional
            Not used.
        progress : bool, str or callable, optional
            As of `MPIPool.map`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `MPIPool.map`.

        Returns
        -------
        list or None
            The results in the order of the tasks.

        Raises
        ------
        Exception
            What a task, `iterable` or `callback` raises.
        """
        check(func, chunksize)
        how: Any = {"on_error": on_error, "retries": retries, "retry_on": retry_on}
        trying = self._trying(func, **how)
        if checkpoint is not None or checkpoint_key is not None:
            return map_kept(
                functools.partial(self.map, **how),
                func,
                iterable,
                callback,
                return_results,
                progress,
                (checkpoint, checkpoint_key),
            )
        counter = Counter(iterable, progress, self.size)
        return collect(self._drawing(trying, iterable), counter, callback, return_results)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results in order.

        A `SerialPool` calls each when its result is asked for.
        """
        check(func, chunksize)
        how: Any = {"on_error": on_error, "retries": retries, "retry_on": retry_on}
        trying = self._trying(func, **how)
        if checkpoint is not None or checkpoint_key is not None:
            file = checkpoint, checkpoint_key
            run = functools.partial(self.imap, **how)
            return iterate_kept(run, func, iterable, progress, file)
        counter = Counter(iterable, progress, self.size)
        return Results(self._drawing(trying, iterable), counter)

    imap_unordered = imap

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[Any]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> AsyncResult:
        """A `map` whose result, or exception, is in what is returned."""
        check(func, chunksize)
        self._trying(
            func, on_error, retries, retry_on
        )  # raises what is to be raised at once
        call = functools.partial(
            self.map,
            func,
            iterable,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
        )
        return as_result(future_of(call, callback, error_callback))

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
    ) -> Any:
        """Call ``func(*args, **kwds)``, here."""
        return self._trying(func)(*args, **kwds)

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> AsyncResult:
        """The same; the result, or exception, is in what is returned."""
        call = functools.partial(self.apply, func, args, kwds)
        return as_result(future_of(call, callback, error_callback))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn(*args, **kwargs)``, here; returns a future that is done."""
        call = functools.partial(self._trying(fn), *args, **kwargs)
        future: Future[Any] = future_of(call)
        return future

    def close(self) -> None:
        """Do nothing: there is nothing to be ended."""

    def join(self) -> None:
        """Do nothing: all is done."""

    terminate = close

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SerialPool(_AtOnce):
    """Calls each task in this process, one after the other.

    Parameters
    ----------
    *args, **kwargs
        ``initializer`` and ``initargs`` are called here, once; ``retries`` and
        ``retry_on`` are as of `MPIPool`; other arguments of other pools are not used.

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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        retries, retry_on = kwargs.get("retries", 0), kwargs.get("retry_on", ())
        self._retries = _failures.check(retries, retry_on)
        initializer = kwargs.get("initializer")
        if initializer is not None:
            initializer(*kwargs.get("initargs", ()))

    def _drawing(self, func: Callable[[Any], Any], iterable: Iterable[Any]) -> Draw:
        tasks = iter(iterable)

        def draw(timeout: Optional[float]) -> Tuple[bool, Any]:
            task = next(tasks)
            try:
                return True, func(task)
            except BaseException as error:
                return False, error

        return draw


class MultiPool(MPIPool):
    """An `MPIPool` on processes of this host, which it forks, with or without mpiexec.

    The order of arguments is that of `multiprocessing.Pool` and schwimmbad's.

    Parameters
    ----------
    processes : int, optional
        How many. Default: the processors that this process may use.
    initializer : callable, optional
        Called once in each of them.
    initargs : iterable, optional
        Its arguments.
    **kwargs
        Other arguments of `MPIPool`.

    Attributes
    ----------
    size : int
        Number of processes.

    Raises
    ------
    Exception
        As `MPIPool`.

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
        kwargs.update(initializer=initializer, initargs=initargs)
        super().__init__(fallback="local", processes=processes, **kwargs)

    @staticmethod
    def _is_to_fork(fallback: Optional[str], comm: Any) -> bool:
        return True

    @staticmethod
    def enabled() -> bool:
        """Whether such a pool can be made.

        Returns
        -------
        bool
            True.
        """
        return True

    def map(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Union[int, Callback] = None,
        callback: Callback = None,
        return_results: bool = True,
        **options: Any,
    ) -> Optional[List[Any]]:
        """Call `MPIPool.map`.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            The tasks.
        chunksize : int, optional
            As of `MPIPool.map`; a callable is the callback.
        callback : callable, optional
            As of `MPIPool.map`.
        return_results : bool, optional
            As of `MPIPool.map`.
        **options
            As of `MPIPool.map`.

        Returns
        -------
        list or None
            As of `MPIPool.map`.

        Raises
        ------
        Exception
            As `MPIPool.map`.
        """
        if callback is None and callable(chunksize):
            chunksize, callback = None, chunksize
        options["chunksize"] = chunksize
        return super().map(func, iterable, callback, return_results, **options)


class JoblibPool(_AtOnce):
    """Calls tasks by `joblib.Parallel`.

    The maps and `imap` do; `apply`, `apply_async` and `submit` call in this process.

    Parameters
    ----------
    *args, **kwargs
        Arguments of `joblib.Parallel`, of which each map makes one.

    Attributes
    ----------
    size : int
        How many tasks it runs at once.

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
        joblib = _joblib()
        self._arguments = args, kwargs
        jobs = joblib.Parallel(*args, **kwargs).n_jobs
        self.size = int(joblib.effective_n_jobs(jobs))

    @staticmethod
    def enabled() -> bool:
        """Whether joblib is installed.

        Returns
        -------
        bool
            False if it is not.
        """
        try:
            _joblib()
        except ImportError:
            return False
        return True

    @property
    def _processes(self) -> int:
        return self.size

    _max_workers = _processes

    def _drawing(self, func: Callable[[Any], Any], iterable: Iterable[Any]) -> Draw:
        joblib = _joblib()
        args, kwargs = self._arguments
        try:  # results as they come
            parallel = joblib.Parallel(*args, **{"return_as": "generator", **kwargs})
        except (TypeError, ValueError):  # an old joblib, or a backend that cannot
            parallel = joblib.Parallel(*args, **kwargs)
        each = iter(parallel(joblib.delayed(func)(task) for task in iterable))
        return lambda timeout: (True, next(each))  # it ends at the first failure


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise ImportError("JoblibPool needs joblib: pip install joblib") from None
    return joblib
