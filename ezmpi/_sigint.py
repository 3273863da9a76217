"""Ctrl-C that comes to a worker later than to the master: see csrc/sigint.h."""

from __future__ import annotations

import signal
import threading
import time

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable, Optional


class _Late:
    """Stands before the user's handler until it is too late to be the master's."""

    def __init__(
        self, handler: Callable[[int, Optional[FrameType]], object], until: float
    ) -> None:
        self.handler = handler
        self.until = until

    def __call__(self, number: int, frame: Optional[FrameType]) -> None:
        if time.monotonic() >= self.until:
            self.handler(number, frame)


def expect(seconds: float) -> None:
    """Drop what comes in so many seconds; 0: the user's handler is in force again."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python has no signal handled there
    handler = signal.getsignal(signal.SIGINT)
    users = handler.handler if isinstance(handler, _Late) else handler
    if seconds > 0 and callable(users):
        signal.signal(signal.SIGINT, _Late(users, time.monotonic() + seconds))
    elif users is not handler:
        signal.signal(signal.SIGINT, users)
