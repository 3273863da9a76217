"""What the pools in `ezmpi.local` that are no `MPIPool` share.

All of it is in the script's process, but for `Star`, `Retrying` and `Returning`.
"""

from __future__ import annotations

import itertools
import operator
import time
import types

from . import _failures, _progress, errors, pool
from ._batches import batches

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import (
        Any,
        Callable,
        Iterable,
        Iterator,
        List,
        Optional,
        Tuple,
        Type,
        Union,
    )

    from ._checkpoint import Key, Path
    from ._failures import RetryOn, Types
    from ._future import AsyncResult
    from ._progress import Wanted

    Callback = Union[Callable[[Any], object], int, None]
    # Whether the next task succeeded, and its result or exception; the timeout is for
    # pools that work in the background. Raises StopIteration when there is no more.
    Draw = Callable[[Optional[float]], Tuple[bool, Any]]


class Local:
    """What is the same in all pools without MPI."""

    master = rank = 0
    size: int
    _retries: Tuple[int, Types] = (0, ())  # at most, and after what

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
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Optional[List[Any]]:
        """Call ``func(*task)`` for every task."""
        return self.map(
            Star(func),
            iterable,
            chunksize=chunksize,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
            checkpoint=checkpoint,
            checkpoint_key=checkpoint_key,
        )

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[Any]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> Any:
        """The `map_async` of `starmap`."""
        star = Star(func)
        return self.map_async(
            star,
            iterable,
            chunksize,
            callback,
            error_callback,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
        )

    def istarmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap` of `starmap`."""
        star = Star(func)
        return self.imap(
            star,
            iterable,
            chunksize,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
            checkpoint=checkpoint,
            checkpoint_key=checkpoint_key,
        )

    def istarmap_unordered(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap_unordered` of `starmap`."""
        star = Star(func)
        return self.imap_unordered(
            star,
            iterable,
            chunksize,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
            checkpoint=checkpoint,
            checkpoint_key=checkpoint_key,
        )

    def share(self, obj: Any) -> Any:
        """What `MPIPool.share` returns: something whose ``value`` is the object.

        To the processes of joblib it travels with the tasks that hold it.
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

    def _trying(
        self,
        function: Callable[..., Any],
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> Callable[..., Any]:
        """The function, as it is to be called where it may fail: as `MPIPool.map`."""
        arguments = on_error, retries, retry_on, self._retries
        is_returned, plan = _failures.of_call(*arguments)
        if plan is not None:
            function = Retrying(function, *plan[:2])
        return Returning(function) if is_returned else function

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
    """Calls a function with what a task holds, in the process that runs the task."""

    def __init__(self, function: Callable[..., Any]) -> None:
        check(function)
        self._function = function

    def __call__(self, task: Iterable[Any]) -> Any:
        return self._function(*task)


class Retrying:
    """Calls a function again after exceptions of some types, so many times.

    In the process that runs the task: these pools' masters know of no retries, as an
    `MPIPool`'s does (csrc/retries.c).
    """

    def __init__(
        self, function: Callable[..., Any], most: int, types: Tuple[Any, ...]
    ) -> None:
        self._function = function
        self._most = most
        self._types = types

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self._most):
            try:
                return self._function(*args, **kwargs)
            except self._types:
                pass
        try:
            return self._function(*args, **kwargs)
        except self._types as error:
            errors._add_note(error, f"Given up after {self._most + 1} attempts.")
            raise


class Returning:
    """Calls a function, and returns what it raises, in the process that runs the task."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        try:
            return self._function(*args)
        except Exception as error:  # others, as Ctrl-C, are the caller's
            return error


class Counter:
    """Shows how many tasks have ended, as `_progress` has it."""

    def __init__(self, tasks: Any, progress: Wanted, size: int) -> None:
        self._display = _progress.Display(progress, tasks)
        self._show = self._display.show  # None when nothing is to be shown any more
        self._size = size
        self._done = 0
        self._total = self._display.total
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
        success, value = self._take(timeout)
        if not success and isinstance(value, StopIteration):  # it is not the end
            value = RuntimeError("a task raised StopIteration")
        try:
            self._counter.count()
        finally:
            if not success:
                raise value  # and not what the progress callable raises
        return value

    def _take(self, timeout: Optional[float]) -> Tuple[bool, Any]:
        try:
            return self._draw(timeout)
        except StopIteration:
            self._counter.end(True)
            raise


def map_kept(
    run: Callable[..., object],
    func: Callable[..., Any],
    iterable: Iterable[Any],
    callback: Any,
    return_results: bool,
    progress: Wanted,
    file: Tuple[Optional[Path], Key],
) -> Optional[List[Any]]:
    """A map with a checkpoint, by a pool's `map`."""
    from ._checkpoint import Call

    call = Call(*file, *_unstarred(func), iterable)
    with _progress.Display(progress, iterable) as show:

        def run_missing(function: Any, missing: Iterable[Any], arrived: Any) -> None:
            sent = itertools.count()  # results come in order
            run(
                function,
                missing,
                lambda answer: arrived(answer, next(sent)),
                False,
                progress=call.shown(show),
            )

        wanted = callback if callable(callback) else None
        return call.map(run_missing, wanted, return_results)


def iterate_kept(
    run: Callable[..., Any],
    func: Callable[..., Any],
    iterable: Iterable[Any],
    progress: Wanted,
    file: Tuple[Optional[Path], Key],
) -> Iterator[Any]:
    """The same by a pool's `imap`."""
    from . import _checkpoint

    call = _checkpoint.Call(*file, *_unstarred(func), iterable)
    show = _progress.Display(progress, iterable).show
    results = run(call.worker, call.missing(), progress=call.shown(show))
    return _checkpoint.Results(call, _Kept(results, call.keep), False)


def _unstarred(function: Callable[..., Any]) -> Tuple[Callable[..., Any], bool]:
    """The user's callable, and whether it is called with what a task holds."""
    if isinstance(function, Star):
        return function._function, True
    return function, False


class _Kept:
    """Results that are kept when they are taken."""

    def __init__(self, results: Results, keep: Callable[[Any, int], object]) -> None:
        self._results = results
        self._keep = keep
        self._sent = itertools.count()

    def _take(self, timeout: Optional[float]) -> Optional[Tuple[bool, Any]]:
        """Whether the next task succeeded, and what it gave; None: none in time."""
        import multiprocessing

        try:
            success, value = self._results._take(timeout)
        except multiprocessing.TimeoutError:
            return None
        self._keep(value, next(self._sent))
        self._results._counter.count()
        return success, value

    def close(self) -> None:
        """Nothing is to be ended."""


def future_of(
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
    return as_result(future), thread


def _fulfil(future: Any, call: Callable[[], Any], to_catch: Type[BaseException]) -> None:
    try:
        result = call()
    except to_catch as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def as_result(future: Any) -> AsyncResult:
    from ._future import AsyncResult

    return AsyncResult(future)
