"""Pools without MPI, with `MPIPool`'s methods: `choose_pool` and what it chooses from.

For scripts that choose by a flag, as those that were written for schwimmbad do.
`MultiPool` lies in _multi.py: what it imports takes long.
"""

from __future__ import annotations

import functools
import operator
import sys
import time
import types

from . import _mpi, _progress, pool
from ._batches import batches
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
        Type,
        Union,
    )

    from ._future import AsyncResult
    from ._multi import MultiPool
    from ._progress import Wanted

    Callback = Union[Callable[[Any], object], int, None]
    # Whether the next task succeeded, and its result or exception; the timeout is for
    # pools that work in the background. Raises StopIteration when there is no more.
    Draw = Callable[[Optional[float]], Tuple[bool, Any]]

__all__ = ["JoblibPool", "SerialPool", "choose_pool"]


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
        from ._multi import MultiPool

        return MultiPool(processes, **kwargs)
    return SerialPool(**kwargs)


def _uses_mpi() -> bool:
    """Whether the script has shown that it knows of mpiexec."""
    not_its = 1 if "ezmpi._command" in sys.modules else 0
    return "mpi4py.MPI" in sys.modules or len(pool._masters()) > not_its


class Local:
    """What is the same in all pools without MPI."""

    master = rank = 0
    size: int

    @staticmethod
    def enabled() -> bool:
        """Whether such a pool can be made.

        Returns
        -------
        bool
            True.
        """
        return True

    def is_master(self) -> bool:
        """Whether this process gives out the tasks.

        Returns
        -------
        bool
            True: no other runs the script.
        """
        return True

    def is_worker(self) -> bool:
        """Whether this process waits for tasks.

        Returns
        -------
        bool
            False.
        """
        return False

    def wait(self, callback: Optional[Callable[[], object]] = None) -> None:
        """Return at once: the workers of an `MPIPool` serve here.

        Parameters
        ----------
        callback : callable, optional
            Not called: there it is called on workers.
        """

    def batched_map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[Any]]:
        """Call `map` on the tasks cut into ``size`` batches, as `MPIPool.batched_map`.

        Parameters
        ----------
        worker : callable
            Takes one batch: a tuple ``((start, stop), tasks[start:stop])``.
        tasks : iterable
            What to cut.
        *args, **kwargs
            The other arguments of `map`.

        Returns
        -------
        list or None
            One result per batch, in order.
        """
        return self.map(worker, batches(list(tasks), self.size), *args, **kwargs)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
    ) -> Optional[List[Any]]:
        """Call ``func(*task)`` for every task."""
        return self.map(Star(func), iterable, chunksize=chunksize, progress=progress)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[Any]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
        *,
        progress: Wanted = None,
    ) -> Any:
        """The `map_async` of `starmap`."""
        star = Star(func)
        return self.map_async(
            star, iterable, chunksize, callback, error_callback, progress=progress
        )

    def istarmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap` of `starmap`."""
        return self.imap(Star(func), iterable, chunksize, progress=progress)

    def istarmap_unordered(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap_unordered` of `starmap`."""
        return self.imap_unordered(Star(func), iterable, chunksize, progress=progress)

    def share(self, obj: Any) -> Any:
        """What `MPIPool.share` returns: something whose ``value`` is the object.

        To the processes of a `MultiPool` it travels with the tasks that hold it.
        """
        return types.SimpleNamespace(value=obj)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """`close` and, if it is to wait, `join`; nothing can be cancelled."""
        self.close()
        if wait:
            self.join()

    def __call__(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[Any]]:
        return self.map(worker, tasks, *args, **kwargs)

    if TYPE_CHECKING:  # each has its own

        def map(self, *args: Any, **kwargs: Any) -> Optional[List[Any]]: ...
        def map_async(self, *args: Any, **kwargs: Any) -> Any: ...
        def imap(self, *args: Any, **kwargs: Any) -> Iterator[Any]: ...
        def imap_unordered(self, *args: Any, **kwargs: Any) -> Iterator[Any]: ...
        def close(self) -> None: ...
        def join(self) -> None: ...


def check(function: Any, chunksize: Any = None) -> None:
    """Raise, as `MPIPool` does, what these arguments deserve."""
    if not callable(function):
        raise TypeError(
            "what the pool is to call must be callable, not " + type(function).__name__
        )
    if chunksize is None:
        return
    if isinstance(chunksize, bool) or not hasattr(chunksize, "__index__"):
        raise TypeError(
            f"chunksize must be an int or None, not {type(chunksize).__name__}"
        )
    if operator.index(chunksize) < 1:
        raise ValueError(f"chunksize must be at least 1, not {chunksize}")


class Star:
    """Calls a function with what a task holds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        check(function)
        self._function = function

    def __call__(self, task: Iterable[Any]) -> Any:
        return self._function(*task)


