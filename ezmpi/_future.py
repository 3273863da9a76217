"""Futures of a pool: what `submit` and the asynchronous methods return."""

from __future__ import annotations

import concurrent.futures._base
import logging
import threading
import time

from . import errors

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, List, Optional

_log = logging.getLogger("ezmpi")
_PENDING = concurrent.futures._base.PENDING
_FINISHED = concurrent.futures._base.FINISHED
_CANCELLED = concurrent.futures._base.CANCELLED
_DONE = (
    _FINISHED,
    _CANCELLED,
    concurrent.futures._base.CANCELLED_AND_NOTIFIED,
)
# What the engine knows of a future, from Python 3.2 to 3.14.
_IS_AS_KNOWN = set(vars(concurrent.futures.Future())) == {
    "_condition",
    "_state",
    "_result",
    "_exception",
    "_waiters",
    "_done_callbacks",
}


class PoolFuture(concurrent.futures.Future):  # type: ignore[type-arg]
    """A `concurrent.futures.Future` of a call on a pool; made by `MPIPool.submit`.

    Who waits for it drives the pool. It can be cancelled until a worker is given the
    call.

    Examples
    --------
    >>> future = pool.submit(pow, 2, 3)
    >>> future.result()
    8
    """

    # Its condition, which costs more than all else of a call, is made when somebody
    # needs it. Where nobody did, the engine puts the result in its place itself
    # (csrc/future.c); with the GIL, so that nobody can begin to wait meanwhile.

    _ticket: Any = None  # until the pool took the call

    def __init__(self) -> None:
        if not _IS_AS_KNOWN:
            super().__init__()
            return
        self._state = _PENDING
        self._result = self._exception = None
        self._waiters: List[Any] = []
        self._done_callbacks: List[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name != "_condition":
            raise AttributeError(name)
        return self.__dict__.setdefault(name, threading.Condition())

    def done(self) -> bool:
        """Whether the call has ended, or was cancelled.

        Returns
        -------
        bool
            True if `result` returns or raises at once.

        Examples
        --------
        >>> future = pool.submit(pow, 2, 3)
        >>> future.result(), future.done()
        (8, True)
        """
        return self._state in _DONE

    def cancel(self) -> bool:
        """Cancel the call, if no worker was given it.

        Returns
        -------
        bool
            False if it runs or has ended.

        Examples
        --------
        >>> import time
        >>> futures = [pool.submit(time.sleep, 0.1) for _ in range(pool.size + 1)]
        >>> futures[0].cancel(), futures[-1].cancel()
        (False, True)
        """
        if self.cancelled():
            return True
        if self._ticket is None or not self._ticket.cancel():
            return False
        cancelled = super().cancel()  # calls what is to be called when it is done
        with self._condition:  # another thread may do the same
            if self._state == _CANCELLED:
                self.set_running_or_notify_cancel()
        return cancelled

    def running(self) -> bool:
        """Whether a worker was given the call and has not answered.

        Returns
        -------
        bool
            True from then on until the result is here.

        Examples
        --------
        >>> import time
        >>> pool.submit(time.sleep, 0.1).running()
        True
        """
        return not self.done() and self._ticket is not None and self._ticket.begun()

    def result(self, timeout: Optional[float] = None) -> Any:
        """Wait for what the call returned.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most. Default: for ever.

        Returns
        -------
        object
            What it returned.

        Raises
        ------
        Exception
            What the call raised, with the worker's traceback as its cause.
        TimeoutError
            If the result did not come in time, or the pool was terminated before.
        CancelledError
            If the call was cancelled.

        Examples
        --------
        >>> pool.submit(pow, 2, 3).result(timeout=10)
        8
        """
        if self._state != _FINISHED:
            timeout = self._drive(timeout)
        if self._exception is None:
            return super().result(timeout)
        try:
            raise self._exception  # also one that is false
        finally:  # what it refers to is no part of it
            del self

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Wait for the end of the call, and return what it raised.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most. Default: for ever.

        Returns
        -------
        BaseException or None
            None if it returned.

        Raises
        ------
        TimeoutError
            If the call did not end in time.
        CancelledError
            If the call was cancelled.

        Examples
        --------
        >>> pool.submit(int, "x").exception()
        ValueError("invalid literal for int() with base 10: 'x'")
        """
        return super().exception(self._drive(timeout))

    def _settle(self, value: Any, is_failure: bool) -> None:
        """Set it again, after an attempt that a signal or lack of memory cut off."""
        if not self.done():
            set_it: Any = self.set_exception if is_failure else self.set_result
            set_it(value)
            return
        with self._condition:
            self._condition.notify_all()
        self._invoke_callbacks()

    def _invoke_callbacks(self) -> None:
        """Each once, also if an attempt was cut off."""
        while self._done_callbacks:
            callback = self._done_callbacks.pop(0)
            try:
                callback(self)
            except Exception:
                concurrent.futures._base.LOGGER.exception(
                    "exception calling callback for %r", self
                )

    def _drive(self, timeout: Optional[float]) -> Optional[float]:
        """Wait as one who drives; returns the seconds that are left."""
        if self.done() or self._ticket is None:
            return timeout
        if timeout is None:
            self._ticket.wait(None)
            return None
        start = time.monotonic()
        self._ticket.wait(timeout)
        return max(0.0, timeout - (time.monotonic() - start))


class CallbackFuture(PoolFuture):
    """One whose callback has been called before anybody is told the result."""

    def __init__(
        self,
        callback: Optional[Callable[[Any], object]],
        error_callback: Optional[Callable[[BaseException], object]],
    ) -> None:
        super().__init__()
        self._callback = callback
        self._error_callback = error_callback
        # by which the engine knows that there is code of the user's to be called
        self.add_done_callback(_nothing)

    def set_result(self, result: Any) -> None:
        callback, self._callback = self._callback, None  # once, if it is set again
        try:
            _call_back(callback, result)
        finally:  # whatever it raises
            super().set_result(result)

    def set_exception(self, exception: Optional[BaseException]) -> None:
        callback, self._error_callback = self._error_callback, None
        try:
            _call_back(callback, exception)
        finally:
            super().set_exception(exception)


def wait(futures: Iterable[PoolFuture]) -> None:
    """Wait for all of them, whatever comes of each."""
    for future in futures:
        future.exception()


def _nothing(future: Any) -> None:
    pass


def _call_back(callback: Optional[Callable[[Any], object]], value: Any) -> None:
    try:
        if callback is not None:
            callback(value)
    except Exception:
        _log.exception("exception calling callback %r", callback)


class AsyncResult:
    """A result that is to come, as of `multiprocessing.Pool`.

    Made by `MPIPool.map_async`, `MPIPool.starmap_async` and `MPIPool.apply_async`.

    Examples
    --------
    >>> result = pool.map_async(abs, [-1, 2, -3])
    >>> result.get()
    [1, 2, 3]
    """

    def __init__(self, future: PoolFuture) -> None:
        self._future = future

    def ready(self) -> bool:
        """Whether the call has ended.

        Returns
        -------
        bool
            True also if it raised.

        Examples
        --------
        >>> result = pool.apply_async(abs, (-1,))
        >>> result.wait()
        >>> result.ready()
        True
        """
        return self._future.done()

    def successful(self) -> bool:
        """Whether the call has returned, and not raised.

        Returns
        -------
        bool
            True if `get` returns its result.

        Raises
        ------
        ValueError
            If the call has not ended.

        Examples
        --------
        >>> result = pool.apply_async(int, ("x",))
        >>> result.wait()
        >>> result.successful()
        False
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not self._future.cancelled() and self._future.exception() is None

    def wait(self, timeout: Optional[float] = None) -> None:
        """Wait for the end of the call.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most. Default: for ever.

        Examples
        --------
        >>> pool.apply_async(abs, (-1,)).wait()
        """
        try:
            self._future.exception(timeout)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            pass

    def get(self, timeout: Optional[float] = None) -> Any:
        """Wait for what the call returned.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most. Default: for ever.

        Returns
        -------
        object
            What it returned.

        Raises
        ------
        Exception
            What the call raised, with the worker's traceback as its cause.
        TimeoutError
            If the result did not come in time, or the pool was terminated before.

        Examples
        --------
        >>> pool.apply_async(abs, (-1,)).get(timeout=10)
        1
        """
        self.wait(timeout)
        if not self.ready():
            raise errors.TimeoutError(f"no result came within {timeout} s")
        if self._future.cancelled():
            raise errors.TimeoutError("the pool was terminated before the result came")
        return self._future.result()
