"""What ``checkpoint=`` of the pools' methods does: results that are in a file are taken
from there, and others are put there as they come.

The pool is given only the tasks whose results are not in the file, each with its number;
the results come back with the number, pickled by the worker: these bytes are kept.
Must not know of SQL, nor of MPI.
"""

from __future__ import annotations

import atexit
import bisect
import collections
import functools
import os
import pickle
import sys
import threading
import time

from . import errors, pool
from ._fingerprint import CALLABLE, TaskDigest, digest_of, parts_of
from ._numbered import Numbered
from .errors import CheckpointError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import (
        Any,
        Callable,
        Deque,
        Dict,
        Iterable,
        Iterator,
        List,
        Optional,
        Tuple,
        Union,
    )

    from ._checkpoint_file import File

    Path = Union[str, "os.PathLike[str]"]
    Key = Optional[Callable[[Any], Any]]
    # Of a map: its place, the parts of its callable, the key of its first task.
    _Left = Tuple[int, Dict[str, str], Optional[bytes]]
    Show = Callable[[int, Optional[int], int], object]
    # What the pool gives for a task: its number and pickled result, or what it raised.
    Answer = Union[Tuple[int, bytes], BaseException]

__all__ = ["Call", "Results", "close_all"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05  # seconds, see Results


# ---- the files that are open -----------------------------------------------------


class _Opened:
    """An open file, and how far the script has come in it."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.process = os.getpid()
        self.next = 0  # place of the next map
        self.left: Optional[_Left] = None  # the last map, if it did not come to its end


_opened: Dict[str, _Opened] = {}
_lock = threading.RLock()  # an iterator that goes may need it anywhere


def _open(path: Any) -> _Opened:
    """The file, which stays open, and locked, until the process ends."""
    from ._checkpoint_file import File

    path = os.path.realpath(os.fsdecode(path))
    opened = _opened.get(path)
    if opened is not None and not opened.file.is_there():  # deleted, to begin anew
        del _opened[path]
        opened.file.close()
        opened = None
    if opened is not None and opened.process != os.getpid():
        raise CheckpointError(
            f"{path} is in use by the process that this one was forked from"
        )
    if opened is None:
        opened = _opened[path] = _Opened(File(path))
        _watch_exit()
    return opened


def close_all() -> List[BaseException]:
    """Write all, at the end of the process; what could not be written."""
    raised: List[BaseException] = []
    for path, opened in list(_opened.items()):
        if opened.process != os.getpid():  # a fork of that one must not touch it
            continue
        del _opened[path]
        try:
            opened.file.close()
        except CheckpointError as error:
            raised.append(error)
    return raised


@functools.lru_cache(maxsize=None)
def _watch_exit() -> None:
    atexit.register(_at_exit)


def _at_exit() -> None:
    if pool._watch_exit.cache_info().currsize:  # it does it, when its jobs have ended
        return
    for error in close_all():
        raise error


# ---- a map -----------------------------------------------------------------------


class Call:
    """A map whose results are in a file, or will be.

    Parameters
    ----------
    path : str or path-like
        The file.
    key : callable or None
        ``checkpoint_key``.
    function : callable
        The user's.
    star : bool
        Whether it is called with what a task holds.
    tasks : iterable
        The user's.

    Attributes
    ----------
    worker : callable
        What the pool is to call with each of `missing`.
    is_drawn : bool
        Whether the tasks have come to their end.
    skipped : int
        How many results were in the file so far.

    Raises
    ------
    CheckpointError
        If the file cannot be used, or holds results of another callable.
    TypeError
        If `path`, `key` or `function` is not of its kind.
    """

    def __init__(
        self,
        path: Optional[Path],
        key: Key,
        function: Callable[..., Any],
        star: bool,
        tasks: Iterable[Any],
    ) -> None:
        _check(path, key, function)
        self._key = key
        self._digest_task = TaskDigest()
        self._tasks = iter(tasks)
        self.worker = Numbered(function, star)
        # of those that were drawn and not taken: runs, from the first up to the other
        self._stored: Deque[List[int]] = collections.deque()
        self._stored_lock = threading.Lock()  # they are drawn in another thread
        self.is_drawn = False
        self.skipped = 0
        self._keys: Dict[int, bytes] = {}  # of tasks that are under way
        self._gaps: List[Tuple[int, int]] = []  # so many sent, so many skipped before
        self._sent = 0
        self._first: Optional[bytes] = None  # key of task 0
        self._block: Dict[int, bytes] = {}  # keys in the file ...
        self._block_end: Optional[int] = 0  # ... of tasks before this one; None: all
        self._parts = _parts(function, star, key)
        with _lock:
            self._opened = _open(path)
            self._file = self._opened.file
            self._place = self._find_place()
            self._opened.left = None

    def _find_place(self) -> int:
        opened = self._opened
        left, place = opened.left, opened.next
        self._file.recover()
        if left is not None and self._goes_on(left):
            self._file.flush()
            return left[0]
        if place < self._file.maps:
            self._block, self._block_end = self._file.keys(place, 0)
        if self._block:
            self._compare(self._file.callable_of(place), place)
        else:
            self._file.put_map(place, self._parts)
            self._block_end = None  # nothing to be read
        opened.next += 1
        return place

    def _goes_on(self, left: _Left) -> bool:
        """Whether this is the map again that did not come to its end."""
        _, parts, first_key = left
        if parts != self._parts or first_key is None:
            return False
        first = next(self._tasks, left)
        if first is left:
            return False
        self._tasks = _chain(first, self._tasks)
        return self._key_of(first) == first_key

    def _compare(self, held: Dict[str, str], place: int) -> None:
        if held != self._parts:
            raise CheckpointError(
                f"{self._file.path} holds the results of another callable: "
                f"{_difference(held, self._parts)} ({_ordinal(place)}). "
                "Put back what it was; or, to begin anew, delete the file or give "
                "another one"
            )

    # --- tasks ---

    def _key_of(self, task: Any) -> bytes:
        if self._key is not None:
            return digest_of(self._key(task))
        return self._digest_task(task)

    def _stored_key(self, number: int) -> Optional[bytes]:
        if self._block_end is not None and number >= self._block_end:
            self._block, self._block_end = self._file.keys(self._place, number)
        return self._block.get(number)

    def missing(
        self, deliver: Optional[Callable[[int, bytes], object]] = None
    ) -> Iterator[Tuple[int, Any]]:
        """The tasks whose results are not in the file, numbered.

        Parameters
        ----------
        deliver : callable, optional
            Called with the numbers and results of the others.
        """
        for number, task in enumerate(self._tasks):
            key = self._key_of(task)
            if number == 0:
                self._first = key
            stored = self._stored_key(number)
            if stored is None:
                self._keys[number] = key
                self._sent += 1
                yield number, task
            elif stored != key:
                raise CheckpointError(self._other_task(number))
            else:
                self._skip(number)
                if deliver is not None:
                    deliver(number, self.result(number))
        self.is_drawn = True

    def _other_task(self, number: int) -> str:
        advice = (
            "Where tasks are equal and their pickles are not, as those of sets, give "
            "checkpoint_key=. "
            if self._key is None
            else ""
        )
        return (
            f"{self._file.path} holds the results of other tasks: task {number} is "
            f"another one ({_ordinal(self._place)}). {advice}Put back the tasks, "
            "in their order; or, to begin anew, delete the file or give another one"
        )

    def _skip(self, number: int) -> None:
        self.skipped += 1
        if self._gaps and self._gaps[-1][0] == self._sent:
            self._gaps[-1] = self._sent, self.skipped
        else:
            self._gaps.append((self._sent, self.skipped))
        with self._stored_lock:
            if self._stored and self._stored[-1][1] == number:
                self._stored[-1][1] = number + 1
            else:
                self._stored.append([number, number + 1])

    def take_stored(self, wanted: Optional[int]) -> Optional[int]:
        """The lowest number of those in the file that were drawn and not taken.

        None: there is none, or it is not the one that is wanted.
        """
        with self._stored_lock:
            if not self._stored or wanted not in (None, self._stored[0][0]):
                return None
            run = self._stored[0]
            run[0] += 1
            if run[0] == run[1]:
                self._stored.popleft()
            return run[0] - 1

    def number_of(self, sent: int) -> int:
        """The number of the task that the pool knows by another one."""
        gap = bisect.bisect_right(self._gaps, (sent, sys.maxsize)) - 1
        return sent + (self._gaps[gap][1] if gap >= 0 else 0)

    # --- results ---

    def keep(self, answer: Answer, sent: int) -> None:
        """A result has come; or what the task raised, which the next run tries again."""
        if isinstance(answer, BaseException):
            del self._keys[self.number_of(sent)]
            return
        number, result = answer
        self._file.put(self._place, number, self._keys.pop(number), result)

    def result(self, number: int) -> bytes:
        """One that was in the file."""
        return self._file.result(self._place, number)

    def load(self, number: int, result: bytes) -> Any:
        """The object that was kept."""
        try:
            return pickle.loads(result)
        except Exception as error:
            raise CheckpointError(
                f"the result of task {number}, which {self._file.path} holds, cannot be "
                f"unpickled ({type(error).__name__}: {error})"
            ) from error

    def is_all(self, results: int) -> bool:
        """Whether so many are the results of all tasks."""
        return self.is_drawn and results == self._sent + self.skipped

    def leave(self) -> None:
        """It ends before its end: the same map begun next goes on with it."""
        with _lock:
            if self._opened.next == self._place + 1:
                self._opened.left = self._place, self._parts, self._first

    def shown(self, show: Optional[Show]) -> Optional[Show]:
        """The same, which counts what was in the file, too."""
        if show is None:
            return None

        def count(done: int, total: Optional[int], busy: int) -> object:
            skipped = self.skipped
            return show(done + skipped, None if total is None else total + skipped, busy)

        return count

    def map(
        self,
        run: Callable[..., object],
        callback: Optional[Callable[[Any], object]],
        return_results: bool,
    ) -> Optional[List[Any]]:
        """Map, and return what the pool's `map` does.

        Parameters
        ----------
        run : callable
            Maps: called with callable, tasks, and what each result is to be given to,
            with the task's number among those.
        callback, return_results
            The user's.
        """
        kept: Dict[int, Any] = {}
        is_wanted = callback is not None or return_results

        def deliver(number: int, result: Any) -> None:
            if return_results:
                kept[number] = result
            if callback is not None:
                callback(result)

        def deliver_stored(number: int, data: bytes) -> None:
            deliver(number, self.load(number, data))

        def arrived(answer: Answer, sent: int) -> None:
            self.keep(answer, sent)
            if not is_wanted:
                return
            if isinstance(answer, BaseException):
                errors.renumber(answer, self.number_of)
                deliver(self.number_of(sent), answer)
            else:
                deliver_stored(*answer)

        try:
            run(self.worker, self.missing(deliver_stored if is_wanted else None), arrived)
        except BaseException as error:
            self.leave()
            errors.renumber(error, self.number_of)
            raise
        return [kept[number] for number in range(len(kept))] if return_results else None


def _ordinal(place: int) -> str:
    return f"its map {place}, counted from 0 in the order in which they begin"


def _check(path: Any, key: Any, function: Any) -> None:
    if path is None:
        raise ValueError("checkpoint_key is for tasks of a map with checkpoint=")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be a file's path, not {type(path).__name__}")
    if key is not None and not callable(key):
        raise TypeError(
            f"checkpoint_key must be callable or None, not {type(key).__name__}"
        )
    if not callable(function):
        raise TypeError(
            "what the pool is to call must be callable, not " + type(function).__name__
        )


def _chain(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    del first
    yield from others


_NAME, _PYTHON, _HOW, _KEYED = "name", "Python", "called with", "checkpoint_key"


def _parts(function: Any, star: bool, key: Key) -> Dict[str, str]:
    return {
        _NAME: _name(function),
        _PYTHON: "%d.%d" % sys.version_info[:2],
        _HOW: "what a task holds" if star else "a task",
        _KEYED: "none" if key is None else "given",
        **parts_of(function),
    }


def _name(function: Any) -> str:
    while not hasattr(function, "__qualname__") and hasattr(function, "func"):
        function = function.func  # of a functools.partial
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None)}.{named.__qualname__}"


def _difference(held: Dict[str, str], here: Dict[str, str]) -> str:
    """What differs, in words."""
    for name, words in (
        (_NAME, "it is that of {}, and not of {}"),
        (_PYTHON, "it was run by Python {}, and not {}"),
        (_HOW, "it was called with {}, and not with {}"),
        (_KEYED, "checkpoint_key was {}, and is {}"),
    ):
        if held.get(name) != here[name]:
            return words.format(held.get(name), here[name])
    both = [n for n in held if n in here and held[n] != here[n] and n != CALLABLE]
    one = [n for n in (*held, *here) if (n in held) != (n in here)]
    return ", ".join(f"{name} differs" for name in both or one or ["the data it carries"])


# ---- results one by one ----------------------------------------------------------


class Results:
    """What `imap` and its kin give: results from the file and from the pool.

    Parameters
    ----------
    call : Call
        The map.
    iterator : object
        What the pool gives for the tasks that are `missing`; its ``_take`` waits for
        the next result, and its ``close`` ends it.
    unordered : bool
        Whether the order is free.
    """

    def __init__(self, call: Call, iterator: Any, unordered: bool) -> None:
        self._call = call
        self._iterator = iterator
        self._is_unordered = unordered
        self._number = 0  # of the next result, where they are ordered
        self._came: Optional[Tuple[bool, Any]] = None  # from the pool, not given yet
        self._end: Optional[Exception] = None  # which comes behind what is stored
        self._given = 0
        self._is_over = False
        self._lock = threading.RLock()

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for it.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        is_late = False
        with self._lock:
            while True:
                is_drawn = self._call.is_drawn  # before it is looked what is stored
                number = self._call.take_stored(
                    None if self._is_unordered else self._number
                )
                if number is not None:
                    return self._give(number, self._call.result(number))
                # What came follows all that was stored before it: it was drawn first.
                if self._came is not None:
                    return self._give_what_came()
                if self._end is not None:
                    self._raise_end()
                if is_late:
                    raise errors.TimeoutError("no result came in time")
                self._wait(_left(until), None if is_drawn else pause)
                is_late = until is not None and time.monotonic() >= until
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _give(self, number: int, result: bytes) -> Any:
        self._given += 1
        self._number = number + 1
        return self._call.load(number, result)

    def _give_what_came(self) -> Any:
        assert self._came is not None
        (success, value), self._came = self._came, None
        if success and not isinstance(value, BaseException):
            return self._give(*value)
        self._given += 1
        self._number += 1
        errors.renumber(value, self._call.number_of)
        if success:  # it stands in place of a result
            return value
        if isinstance(value, StopIteration):  # it is not the end
            raise RuntimeError("a task raised StopIteration") from value
        raise value

    def _raise_end(self) -> None:
        end, self._end = self._end, None
        assert end is not None
        if isinstance(end, StopIteration):
            self._is_over = True
        else:
            self._leave()
            errors.renumber(end, self._call.number_of)
        raise end

    def _wait(self, left: Optional[float], pause: Optional[float]) -> None:
        """For a result; but for a moment only while more may prove to be stored."""
        times = [seconds for seconds in (left, pause) if seconds is not None]
        try:
            self._came = self._iterator._take(min(times) if times else None)
        except Exception as end:
            self._end = end

    def close(self) -> None:
        """End it: what was not begun is not begun."""
        self._leave()
        self._iterator.close()

    def _leave(self) -> None:
        """Nothing more is taken: was it all?"""
        if not self._is_over and not self._call.is_all(self._given):
            self._call.leave()
        self._is_over = True

    def __del__(self) -> None:
        self._leave()


def _left(until: Optional[float]) -> Optional[float]:
    return None if until is None else max(until - time.monotonic(), 0)
