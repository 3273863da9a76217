"""The thread that drives jobs while no other thread waits for one: csrc/driver.h."""

from __future__ import annotations

import atexit
import os
import threading

from . import _ezmpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any

_STOP_SECONDS = 5.0
_process = os.getpid()  # a forked child has no such thread


def start(crew: Any, may_not_drive: bool) -> bool:
    """Start the thread of a crew; called by the engine, once a crew."""
    if may_not_drive:
        import warnings

        warnings.warn(
            "MPI was initialised for one thread only: asynchronous work goes on only "
            "while a thread waits for it; initialise MPI with MPI_THREAD_MULTIPLE",
            RuntimeWarning,
            stacklevel=3,
        )
    thread = threading.Thread(
        target=_ezmpi.drive, args=(crew,), name="ezmpi-driver", daemon=True
    )
    thread.start()
    atexit.register(_stop, crew, thread)
    return True


def _stop(crew: Any, thread: threading.Thread) -> None:
    from .pool import finish

    if os.getpid() != _process:
        return

    try:
        finish()
    finally:
        _ezmpi.stop_driver(crew)
        thread.join(_STOP_SECONDS)
