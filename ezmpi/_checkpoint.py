"""What ``checkpoint=`` of the pools' methods does: results that are in a file are taken
from there, and others are put there as they come.

The pool is given only the tasks whose results are not in the file, and numbers them: a
task has one number for the pool ("sent"), and another among the user's. Results come back
pickled by the worker: these bytes are kept. What is done for each task is written to be
quick, since the master does it while workers wait. Must not know of SQL, nor of MPI.

Where several locks are held, they were taken in this order: a `Results`' own, `_lock`,
those of the file. What the garbage collector may run at any time takes none of them; nor
does any but the first stay held while the user's code runs.
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

from . import _exit_code, errors, pool
from ._fingerprint import CALLABLE, TaskDigest, digest_of, parts_of
from ._pickled import Pickled
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

    from ._checkpoint_file import Row

    Path = Union[str, "os.PathLike[str]"]
    Key = Optional[Callable[[Any], Any]]
    # Of a map: the parts of its callable, the key of its first task.
    _Left = Tuple[Dict[str, str], Optional[bytes]]
    Show = Callable[[int, Optional[int], int], object]
    # What the pool gives for a task: its pickled result, or what it raised.
    Answer = Union[bytes, BaseException]

__all__ = ["Call", "Results", "close_all"]

# Iterators that run no code but Python's own, as in csrc/tasks.c.
_CALM = {type(iter([])), type(iter(())), type(iter(range(0)))}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05  # seconds, see Results


# ---- the files that are open -----------------------------------------------------


class _Opened:
    """An open file, and how far the script has come in it."""

    def __init__(self, path: str) -> None:
        from ._checkpoint_file import File

        self.process = os.getpid()
        self.next = 0  # place of the next map
        # Maps that did not come to their end, by their places: the last one counts.
        self.left: Dict[int, _Left] = {}
        self.file = File(path)  # last: what fails before leaves nothing open


_opened: Dict[str, _Opened] = {}
_lock = threading.RLock()


def _open(path: str) -> _Opened:
    """The file, which stays open, and locked, until the process ends."""
    opened = _opened.get(path)
    if opened is not None and opened.process != os.getpid():
        raise CheckpointError(
            f"{path} is in use by the process that this one was forked from"
        )
    if opened is not None and not opened.file.is_there():  # deleted, to begin anew
        del _opened[path]
        opened.file.close()
        opened = None
    if opened is None:
        _watch_exit()
        opened = _opened[path] = _Opened(path)
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
        except Exception as error:
            raised.append(error)
    return raised


def end() -> None:
    """The same, where it cannot be raised: it is said, and the exit code is not 0."""
    raised, stream = close_all(), sys.stderr
    if raised:
        _exit_code.fail()
    for error in raised:
        if stream is not None:
            print(f"ezmpi: {error}", file=stream, flush=True)


@functools.lru_cache(maxsize=None)
def _watch_exit() -> None:
    atexit.register(_at_exit)


def _at_exit() -> None:
    if not pool._watch_exit.cache_info().currsize:  # else it does it, behind its jobs
        end()


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
    may_have_stored : bool
        Whether tasks may be drawn yet whose results are in the file.
    calm : list
        Not empty when `missing` runs no code of the user's any more: any thread may draw.
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
        self._is_keyed = key is not None
        self._key_of: Callable[[Any], bytes] = TaskDigest()
        if key is not None:
            own_key = key
            self._key_of = lambda task: digest_of(own_key(task))
        self._tasks = iter(tasks)
        is_own = key is None and type(self._tasks) in _CALM
        self._becomes_calm = [True] if is_own else []
        self.calm: List[bool] = []
        self.worker = Pickled(function, star)
        # of those that were drawn and not taken: runs, from the first up to the other
        self._stored: Deque[List[int]] = collections.deque()
        self._stored_lock = threading.Lock()  # they are drawn in another thread
        self.is_drawn = False
        self.skipped = 0
        self._row: Optional[Row] = None  # of the file, that was read last
        self._keys: Dict[int, bytes] = {}  # of tasks that are under way, by `sent`
        self._gaps: List[Tuple[int, int]] = []  # so many sent, so many skipped before
        self._sent = 0
        self._first: Optional[bytes] = None  # key of task 0
        self._parts = _parts(function, star, key)
        path = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # checked
        with _lock:
            self._opened = _open(path)
            self._file = self._opened.file
        self._file.recover()
        goes_on = self._goes_on()
        with _lock:
            self._place = self._find_place(goes_on)
            self._opened.left.clear()

    def _goes_on(self) -> Optional[int]:
        """The place of the last map, if that did not come to its end and is this one.

        For that the first task is drawn: the user's code runs.
        """
        place = self._opened.next - 1
        parts, first_key = self._opened.left.get(place, (None, None))
        if parts != self._parts or first_key is None:
            return None
        first = next(self._tasks, self)
        if first is self:
            return None
        self._tasks = _chain(first, self._tasks)
        return place if self._key_of(first) == first_key else None

    def _find_place(self, goes_on: Optional[int]) -> int:
        opened, place = self._opened, self._opened.next
        if goes_on == place - 1 and goes_on in opened.left:  # no other thread was quicker
            self._file.flush()
            self._look(goes_on)
            return goes_on
        self._look(place)
        if self.may_have_stored:
            self._compare(self._file.callable_of(place), place)
        else:
            self._file.put_map(place, self._parts)
        opened.next += 1
        return place

    def _look(self, place: int) -> None:
        """Where the keys of its tasks that are in the file begin."""
        self._stored_keys = self._file.keys(place)
        self._go_to_key(0)

    def _compare(self, held: Dict[str, str], place: int) -> None:
        if held != self._parts:
            raise CheckpointError(
                f"{self._file.path} holds the results of another callable: "
                f"{_difference(held, self._parts)} ({_ordinal(place)}). "
                "Put back what it was; or, to begin anew, delete the file or give "
                "another one"
            )

    # --- tasks ---

    def _go_to_key(self, number: int) -> None:
        """Of that task, or of the first behind it."""
        entry = next(self._stored_keys, None)
        while entry is not None and entry[0] < number:
            entry = next(self._stored_keys, None)
        self._next_stored, self._next_key = entry or (-1, b"")
        self.may_have_stored = entry is not None
        if entry is None:  # one draw is one task from here on
            self.calm[:] = self._becomes_calm

    def missing(
        self, deliver: Optional[Callable[[int, Any], object]] = None
    ) -> Iterator[Any]:
        """The tasks whose results are not in the file.

        Parameters
        ----------
        deliver : callable, optional
            Called with the numbers and results of the others.
        """
        key_of, keys = self._key_of, self._keys
        for number, task in enumerate(self._tasks):
            key = key_of(task)
            if number == 0:
                self._first = key
            if number != self._next_stored:
                keys[self._sent] = key
                self._sent += 1
                yield task
            elif key != self._next_key:
                raise CheckpointError(self._other_task(number))
            else:
                self._skip(number)
                self._go_to_key(number + 1)
                if deliver is not None:
                    deliver(number, self.result(number))
        self.is_drawn = True
        self.may_have_stored = False

    def _other_task(self, number: int) -> str:
        advice = (
            "Where tasks are equal and their pickles are not, as those of sets, give "
            "checkpoint_key=. "
            if not self._is_keyed
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

    def has_stored(self) -> bool:
        """Whether there are, or may yet be, results for `take_stored`."""
        return self.may_have_stored or bool(self._stored)

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

    def keep(self, answer: Answer, sent: int) -> int:
        """A result has come; or what the task raised, which the next run tries again.

        Returns the task's number.
        """
        number = self.number_of(sent) if self._gaps else sent
        key = self._keys.pop(sent)
        if not isinstance(answer, BaseException):
            self._file.put(self._place, number, key, answer)
        return number

    def result(self, number: int) -> Any:
        """One that was in the file."""
        result = None if self._row is None else self._row.get(number)
        if result is None:  # they are asked for in order
            self._row = self._file.row_with(self._place, number)
            result = self._row.get(number)
        return result

    def load(self, number: Optional[int], result: Any) -> Any:
        """The object that was kept; of some task, where its number is not known."""
        try:
            return pickle.loads(result)
        except Exception as error:
            task = "a task" if number is None else f"task {number}"
            raise CheckpointError(
                f"the result of {task}, which {self._file.path} holds, cannot be "
                f"unpickled ({type(error).__name__}: {error})"
            ) from error

    def is_all(self, results: int) -> bool:
        """Whether so many are the results of all tasks."""
        return self.is_drawn and results == self._sent + self.skipped

    def leave(self) -> None:
        """It ends before its end: the same map begun next goes on with it.

        No result comes any more. Without a lock: the garbage collector may run it.
        """
        self._opened.left[self._place] = self._parts, self._first
        self._keys.clear()

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

        def tell(number: int, result: Any) -> None:
            if return_results:
                kept[number] = result
            callback(result)  # type: ignore  # it is not None

        deliver = kept.__setitem__ if callback is None else tell

        def deliver_stored(number: int, data: Any) -> None:
            deliver(number, self.load(number, data))

        def arrived(answer: Answer, sent: int) -> None:
            number = self.keep(answer, sent)
            if not is_wanted:
                return
            if isinstance(answer, BaseException):
                errors.renumber(answer, self.number_of)
                deliver(number, answer)
            else:
                deliver(number, self.load(number, answer))

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

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for it.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            number = self._wait_for_stored(until) if self._call.has_stored() else None
            if number is not None:
                self._given += 1
                self._number += 1
                return self._call.load(number, self._call.result(number))
            if self._came is None and self._end is None:
                self._wait(None if until is None else _left(until))
            if self._came is not None:
                return self._give_what_came()
            if self._end is not None:
                self._raise_end()
            raise errors.TimeoutError("no result came in time")

    __next__ = next  # and not a call of it: this is done for every result

    def _wait_for_stored(self, until: Optional[float]) -> Optional[int]:
        """The number of the next result, if that is in the file.

        Which is not known before the task is drawn: so it waits until then, unless a
        result comes from the pool, or the end.
        """
        pause = _FIRST_PAUSE
        wanted = None if self._is_unordered else self._number
        while True:
            may_come = self._call.may_have_stored  # before it is looked what is stored
            number = self._call.take_stored(wanted)
            # What came follows all that was stored before it: it was drawn first.
            has_come = self._came is not None or self._end is not None
            if number is not None or has_come or not may_come or _left(until) == 0:
                return number
            left = _left(until)
            self._wait(pause if left is None else min(left, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _give_what_came(self) -> Any:
        assert self._came is not None
        (success, value), self._came = self._came, None
        number = None if self._is_unordered else self._number
        self._given += 1
        self._number += 1
        if success and not isinstance(value, BaseException):
            return self._call.load(number, value)
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

    def _wait(self, seconds: Optional[float]) -> None:
        try:
            self._came = self._iterator._take(seconds)
        except Exception as end:
            self._end = end

    def close(self) -> None:
        """End it: what was not begun is not begun."""
        self._iterator.close()
        self._leave()

    def _leave(self) -> None:
        """Nothing more is taken: was it all?"""
        if not self._is_over and not self._call.is_all(self._given):
            self._call.leave()
        self._is_over = True

    def __del__(self) -> None:
        self.close()


def _left(until: Optional[float]) -> Optional[float]:
    return None if until is None else max(until - time.monotonic(), 0)
