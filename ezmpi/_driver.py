"""The thread that drives jobs while no other thread waits for one: csrc/driver.h."""

from __future__ import annotations

import os
import threading

from . import _ezmpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Dict

_STOP_SECONDS = 5.0
_process = os.getpid()  # a forked child has no such threads
_threads: Dict[threading.Thread, Any] = {}  # those that run, and their crews


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
    thread = threading.Thread(target=_run, args=(crew,), name="ezmpi-driver", daemon=True)
    _threads[thread] = crew
    try:
        thread.start()
    except BaseException:  # while it waited for the thread, perhaps, which runs
        if thread.ident is None:
            _threads.pop(thread, None)
        raise
    return True


def _run(crew: Any) -> None:
    """It holds the crew no longer than it drives."""
    thread = threading.current_thread()
    _threads[thread] = crew  # also where its start has failed meanwhile
    try:
        _ezmpi.drive(crew)
    finally:
        _threads.pop(thread, None)


def join() -> None:
    """Stop the threads, whose pools may have gone, and wait: before MPI ends."""
    if os.getpid() != _process:
        return
    threads = _threads.copy()
    for crew in threads.values():
        _ezmpi.stop_driving(crew)
    for thread in threads:
        thread.join(_STOP_SECONDS)
