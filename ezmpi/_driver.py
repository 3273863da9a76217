"""The thread that drives jobs while no other thread waits for one: csrc/driver.h."""

from __future__ import annotations

import os
import threading

from . import _ezmpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, List, Tuple

_STOP_SECONDS = 5.0
_process = os.getpid()  # a forked child has no such threads
_threads: List[Tuple[threading.Thread, Any]] = []  # with their crews


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
    _threads[:] = [each for each in _threads if each[0].is_alive()]
    _threads.append((thread, crew))
    return True


def join() -> None:
    """Stop the threads, whose pools may have gone, and wait: before MPI ends."""
    if os.getpid() != _process:
        return
    for _, crew in _threads:
        _ezmpi.stop_driving(crew)
    for thread, _ in _threads:
        thread.join(_STOP_SECONDS)
