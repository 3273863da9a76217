"""What a queue sends before it ends a job, for the script to act on: `on_signal`.

On the master the hook's handlers run the user's function. Workers have handlers, too,
which do nothing: launchers and queues send a signal to every rank, and one that dies of
it takes the job with it. They are Python's, not SIG_IGN, which programs that a task
starts would inherit.
"""

from __future__ import annotations

import functools
import os
import signal

from . import _mpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

_SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
_SECONDS = 2.0  # what busy workers get to end after SIGTERM: the queue does not wait


class SignalExit(SystemExit):
    """The script ends by a signal.

    Attributes
    ----------
    ending_seconds : float
        What busy workers get.
    """

    ending_seconds = _SECONDS


_installed: List[_Handler] = []  # the last one last


class _Handler:
    """Stands in place of what was done with the signals before."""

    def __init__(self) -> None:
        """Raises a ValueError in another thread than Python's main thread."""
        self._before: Dict[int, Any] = {}
        _watch_forks()
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self)
        _installed.append(self)

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        pass

    def restore(self) -> None:
        """Unless another handler was set meanwhile, which may go on to this one."""
        _installed.remove(self)
        for number, before in self._before.items():
            if signal.getsignal(number) is self and before is not None:
                signal.signal(number, before)


@functools.lru_cache(maxsize=None)
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_restore_all)


def _restore_all() -> None:
    """A child of a task's, or of the master's, dies of its signals as it would.

    That of a worker's that isolates tasks is about to `begin`.
    """
    global _on_worker
    _on_worker = None
    for handler in reversed(_installed[:]):
        handler.restore()


class Hook(_Handler):
    """A function of the user's, on the master; nothing on workers.

    Which it is, it is not told before the constructor of the pool is over, which on
    workers is the end.
    """

    def __init__(self, function: Callable[[int], object]) -> None:
        if not callable(function):
            raise TypeError(
                f"on_signal must be callable or None, not {type(function).__name__}"
            )
        self._function = function
        self._is_master = False
        self._is_closed = False
        try:
            super().__init__()
        except ValueError:
            raise ValueError(
                "on_signal needs a pool that is made in Python's main thread: no other "
                "can have signals handled"
            ) from None

    def begin(self) -> None:
        """It is the master's."""
        self._is_master = True

    def remove(self) -> None:
        """Do with the signals what was done before.

        In another thread than the main one that cannot be: what comes is passed on.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.restore()
        except ValueError:
            pass

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        if self._is_closed or (not self._is_master and _mpi.is_first()):
            self._pass_on(number, frame)
        elif self._is_master and not self._function(number):
            self._go_on(number, frame)

    def _was(self, number: int) -> Any:
        """What was there before; not the hook of a pool that was closed since."""
        before = self._before[number]
        while isinstance(before, Hook) and before._is_closed:
            before = before._before[number]
        return before

    def _go_on(self, number: int, frame: Optional[FrameType]) -> None:
        """What was there before; but nothing dies of SIGUSR1, and SIGTERM exits."""
        before = self._was(number)
        if callable(before):
            self._pass_on(number, frame)
        elif before == signal.SIG_DFL and number == signal.SIGTERM:
            _exit(128 + number)

    def _pass_on(self, number: int, frame: Optional[FrameType]) -> None:
        before = self._was(number)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _exit(code: int) -> NoReturn:
    _mpi.set_ending(_SECONDS, code)
    raise SignalExit(code)


_on_worker: Optional[_Handler] = None
_of_child: Any = None  # shared with it, and so those after it: 1 once it ignores


class _Guard(_Handler):
    """In a guard (csrc/guard.c), which does as its children do.

    Only they hear of the hook where the worker's constructor was not given it.
    """

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        before = self._before[number]
        if _of_child[0] == 0 and before is not None:
            signal.signal(number, before)
            os.kill(os.getpid(), number)


def follow_child() -> None:
    """Have a guard ignore the signals once its child does."""
    global _of_child
    import mmap

    _of_child = mmap.mmap(-1, 1)
    _Guard()


def forking(fork: Callable[[Callable[[], None]], Any]) -> Any:
    """Fork workers that ignore the signals from their first moment on.

    `fork` is given what each of them is to call first.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def begin_worker() -> None:
        _ignore()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        # Raises what comes just then, and has blocked them nevertheless.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        return fork(begin_worker)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore() -> None:
    global _on_worker
    if _on_worker is None and not isinstance(signal.getsignal(signal.SIGTERM), Hook):
        try:
            _on_worker = _Handler()
        except ValueError:  # it does not serve in Python's main thread
            pass


def begin(
    initializer: Optional[Callable[..., object]], initargs: Tuple[Any, ...]
) -> None:
    """Have a worker ignore the signals; then what the user's initializer does.

    Where the worker's constructor was not given the hook: under ``python -m ezmpi``.
    """
    _ignore()
    if _of_child is not None:
        _of_child[0] = 1
    if initializer is not None:
        initializer(*initargs)
