"""What ``progress=`` of the pools' methods shows: a bar of tqdm's, or the numbers."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Union

    Show = Callable[[int, Optional[int], int], object]
    Wanted = Union[bool, str, Show, None]

SECONDS = 0.1  # from one look to the next, as PROGRESS_SECONDS in progress.h
_FILE_SECONDS = 5.0  # from one line to the next, where it goes to no terminal

# What starts rank 0 and passes on what it writes, as /proc calls it.
_LAUNCHERS = (
    "hydra_pmi_proxy",
    "mpiexec",
    "mpiexec.hydra",
    "mpirun",
    "orterun",
    "prterun",
)


class Display:
    """What a method shows while it is in the ``with`` block that this opens.

    Parameters
    ----------
    wanted : bool, str, callable or None
        True: a bar; a str: a bar of that name; a callable gets the numbers: tasks done,
        of how many (None: not known yet), workers that have something to do.
    tasks : iterable, optional
        The tasks, which may have a length.

    Attributes
    ----------
    show : callable or None
        What the pool is to call with the numbers; it may give None for the number of
        tasks where `tasks` has a length.
    total : int or None
        That length.

    Raises
    ------
    ImportError
        If a bar is wanted, and tqdm is not installed.
    TypeError
        If `wanted` is none of these.
    """

    def __init__(self, wanted: Wanted, tasks: Any = None) -> None:
        self._bar: Optional[_Bar] = None
        self.show: Optional[Show] = None
        self.total: Optional[int] = len(tasks) if hasattr(tasks, "__len__") else None
        if wanted is None or wanted is False:
            return
        if wanted is True or isinstance(wanted, str):
            self._bar = self.show = _Bar(None if wanted is True else wanted)
        elif callable(wanted):
            self.show = wanted
        else:
            raise TypeError(
                "progress must be True, a description (str), a function or None, not "
                f"{type(wanted).__name__}"
            )
        if self.total is not None:
            self.show = _knowing(self.total, self.show)

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Optional[Show]:
        return self.show

    def __exit__(self, *exception: object) -> None:
        self.close()


def _knowing(length: int, show: Show) -> Show:
    """The same, told the number of tasks also while the pool does not know it."""

    def know(done: int, total: Optional[int], busy: int) -> object:
        return show(done, length if total is None else total, busy)

    return know


class _Bar:
    """A bar of tqdm's, which closes itself when it is dropped."""

    def __init__(self, description: Optional[str]) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                "progress needs tqdm: pip install tqdm; or give a function, which is "
                "called with the tasks done, their number or None, and the busy workers"
            ) from None
        terminal = _terminal()
        is_closed = sys.stderr is None or sys.stderr.closed
        is_file = terminal is None and sys.stderr is sys.__stderr__
        asked = os.environ.get("EZMPI_PROGRESS", "")
        self._bar = tqdm(
            desc=description,
            unit="task",
            disable=is_closed or _is_silent(asked, terminal),
            ncols=_columns(terminal) if terminal else None,
            delay=0 if is_file else 1e-9,  # first shown with numbers
            mininterval=_FILE_SECONDS if is_file else 0,
            miniters=0,
            smoothing=0,
        )

    def __call__(self, done: int, total: Optional[int], busy: int) -> None:
        if self._bar.disable:
            return
        if total != self._bar.total:
            self._know(total)
        self._bar.set_postfix_str(f"{busy} busy" if busy else "", refresh=False)
        self._bar.update(done - self._bar.n)

    def _know(self, total: Optional[int]) -> None:
        self._bar.total = total
        if hasattr(self._bar, "container"):  # a notebook's, which learns it only so
            start = self._bar.start_t
            self._bar.reset(total)
            self._bar.start_t = start

    def close(self) -> None:
        self._bar.close()


def _is_silent(asked: str, terminal: Optional[str]) -> Optional[bool]:
    """None: a notebook shows it, and nothing else where there is no terminal."""
    if asked:
        return asked == "0"
    return None if terminal is None else False


# ---- the terminal ----------------------------------------------------------------


def _terminal() -> Optional[str]:
    """The terminal that standard error leads to, "" if it is not known which, or None.

    A launcher gives rank 0 a pipe, and passes on what comes: so its own counts.
    """
    if sys.stderr is None or sys.stderr.closed:
        return None
    if sys.stderr.isatty():
        return ""
    if sys.stderr is not sys.__stderr__:  # a notebook's, say
        return None
    try:
        name = _launchers_output(os.getppid())
    except (OSError, ValueError, IndexError):  # no /proc, or another's process
        return None
    return name if name.startswith(("/dev/pts/", "/dev/tty")) else None


def _launchers_output(process: int) -> str:
    """Where the standard error of the uppermost launcher leads; "" without one."""
    name = ""
    while True:
        with open(f"/proc/{process}/stat") as file:
            before, _, after = file.read().rpartition(")")
        if before.partition("(")[2] not in _LAUNCHERS:
            return name
        name = os.readlink(f"/proc/{process}/fd/2")
        process = int(after.split()[1])  # its parent


def _columns(terminal: str) -> Optional[int]:
    """The width of the terminal; tqdm finds that of this process's own itself."""
    try:
        opened = os.open(terminal, os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return os.get_terminal_size(opened).columns or None
    except OSError:
        return None
    finally:
        os.close(opened)


# ---- in the background -----------------------------------------------------------

_threads: List[Any] = []


def follow(future: Any, display: Display) -> None:
    """Show how far the future's job is, in a thread, until it has ended."""
    import threading

    ended = threading.Event()
    future.add_done_callback(lambda _: ended.set())
    arguments = future._ticket, display, ended
    thread = threading.Thread(target=_follow, args=arguments, daemon=True)
    _threads[:] = [other for other in _threads if other.is_alive()] + [thread]
    thread.start()


def _follow(ticket: Any, display: Display, ended: Any) -> None:
    try:
        while not ended.wait(SECONDS):
            _show(ticket, display)
        _show(ticket, display)
    except Exception:
        import logging

        logging.getLogger("ezmpi").exception(
            "exception showing the progress of %r", ticket
        )
    finally:
        display.close()


def _show(ticket: Any, display: Display) -> None:
    numbers = ticket.progress()
    if numbers is not None and display.show is not None:
        display.show(*numbers)


def join() -> None:
    """Wait until the last is shown of what has ended."""
    for thread in _threads:
        thread.join(10 * SECONDS)
