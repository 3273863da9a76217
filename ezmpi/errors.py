"""The exceptions of ezmpi, and how one travels from a worker to the master."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, FrozenSet, List, Optional, Tuple, Type

    BrokenPoolError: Type[RuntimeError]  # see the end of this file

    # What a worker sends of an exception: its pickle or None, whether it was a
    # SystemExit, its type and message as text, the traceback, what was being done with
    # the task, where, the names of its type and of that one's bases.
    _Account = Tuple[Optional[bytes], bool, str, str, str, str, Tuple[str, ...]]

__all__ = [
    "BrokenPoolError",
    "CheckpointError",
    "PoolClosedError",
    "RemoteError",
    "RemoteTraceback",
    "TaskExit",
    "TimeoutError",
    "TransportError",
    "WorkerDied",
]

_SINGLE_CALL = (1 << 64) - 1  # in place of a task's number, see csrc/errors.h


class TransportError(ImportError):
    """No MPI can be used, or MPI reported an error.

    Raised when the first pool finds no MPI library that fits, with what was found
    and the command that mends it; later, with the MPI call that failed.

    Examples
    --------
    >>> try:
    ...     pool = MPIPool()
    ... except TransportError as error:
    ...     print(error)
    """


class PoolClosedError(RuntimeError, ValueError):
    """The pool was used after ``close``.

    A `RuntimeError` as `concurrent.futures` raises, and a `ValueError` as
    `multiprocessing` does.

    Examples
    --------
    >>> pool.close()
    >>> try:
    ...     pool.map(abs, [-1])
    ... except PoolClosedError:
    ...     print("too late")
    too late
    """


class CheckpointError(ValueError):
    """The file given as ``checkpoint`` cannot be used for this map.

    It holds results of another callable or of other tasks, is in use by another process,
    is no checkpoint, or cannot be read or written: the text says what and where, and what
    to do. What the file holds is left as it is.

    Examples
    --------
    >>> try:
    ...     pool.map(abs, [-1], checkpoint="/proc/no such directory/run.sqlite")
    ... except CheckpointError:
    ...     print("not there")
    not there
    """


class RemoteError(Exception):
    """A task raised an exception that could not itself be brought to the master.

    Its class cannot be pickled, or not be made again from its arguments.  The text
    holds the exception's type and message, its cause the remote traceback.

    Examples
    --------
    >>> class NeedsTwo(Exception):
    ...     def __init__(self, one, two):
    ...         super().__init__(one)
    >>> def fail(x):
    ...     raise NeedsTwo(x, x)
    >>> try:
    ...     pool.map(fail, [1])
    ... except RemoteError as error:
    ...     print(error)
    NeedsTwo: 1
    """

    _kinds: FrozenSet[str] = frozenset()  # names of the types that it was of


class TaskExit(RuntimeError):
    """A task called `sys.exit` or raised `SystemExit`.

    Parameters
    ----------
    code : object, optional
        What the task passed to `sys.exit`.

    Attributes
    ----------
    code : object
        The same.

    Examples
    --------
    >>> import sys
    >>> try:
    ...     pool.map(sys.exit, [3])
    ... except TaskExit as error:
    ...     print(error.code)
    3
    """

    def __init__(self, code: object = None) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"a task called sys.exit({self.code!r})"


class WorkerDied(RuntimeError):
    """A worker's process ended while it ran a task, or before it could.

    Where a task can be run again it is; this is raised for one that was run when
    several workers died, for a call that was meant for the rank that died, and where
    no worker is left.

    Parameters
    ----------
    text : str
        What is known of it.
    task : int, optional
        Index of the task; None: a single call, or none.
    rank : int, optional
        The worker's rank.
    host : str, optional
        Name of the host that it ran on.
    signal : int, optional
        Number of the signal that ended it.
    exitcode : int, optional
        The exit code that it ended with, if it did.

    Attributes
    ----------
    task, rank, signal, exitcode : int or None
        The same; None where it is not known.
    host : str or None
        The same.

    Examples
    --------
    >>> try:
    ...     results = pool.map(abs, [-1])
    ... except WorkerDied as error:
    ...     print(error.task, error.rank, error.host)
    """

    def __init__(
        self,
        text: str = "a worker died",
        task: Optional[int] = None,
        rank: Optional[int] = None,
        host: Optional[str] = None,
        signal: Optional[int] = None,
        exitcode: Optional[int] = None,
    ) -> None:
        super().__init__(text)
        self.task = task
        self.rank = rank
        self.host = host
        self.signal = signal
        self.exitcode = exitcode


class TaskTimeout(TimeoutError):
    """A task ran for longer than its `task_timeout`, and was killed with its process.

    Parameters
    ----------
    text : str
        What is known of it.
    task : int, optional
        Index of the task; None: a single call.
    rank : int, optional
        The worker's rank.
    host : str, optional
        Name of the host that it ran on.

    Attributes
    ----------
    task, rank : int or None
        The same.
    host : str or None
        The same.

    Examples
    --------
    >>> try:
    ...     results = pool.map(abs, [-1])
    ... except TaskTimeout as error:
    ...     print(error.task, error.rank, error.host)
    """

    def __init__(
        self,
        text: str = "a task took too long",
        task: Optional[int] = None,
        rank: Optional[int] = None,
        host: Optional[str] = None,
    ) -> None:
        super().__init__(text)
        self.task = task
        self.rank = rank
        self.host = host


class RemoteTraceback(Exception):
    """The traceback on the worker, as text: the cause of what the master raises.

    Parameters
    ----------
    text : str
        The traceback, then a note with task, rank and host.

    Attributes
    ----------
    text : str
        The same.

    Examples
    --------
    >>> try:
    ...     pool.map(int, ["x"])
    ... except ValueError as error:
    ...     print(isinstance(error.__cause__, RemoteTraceback))
    True
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


