"""The thread that drives jobs while no other thread waits for one: csrc/driver.h."""

from __future__ import annotations

import os
import threading

from . import _ezmpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, List

_STOP_SECONDS = 5.0
_process = os.getpid()  # a forked child has no such threads
_threads: List[threading.Thread] = []


def start(crew: Any, may_not_drive: bool) -> bool:
    """Start the thread of a crew; called by the engine, once a crew."""
    if may_not_drive:
        import warnings

        warnings.warn(
            "MPI was not initialised with MPI_THREAD_MULTIPLE: asynchronous work goes on "
            "only while a thread waits for it",
            RuntimeWarning,
            stacklevel=3,
        )
    thread = threading.Thread(
        target=_ezmpi.drive, args=(crew,), name="ezmpi-driver", daemon=True
    )
    thread.start()
    _threads.append(thread)
    return True


def join() -> None:
    """Wait for the end of the threads, which were told to stop: before MPI ends."""
    if os.getpid() != _process:
        return
    for thread in _threads:
        thread.join(_STOP_SECONDS)
