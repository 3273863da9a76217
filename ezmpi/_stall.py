"""Warns of workers that have had a task for longer than EZMPI_STALL seconds.

A thread of the master's looks, so that it does not matter which thread drives, or
whether one does.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from . import _status

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Dict, Optional, Set, Tuple

    from .pool import MPIPool

    # Of a chunk: the worker's rank, the job, the first task, how many.
    Chunk = Tuple[int, int, int, int]

_LOOK_SECONDS = 5.0  # at most, from one look to the next
_JOIN_SECONDS = 5.0
_end = threading.Event()
_thread: Optional[threading.Thread] = None
_process = os.getpid()


def seconds() -> float:
    """What EZMPI_STALL says; 0: no warning is wanted.

    Raises
    ------
    ValueError
        If it is not a number of seconds.
    """
    text = os.environ.get("EZMPI_STALL") or "0"
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < threading.TIMEOUT_MAX:
        raise ValueError(
            "EZMPI_STALL must be the seconds after which a task is warned of, such as "
            f"600, or 0 for no warning, not {text!r}"
        )
    return number


def watch() -> None:
    """Begin, once a process."""
    global _thread
    patience = seconds()
    if _thread is not None or patience == 0:
        return
    _thread = threading.Thread(
        target=_run, args=(patience,), name="ezmpi-stall", daemon=True
    )
    _thread.start()


def join() -> None:
    """End: before MPI does."""
    if _thread is None or os.getpid() != _process:
        return
    _end.set()
    _thread.join(_JOIN_SECONDS)


def _run(patience: float) -> None:
    told: Dict[int, Set[Chunk]] = {}
    while not _end.wait(min(patience / 4, _LOOK_SECONDS)):
        _look(patience, told)


def _look(patience: float, told: Dict[int, Set[Chunk]]) -> None:
    """At the workers of each communicator; told: of what was warned, by its handle."""
    from .pool import _masters

    pools = {pool._handle: pool for pool in _masters()}
    for handle, pool in pools.items():
        told[handle] = _warn(pool, patience, told.get(handle, set()))


def _warn(pool: MPIPool, patience: float, told: Set[Chunk]) -> Set[Chunk]:
    now = time.time()
    late: Set[Chunk] = set()
    try:
        rows = pool._workers_status()
    except Exception:  # the pool's own calls raise it, too
        return told
    for row, status in zip(rows, _status.of(rows)):
        if status.state == "idle" or status.seconds is None:
            continue
        if status.seconds < patience:
            continue
        chunk = (status.rank, row[5], row[6], row[7])
        late.add(chunk)
        if chunk not in told:
            since = time.strftime("%H:%M:%S", time.localtime(now - status.seconds))
            print(f"ezmpi: {status}, since {since}", file=sys.stderr, flush=True)
    return late
