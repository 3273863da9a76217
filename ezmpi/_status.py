"""What a worker does, as `MPIPool.workers_status` tells it."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence


class WorkerStatus(NamedTuple):
    """What a worker does now, as far as the master knows; see `MPIPool.workers_status`.

    Parameters
    ----------
    rank : int
        The worker's rank in the communicator.
    host : str or None
        The name of its host; None: it has not told it yet.
    state : str
        "idle", or "busy": it has something that it has not answered for.
    callable : str or None
        The name of what it calls; None: it is idle, or its job was given up.
    first_task : int or None
        The number of the first task of those that it got together; None: it is idle, or
        has a single call.
    tasks : int
        How many these are; 0: it is idle.
    seconds : float or None
        Since it got them or, if it had others, answered for those; of an idle worker
        since its last answer. None: it never had any.

    Examples
    --------
    >>> from ezmpi import WorkerStatus
    >>> status = WorkerStatus(3, "node7", "busy", "simulate", 17, 1, 312.5)
    >>> print(status)
    rank 3 on node7 has run task 17 of simulate for 312 s
    """

    rank: int
    host: Optional[str]
    state: str
    callable: Optional[str]
    first_task: Optional[int]
    tasks: int
    seconds: Optional[float]

    def __str__(self) -> str:
        where = f"rank {self.rank} on {self.host or 'a host not known yet'}"
        if self.state == "idle":
            return f"{where} is idle"
        digits = 1 if self.seconds is not None and self.seconds < 10 else 0
        return f"{where} has run {self._what()} for {self.seconds:.{digits}f} s"

    def _what(self) -> str:
        of = self.callable or "a job that was given up"
        if self.first_task is None:
            return f"a call of {of}"
        if self.tasks == 1:
            return f"task {self.first_task} of {of}"
        return f"tasks {self.first_task} to {self.first_task + self.tasks - 1} of {of}"


def of(told: Sequence[Any]) -> List[WorkerStatus]:
    """The records of what the engine tells."""
    return [
        WorkerStatus(
            rank,
            host,
            "busy" if is_busy else "idle",
            name,
            first if is_busy and not is_call else None,
            count,
            seconds,
        )
        for rank, host, is_busy, name, is_call, _, first, count, seconds in told
    ]
