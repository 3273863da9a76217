"""What ``progress=`` of the pool's methods shows: a bar of tqdm's, or the numbers."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional, Union

    Wanted = Union[bool, str, Callable[[int, Optional[int], Optional[int]], object], None]

SECONDS = 0.1  # between two looks


class _Numbers:
    """Gives them to a function of the user's."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def show(self, done: int, total: Optional[int], busy: Optional[int]) -> None:
        self._function(done, total, busy)

    def close(self) -> None:
        pass


class _Bar:
    """A bar of tqdm's: silent where standard error is no terminal, unless asked."""

    def __init__(self, description: Optional[str]) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                "progress needs tqdm: pip install tqdm; or give a function, which is "
                "called with the tasks done, their number or None, and the busy workers"
            ) from None
        silent = None if os.environ.get("EZMPI_PROGRESS", "0") in ("", "0") else False
        self._bar = tqdm(desc=description, unit="task", disable=silent)

    def show(self, done: int, total: Optional[int], busy: Optional[int]) -> None:
        self._bar.total = total
        if busy is not None:
            self._bar.set_postfix_str(f"{busy} busy", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


def begin(wanted: Wanted) -> Any:
    """What shows it, or None.

    Raises
    ------
    ImportError
        If a bar is wanted, and tqdm is not installed.
    TypeError
        If it is neither True, a description, a function, nor None or False.
    """
    if wanted is None or wanted is False:
        return None
    if isinstance(wanted, str):
        return _Bar(wanted)
    if callable(wanted):
        return _Numbers(wanted)
    if wanted is not True:
        raise TypeError(
            "progress must be True, a description (str), a function or None, not "
            f"{type(wanted).__name__}"
        )
    return _Bar(None)


def follow(ticket: Any, display: Any) -> None:
    """Wait for the ticket's job, and show how far it is."""
    try:
        while not ticket.wait(SECONDS):
            display.show(*ticket.progress())
        display.show(*ticket.progress())
    except BaseException:
        ticket.abandon()
        raise
    finally:
        display.close()


def follow_in_background(result: Any, ticket: Any, display: Any) -> None:
    """The same in a thread of its own, which does not wait as one who drives."""
    import threading

    def run() -> None:
        while not result.ready():
            display.show(*ticket.progress())
            time.sleep(SECONDS)
        display.show(*ticket.progress())
        display.close()

    threading.Thread(target=run, name="ezmpi-progress", daemon=True).start()


class Counted:
    """A callback that shows how often it was called."""

    def __init__(
        self, callback: Optional[Callable[[Any], object]], tasks: Any, display: Any
    ) -> None:
        self._callback = callback
        self._display = display
        self._total = len(tasks) if hasattr(tasks, "__len__") else None
        self._done = 0
        self._shown = 0.0

    def __call__(self, result: Any) -> None:
        if self._callback is not None:
            self._callback(result)
        self._done += 1
        now = time.monotonic()
        if now - self._shown > SECONDS:
            self._shown = now
            self._display.show(self._done, self._total, None)

    def close(self) -> None:
        self._display.show(self._done, self._total, None)
        self._display.close()


class Watched:
    """The results of `imap`, and a display of how far they are."""

    def __init__(self, results: Any, display: Any) -> None:
        self._results = results
        self._display = display
        self._shown = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown > SECONDS:
            self._shown = now
            self._display.show(*self._results.progress())

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Any:
        """As that of the results themselves."""
        from .errors import TimeoutError

        end = None if timeout is None else time.monotonic() + timeout
        while True:
            self._show()
            try:
                return self._results.next(SECONDS)
            except TimeoutError:
                if end is not None and time.monotonic() >= end:
                    raise
            except StopIteration:
                self.close()
                raise

    def close(self) -> None:
        """End the job, and the display."""
        numbers = self._results.progress()
        if numbers is not None:
            self._display.show(*numbers)
        self._results.close()
        self._display.close()