class Counter:
    """Shows how many tasks have ended, as `_progress` has it."""

    def __init__(self, tasks: Any, progress: Wanted, size: int) -> None:
        self._display = _progress.Display(progress)
        self._show = self._display.show  # None when nothing is to be shown any more
        self._size = size
        self._done = 0
        self._total = len(tasks) if hasattr(tasks, "__len__") else None
        self._shown = 0.0

    def count(self) -> None:
        """One more has ended, well or not."""
        if self._show is None:
            return
        self._done += 1
        now = time.monotonic()
        if now - self._shown >= _progress.SECONDS:
            self._shown = now
            left = self._size if self._total is None else self._total - self._done
            self._call(min(self._size, left))

    def end(self, is_all: bool) -> None:
        """Show the last numbers, and close the display."""
        if is_all and self._total is None:
            self._total = self._done
        with self._display:
            self._call(0)
        self._show = None

    def _call(self, busy: int) -> None:
        show, self._show = self._show, None  # if it raises, it is not called again
        if show is not None:
            show(self._done, self._total, busy)
            self._show = show


def collect(
    draw: Draw, counter: Counter, callback: Any = None, return_results: bool = True
) -> Optional[List[Any]]:
    """The results as a list, each passed to the callback when it comes."""
    kept: List[Any] = []
    try:
        for result in Results(draw, counter):
            if callable(callback):
                callback(result)
            if return_results:
                kept.append(result)
    except BaseException as error:
        try:
            counter.end(False)
        finally:
            raise error  # and not what the progress callable raises
    return kept if return_results else None


class Results:
    """The results of `imap`."""

    def __init__(self, draw: Draw, counter: Counter) -> None:
        self._draw = draw
        self._counter = counter

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next one; the timeout is for pools that work in the background."""
        try:
            success, value = self._draw(timeout)
        except StopIteration:
            self._counter.end(True)
            raise
        if not success and isinstance(value, StopIteration):  # it is not the end
            value = RuntimeError("a task raised StopIteration")
        try:
            self._counter.count()
        finally:
            if not success:
                raise value  # and not what the progress callable raises
        return value


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
        counter = Counter(iterable, progress, self.size)
        return collect(self._drawing(func, iterable), counter, callback, return_results)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results in order.

        A `SerialPool` calls each when its result is asked for.
        """
        check(func, chunksize)
        counter = Counter(iterable, progress, self.size)
        return Results(self._drawing(func, iterable), counter)

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
    ) -> AsyncResult:
        """A `map` whose result, or exception, is in what is returned."""
        check(func, chunksize)
        call = functools.partial(self.map, func, iterable, progress=progress)
        return _result(_future_of(call, callback, error_callback))

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
    ) -> Any:
        """Call ``func(*args, **kwds)``, here."""
        return func(*args, **kwds)

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
        return _result(_future_of(call, callback, error_callback))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn(*args, **kwargs)``, here; returns a future that is done."""
        future: Future[Any] = _future_of(functools.partial(fn, *args, **kwargs))
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


def _future_of(
    call: Callable[[], Any], callback: Any = None, error_callback: Any = None
) -> Any:
    """A future of what is called now."""
    future = pool._new_future(callback, error_callback)
    _fulfil(future, call, Exception)  # others, as Ctrl-C, are the caller's
    return future


def in_thread(
    call: Callable[[], Any], callback: Any = None, error_callback: Any = None
) -> Tuple[AsyncResult, Any]:
    """The result of what is called in a thread of its own, and the thread."""
    import threading

    future = pool._new_future(callback, error_callback)
    arguments = future, call, BaseException
    thread = threading.Thread(target=_fulfil, args=arguments, daemon=True)
    thread.start()
    return _result(future), thread


def _fulfil(future: Any, call: Callable[[], Any], to_catch: Type[BaseException]) -> None:
    try:
        result = call()
    except to_catch as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _result(future: Any) -> AsyncResult:
    from ._future import AsyncResult

    return AsyncResult(future)


class SerialPool(_AtOnce):
    """Calls each task in this process, one after the other.

    Parameters
    ----------
    *args, **kwargs
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
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