# What few runs need is imported where it is needed.


def _make_timeout_error() -> Type[Exception]:
    import concurrent.futures
    import multiprocessing

    bases: Tuple[Type[Exception], ...] = (multiprocessing.TimeoutError, TimeoutError)
    if concurrent.futures.TimeoutError is not TimeoutError:  # before Python 3.11
        bases += (concurrent.futures.TimeoutError,)
    text = """A result did not come in time, or the pool was terminated before it came.

    It is the built-in `TimeoutError`, `multiprocessing.TimeoutError` and
    `concurrent.futures.TimeoutError`, whichever the program catches.

    Examples
    --------
    >>> import time
    >>> try:
    ...     pool.apply_async(time.sleep, (1,)).get(timeout=0.01)
    ... except TimeoutError:
    ...     print("late")
    late
    """
    names = {"__module__": __name__, "__qualname__": "TimeoutError", "__doc__": text}
    return type("TimeoutError", bases, names)


def _make_broken_pool_error() -> Type[Exception]:
    import concurrent.futures

    text = """The pool's initializer failed on a worker; its cause tells where and how.

    With ``isolate=True`` also one that ended three processes of a worker in a row.

    A `concurrent.futures.BrokenExecutor`, and so a `RuntimeError`.

    Examples
    --------
    >>> try:
    ...     MPIPool(initializer=int, initargs=["x"]).map(abs, [-1])
    ... except BrokenPoolError as error:
    ...     print(error)
    the initializer failed on rank ...: ValueError: ...
    """
    names = {"__module__": __name__, "__qualname__": "BrokenPoolError", "__doc__": text}
    return type("BrokenPoolError", (concurrent.futures.BrokenExecutor,), names)


# Their bases' modules take long to import: they are made when they are needed first.
_LATE = {"TimeoutError": _make_timeout_error, "BrokenPoolError": _make_broken_pool_error}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, _LATE[name]())


def _text(exception: BaseException) -> str:
    import traceback

    try:
        lines = traceback.format_exception_only(type(exception), exception)
        return "".join(lines).strip()
    except Exception:  # a __str__ of the user's that fails
        return type(exception).__qualname__


