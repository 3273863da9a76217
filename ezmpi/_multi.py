"""`MultiPool`: `multiprocessing.Pool`, with `MPIPool`'s `map` and its way to pickle.

What goes to a process and back travels as bytes that are loaded where it is used. So
lambdas and what the script defined after the pool was made can be sent; and what cannot
be loaded raises, where `multiprocessing` would wait for ever.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
import multiprocessing.pool
import os
import pickle
import signal
import sys
import threading

from . import _failures, _local, errors
from ._main import MainRecord, namespace
from ._pickling import Encoder, bind
from .pool import _PoolStub

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import TracebackType
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
    )

    from ._failures import RetryOn
    from ._local import Callback, Draw
    from ._progress import Wanted

__all__ = ["MultiPool"]


class MultiPool(_local.Local, multiprocessing.pool.Pool):  # type: ignore[misc]
    """A `multiprocessing.Pool` with `MPIPool`'s methods: processes of this host alone.

    Parameters
    ----------
    processes : int, optional
        How many. Default: as many as there are processors.
    initializer : callable, optional
        Called once in each of them.
    initargs : iterable, optional
        Its arguments.
    retries, retry_on : optional
        As of `MPIPool`; but a task is run again by the same process, at once.
    **kwargs
        Other arguments of `multiprocessing.Pool`: ``maxtasksperchild``, ``context``.

    Attributes
    ----------
    size : int
        Number of processes.

    Raises
    ------
    Exception
        What `multiprocessing.Pool` raises.

    Notes
    -----
    The end of a ``with`` block waits for what was begun, as with `MPIPool`; after an
    exception it does not. The processes ignore Ctrl-C: this one ends them.

    Examples
    --------
    >>> from ezmpi import MultiPool
    >>> with MultiPool(2) as pool:
    ...     pool.map(lambda x: x * x, [2, 3])
    [4, 9]
    """

    _state = multiprocessing.pool.INIT  # for __del__, where the constructor failed

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        *,
        retries: int = 0,
        retry_on: RetryOn = (),
        **kwargs: Any,
    ) -> None:
        self._retries = _failures.check(retries, retry_on)
        if initializer is not None:
            if not callable(initializer):
                raise TypeError("initializer must be a callable")
            initializer = _Sent(initializer)
        arguments = initializer, tuple(initargs)
        super().__init__(processes, _begin, arguments, **kwargs)
        self.size = self._max_workers = int(self._processes)  # type: ignore[attr-defined]
        self._collecting: List[threading.Thread] = []

    def _setup_queues(self) -> None:
        super()._setup_queues()  # type: ignore[misc]
        put = self._quick_put  # type: ignore[has-type]
        get = self._quick_get  # type: ignore[has-type]
        encoder = Encoder(self._record())

        def put_encoded(task: Any) -> None:
            if task is not None:
                job, number, *call = task
                task = job, number, _Call(encoder, call), (), {}
            put(task)

        def get_decoded() -> Any:
            answer = get()
            if answer is not None:
                job, number, (success, value) = answer
                answer = job, number, _decoded(value) if success else (False, value)
            return answer

        self._quick_put, self._quick_get = put_encoded, get_decoded

    def _record(self) -> MainRecord:
        """What the processes find in their ``__main__``."""
        record = MainRecord()
        main = sys.modules["__main__"]
        method = self._ctx.get_start_method()  # type: ignore[attr-defined]
        is_imported = hasattr(main, "__file__") or getattr(main, "__spec__", None)
        if method != "fork" and not is_imported:  # an interactive session: nothing
            record.note(dict.fromkeys(namespace()))
        return record

    def map(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        callback: Callback = None,
        return_results: Any = True,
        *,
        chunksize: Optional[int] = None,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> Optional[List[Any]]:
        """Call ``func(task)`` for every task, in the processes.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            What to call it with; all are drawn at first.
        callback : callable or int, optional
            Called with each result, in order, when it and those before it are there, in
            the thread that called `map`. An int here is `chunksize`; the callback may
            follow it, as in schwimmbad.
        return_results : bool, optional
            With False the results are not kept, and None is returned.
        chunksize : int, optional
            Tasks that travel together. Default: a quarter of a process's share.
        progress : bool, str or callable, optional
            As of `MPIPool.map`.
        on_error, retries, retry_on : optional
            As of `MPIPool.map`; but a task is run again by the same process, at once.

        Returns
        -------
        list or None
            The results in the order of the tasks.

        Raises
        ------
        Exception
            What a task, `iterable` or `callback` raises.
        KeyboardInterrupt
            At Ctrl-C, which ends the processes: the pool cannot be used on.
        """
        if isinstance(callback, int):
            callback, chunksize = None, callback
        if callable(return_results):
            callback, return_results = return_results, True
        _local.check(func, chunksize)
        func = self._trying(func, on_error, retries, retry_on)
        try:
            if callback is None and return_results and not _is_wanted(progress):
                return super().map(func, iterable, chunksize)
            arguments = self._begin_map(func, iterable, chunksize, progress)
            return _local.collect(*arguments, callback, return_results)
        except KeyboardInterrupt:
            self.terminate()
            self.join()
            raise

    def _begin_map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int],
        progress: Wanted,
    ) -> Tuple[Draw, _local.Counter]:
        tasks = list(iterable)
        counter = _local.Counter(tasks, progress, self.size)
        chunksize = chunksize or -(-len(tasks) // (4 * self.size))
        return _drawing(super().imap, func, tasks, chunksize), counter

    def imap(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results in order."""
        _local.check(func, chunksize)
        func = self._trying(func, on_error, retries, retry_on)
        return self._iterate(super().imap, func, iterable, chunksize, progress)

    def imap_unordered(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results as they come."""
        _local.check(func, chunksize)
        func = self._trying(func, on_error, retries, retry_on)
        return self._iterate(super().imap_unordered, func, iterable, chunksize, progress)

    def _iterate(
        self,
        imap: Any,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int],
        progress: Wanted,
    ) -> Iterator[Any]:
        counter = _local.Counter(iterable, progress, self.size)
        return _local.Results(_drawing(imap, func, iterable, chunksize), counter)

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
    ) -> Any:
        """Begin a `map`, and go on."""
        _local.check(func, chunksize)
        func = self._trying(func, on_error, retries, retry_on)
        if not _is_wanted(progress):
            return super().map_async(func, iterable, chunksize, callback, error_callback)
        arguments = self._begin_map(func, iterable, chunksize, progress)
        call = functools.partial(_local.collect, *arguments)
        result, thread = _local.in_thread(call, callback, error_callback)
        alive = [other for other in self._collecting if other.is_alive()]
        self._collecting = [*alive, thread]
        return result

    def join(self) -> None:
        """Wait, after `close`, for the end of what was begun, and of the processes."""
        super().join()
        if self._state == multiprocessing.pool.TERMINATE:
            return  # results that have not come will not come
        for thread in self._collecting:
            if thread is not threading.current_thread():
                thread.join()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> Any:
        """Have ``func(*args, **kwds)`` called in a process, and go on."""
        func = self._trying(func)
        return super().apply_async(func, args, kwds, callback, error_callback)

    def _returning(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _Returning(function)

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Have ``fn(*args, **kwargs)`` called in a process, and go on.

        Returns
        -------
        concurrent.futures.Future
            It cannot be cancelled.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        self.apply_async(fn, args, kwargs, future.set_result, future.set_exception)
        return future

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

    def __reduce__(self) -> Any:
        return _PoolStub, ("", 0, self.size)


def _drawing(
    imap: Any, func: Callable[[Any], Any], tasks: Iterable[Any], chunksize: Optional[int]
) -> Draw:
    """What draws the results of multiprocessing's `imap` called with chunks.

    Chunks of our own: with those of multiprocessing the iterator has no ``next``, and a
    failed task takes the rest of its chunk with it.
    """
    tasks = iter(tasks)
    chunks = iter(lambda: list(itertools.islice(tasks, chunksize or 1)), [])
    results = imap(_EachOf(func), chunks)
    waiting: Any = collections.deque()

    def draw(timeout: Optional[float]) -> Tuple[bool, Any]:
        try:
            answer = waiting.popleft()
        except IndexError:
            answer, *others = results.next(timeout)
            waiting.extend(others)
        return _decoded(answer)

    return draw


def _is_wanted(progress: Wanted) -> bool:
    return progress is not None and progress is not False


# --- in the processes ---


def _begin(initializer: Optional[Callable[..., object]], initargs: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    if initializer is not None:
        initializer(*initargs)


class _Sent:
    """A function; where it has to be pickled, as `_pickling` does it."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __reduce__(self) -> Any:
        return pickle.loads, (Encoder(None)(self._function, None),)


class _Call:
    """A call as bytes; called, it returns the `_Answer`, and never raises."""

    def __init__(self, encoder: Encoder, call: Any) -> None:
        encoder.forget_met()
        self._call = encoder(call, None)
        self._bindings = encoder.take_bindings()  # each process may lack them

    def __call__(self) -> _Answer:
        return _answer(self._run)

    def _run(self) -> Any:
        if self._bindings is not None:
            bind(self._bindings)
        function, args, kwargs = pickle.loads(self._call)
        return function(*args, **kwargs)


class _EachOf:
    """Calls a function with every task of a chunk; returns the `_Answer` of each."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, chunk: List[Any]) -> List[_Answer]:
        return [_answer(self._function, task) for task in chunk]


class _Returning:
    """Calls a function with a task; returns the `_Failure` of what it raises."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, task: Any) -> Any:
        try:
            return self._function(task)
        except BaseException as error:
            return _Failure(error)


class _Failure:
    """What an exception is told by; where it is loaded, it is the exception."""

    def __init__(self, error: BaseException) -> None:
        self._account = _account(error)

    def __reduce__(self) -> Any:
        return errors._restore, (self._account, errors._SINGLE_CALL, False)


def _account(error: BaseException) -> errors._Account:
    where = f"process {os.getpid()} on {os.uname().nodename}"
    return (*errors._account(error, 0, "task")[:-1], where)


def _answer(function: Callable[..., Any], *args: Any) -> _Answer:
    try:
        return _Answer(True, Encoder(None)(function(*args), None))
    except BaseException as error:
        return _Answer(False, pickle.dumps(_account(error)))


class _Answer:
    """What a call returned, or what is to be told of its exception, as bytes."""

    def __init__(self, success: bool, pickled: bytes) -> None:
        self.success = success
        self.pickled = pickled


def _decoded(answer: _Answer) -> Tuple[bool, Any]:
    """Whether it succeeded, and the result or exception."""
    try:
        value = pickle.loads(answer.pickled)
        if answer.success:
            return True, value
        return False, errors._restore(value, errors._SINGLE_CALL, False)
    except Exception as error:
        return False, error
