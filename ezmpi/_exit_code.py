"""Has Python end with an exit code that is not 0, though its end has begun.

What functions of `atexit` raise is shown, and changes no code; and to end the process
there would leave out those that were registered before, and the end of MPI. But where
standard streams cannot be flushed in the end, Python's code is 120 (see `sys.exit`).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any


def fail() -> None:
    """From a function of `atexit`: the exit code is to be 120."""
    sys.stderr = _Unflushed(sys.stderr)


class _Unflushed:
    """A stream, but for Python's own last flush of it, which fails."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()
        try:
            sys._getframe(1)
        except ValueError:  # no Python code has called this
            raise OSError("what was to be written at the end could not be") from None