def _traceback(exception: BaseException) -> str:
    import traceback

    try:
        return "".join(
            traceback.format_exception(
                type(exception), exception, exception.__traceback__
            )
        )
    except Exception:
        return _text(exception)


def _pickled(exception: BaseException) -> Optional[bytes]:
    from ._pickling import Encoder

    try:
        return Encoder(None)(exception, None)
    except BaseException:  # whatever its __reduce__ does
        return None


def _mark_by_result(exception: BaseException) -> None:
    """Note that pickling a task's result raised it; the engine takes it for a task."""
    # Whatever its class makes of attributes: it may be frozen.
    BaseException.__setattr__(exception, "_ezmpi_by_result", True)


def _account(exception: BaseException, rank: int, what: str) -> _Account:
    """What a worker tells of an exception; can always be pickled."""
    attributes = BaseException.__getattribute__(exception, "__dict__")
    if attributes.pop("_ezmpi_by_result", False):
        what = "pickling the result of task"
    is_exit = isinstance(exception, SystemExit)
    if is_exit:
        exception_to_send: BaseException = TaskExit(exception.code)  # type: ignore
    else:
        exception_to_send = exception
    return (
        _pickled(exception_to_send),
        is_exit,
        _text(exception),
        _traceback(exception),
        what,
        f"rank {rank} on {os.uname().nodename}",
        tuple(map(_name, type(exception).__mro__)),
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _was_of(exception: BaseException, kinds: Tuple[type, ...]) -> bool:
    """Whether it was of one of these on the worker, from where it could not be sent."""
    if not isinstance(exception, RemoteError):
        return False
    return not exception._kinds.isdisjoint(map(_name, kinds))


def _load(pickled: Optional[bytes]) -> Optional[BaseException]:
    import pickle

    if pickled is None:
        return None
    try:
        exception = pickle.loads(pickled)
    except KeyboardInterrupt:
        raise
    except BaseException:  # its class needs other arguments, or is not here
        return None
    return exception if isinstance(exception, BaseException) else None


def _place(what: str, task: int) -> str:
    """What went wrong, which ends in "task", with the task's number."""
    if task == _SINGLE_CALL:
        return what[: -len("task")] + "the call"
    return f"{what} {task}"


def _where(rank: int, host: Optional[str]) -> str:
    return f"rank {rank}" if host is None else f"rank {rank} on {host}"


def _number(task: int) -> Optional[int]:
    return None if task == _SINGLE_CALL else task


def _it(task: int) -> str:
    return "a call" if task == _SINGLE_CALL else f"task {task}"


def _worker_died(task: int, rank: int, host: Optional[str]) -> WorkerDied:
    """The exception for a task that nobody can run, or that no worker survives."""
    text = f"{_where(rank, host)} died while it had {_place('task', task)}"
    return WorkerDied(text, task=_number(task), rank=rank, host=host)


def _how(signum: int, code: int) -> str:
    import signal

    if not signum:
        return f"ended with exit code {code}" if code >= 0 else "ended"
    try:
        name = f" ({signal.Signals(signum).name})"
    except ValueError:
        name = ""
    return f"was ended by signal {signum}{name}"


def _child_died(
    task: int, rank: int, before: Optional[str], signum: int, code: int, peak: int
) -> WorkerDied:
    """The exception for the task that an isolated worker's child did not survive.

    before: what that did last, where it had not begun the task.
    """
    runs = "ran" if before is None else "was to run"
    text = f"the process that {runs} {_it(task)} on rank {rank} {_how(signum, code)}"
    if peak > 0:
        text += f"; its memory was {peak / 1024:.0f} MB at most"
    if before is not None:
        text += f", before the task began, and so did those before it: {before}"
    host = os.uname().nodename
    exitcode = code if not signum and code >= 0 else None
    return WorkerDied(text, _number(task), rank, host, signum or None, exitcode)


def _deadly(rank: int, ended: int) -> WorkerDied:
    """The exception for a task that uses what nobody unpickles and lives."""
    signum, code = (0, ended - 256) if ended >= 256 else (ended, -1)
    how = _how(signum, code)
    text = (
        f"the worker's process on rank {rank} {how} before the task began, each time "
        "that it was given what was shared: unpickling that is what it did last"
    )
    host = os.uname().nodename
    return WorkerDied(text, None, rank, host, signum or None, code if code >= 0 else None)


def _timed_out(task: int, rank: int, seconds: float) -> TaskTimeout:
    """The exception for a task that ran for too long."""
    text = f"{_it(task)} took more than {seconds:g} s on rank {rank}, and was ended"
    return TaskTimeout(text, _number(task), rank, os.uname().nodename)


def _warn_death(rank: int, host: Optional[str], left: int) -> None:
    import sys
    import warnings

    text = f"{_where(rank, host)} died; its tasks run on the {left} workers that are left"
    if left == 0:
        text = f"{_where(rank, host)} died; no worker is left"
    if left == 1:
        text = f"{_where(rank, host)} died; its tasks run on the one worker that is left"
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("ezmpi."):
        level, frame = level + 1, frame.f_back  # to the line that used the pool
    warnings.warn(f"ezmpi: {text}", RuntimeWarning, stacklevel=level)


def _restore(account: _Account, task: int, broken: bool) -> BaseException:
    """The exception to raise in the master for a worker's account."""
    pickled, is_exit, text, remote_traceback, what, where, kinds = account
    exception = _load(pickled)
    if broken:
        from .errors import BrokenPoolError  # it may have to be made

        exception = BrokenPoolError(f"the initializer failed on {where}: {text}")
    elif exception is None and is_exit:
        exception = TaskExit()
    elif exception is None:
        exception = RemoteError(text)
        exception._kinds = frozenset(kinds)
    note = f"Raised by {_place(what, task)}, {where}."
    exception.__cause__ = RemoteTraceback(f'\n"""\n{remote_traceback}"""\n{note}')
    _add_note(exception, note)
    return exception


def renumber(exception: BaseException, number_of: Callable[[int], int]) -> None:
    """Correct the task's number in what `_restore` or `_note` said last.

    For tasks that the pool knows by another number than the user does.
    """
    import re

    def corrected(text: str) -> str:
        *_, match = (None, *re.finditer(r"^Raised by .*task (\d+), rank", text, re.M))
        if match is None:
            return text
        number = str(number_of(int(match[1])))
        return text[: match.start(1)] + number + text[match.end(1) :]

    if isinstance(exception, (WorkerDied, TaskTimeout)) and exception.task is not None:
        number = number_of(exception.task)
        old, new = _place("task", exception.task), _place("task", number)
        exception.args = (str(exception).replace(old, new), *exception.args[1:])
        exception.task = number
    notes = getattr(exception, "__notes__", [])
    for i in reversed(range(len(notes))):
        if notes[i].startswith("Raised by "):
            notes[i] = corrected(notes[i])
            break
    cause = exception.__cause__
    if isinstance(cause, RemoteTraceback):
        cause.text = corrected(cause.text)


def _note(exception: BaseException, what: str, task: int) -> None:
    """Say of an exception raised in the master which task it belongs to."""
    place = _place(f"{what} task", task)
    note = f"Raised by {place}, rank 0 on {os.uname().nodename}."
    if not _add_note(exception, note) and exception.__cause__ is None:
        exception.__cause__ = RemoteTraceback(note)


def _note_attempts(exception: BaseException, ranks: List[int]) -> None:
    """Say of a worker's exception how often its task was run, and where."""
    *others, last = [str(rank) for rank in ranks]
    places = f"ranks {', '.join(others)} and {last}"
    note = f"Given up after {len(ranks)} attempts, on {places}."
    if not _add_note(exception, note):
        cause = exception.__cause__
        exception.__cause__ = RemoteTraceback(f"{cause}\n{note}" if cause else note)


def _add_note(exception: BaseException, note: str) -> bool:
    add_note: Any = getattr(exception, "add_note", None)  # Python 3.11
    if add_note is None:
        return False
    add_note(note)
    return True
