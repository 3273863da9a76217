"""``python -m ezmpi info``: what MPI there is, how it was started, and how fast it is.

Always the same ten lines; a line that cannot be known says why.
"""

from __future__ import annotations

import os
import sys
import time

from . import __version__, _mpi
from .errors import TransportError
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple


TRIPS = 200  # of which the median is told
BLOCKS = 3  # of which the fastest is told
BLOCK = 8_000_000  # bytes
LISTED = 16  # workers; of more, only the extremes are told


class _Rank:
    """What a rank says of itself: its host, and the processors that it may use."""

    def __init__(self) -> None:
        self.host = os.uname().nodename
        self.processors = os.cpu_count() or 1  # of the host
        self.usable = tuple(range(self.processors))
        if hasattr(os, "sched_getaffinity"):
            self.usable = tuple(sorted(os.sched_getaffinity(0)))


def main() -> None:
    """Print it, on rank 0; the other ranks serve and end."""
    if not _mpi.is_first():
        MPIPool()
    problems: List[str] = []
    _tell("ezmpi", f"{__version__}, {os.path.dirname(os.path.abspath(__file__))}")
    _tell("python", f"{sys.version.split()[0]}, {sys.executable}")
    _tell("transports", ", ".join(_mpi.transports()) or "none")
    _tell("library", _library(problems))
    _tell("launcher", _launcher(problems))
    works = _tell_ranks(problems) if _mpi.is_under_launcher() else _tell_alone(problems)
    _tell("problems", "; ".join(problems) or "none found")
    if not works:
        raise SystemExit(1)


def _tell(what: str, text: str) -> None:
    print(f"{what + ':':<12} {text}", flush=True)


def _library(problems: List[str]) -> str:
    try:
        return _mpi.describe()
    except TransportError as error:
        problems.append(str(error))
        return "none that can be used"


def _launcher(problems: List[str]) -> str:
    try:
        expected = _mpi.launch_command(4)[0]
    except TransportError as error:
        expected = "not known"
        if not problems:
            problems.append(str(error))
    return f"seen: {_mpi.launcher_seen() or 'none'}; expected: {expected}"


def _tell_alone(problems: List[str]) -> bool:
    """Whether nothing was found that would stop a job."""
    _tell("ranks", "this process alone")
    _tell("processors", _processors([_Rank()], problems))
    _tell_times("not measured: no workers")
    if problems:
        return False
    command = " ".join(_mpi.launch_command(4))
    problems.append(f"none found; with workers: {command} python -m ezmpi info")
    return True


def _tell_times(trip: str, rate: str = "") -> None:
    _tell("round trip", trip)
    _tell("bandwidth", rate or trip)


# ---- with workers ----------------------------------------------------------------


def _tell_ranks(problems: List[str]) -> bool:
    """Whether a pool could be made."""
    try:
        pool = MPIPool()
    except TransportError as error:
        if str(error) not in problems:
            problems.append(str(error))
        _tell("ranks", "no pool can be made: see problems")
        _tell("processors", f"{os.cpu_count()} on this host")
        _tell_times("not measured: no pool")
        return False
    ranks = [_Rank(), *pool.run_everywhere(_Rank)]
    by_host: Dict[str, List[int]] = {}
    for number, rank in enumerate(ranks):
        by_host.setdefault(rank.host, []).append(number)
    _tell("ranks", "; ".join(f"{host}: {_list(of)}" for host, of in by_host.items()))
    _tell("processors", _processors(ranks, problems))
    times = [_measure(pool, number) for number in sorted(pool.workers)]
    _tell_times(
        _each([trip * 1e6 for trip, _ in times], "{:.0f}") + " µs",
        _each([rate / 1e9 for _, rate in times], "{:.2f}") + " GB/s",
    )
    return True


def _list(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _processors(ranks: List[_Rank], problems: List[str]) -> str:
    told = []
    for host in dict.fromkeys(rank.host for rank in ranks):
        here = [rank for rank in ranks if rank.host == host]
        told.append(f"{host}: {here[0].processors}, {_binding(here)}")
        sets = [rank.usable for rank in here]
        for usable in dict.fromkeys(sets):
            if sets.count(usable) > len(usable) + 1:
                problems.append(
                    f"{sets.count(usable)} ranks on {host} share {len(usable)} of its "
                    f"processors: let at most {len(usable) + 1} do so (rank 0 mostly "
                    "waits), with fewer ranks or another binding by the launcher"
                )
    return "; ".join(told)


def _binding(ranks: List[_Rank]) -> str:
    """Which of the host's processors its ranks may use."""
    sizes = sorted({len(rank.usable) for rank in ranks})
    if sizes == [ranks[0].processors]:
        return "no rank bound"
    if len({rank.usable for rank in ranks}) == 1:
        return f"all ranks bound to the same {sizes[0]}"
    if len(sizes) == 1:
        return f"each rank bound to {sizes[0]}"
    return f"each rank bound to {sizes[0]} to {sizes[-1]}"


def _each(values: List[float], form: str) -> str:
    """The values of ranks 1, 2, ...; of very many, the extremes."""
    if len(values) <= LISTED:
        return ", ".join(map(form.format, values))
    by_value = sorted((value, rank) for rank, value in enumerate(values, 1))
    places = (("least", 0), ("median", len(values) // 2), ("most", -1))
    return ", ".join(
        f"{what} {form.format(by_value[place][0])} (rank {by_value[place][1]})"
        for what, place in places
    )


def _echo(data: Any) -> Any:
    return data


def _echo_block(block: Any) -> Any:
    import pickle

    return pickle.PickleBuffer(block)  # as arrays travel: beside the pickle


def _measure(pool: MPIPool, rank: int) -> Tuple[float, float]:
    """Seconds there and back, and bytes a second, with one worker."""
    trips = [_seconds(pool, rank, _echo, None) for _ in range(TRIPS)]
    block = _echo_block(bytearray(BLOCK))
    best = min(_seconds(pool, rank, _echo_block, block) for _ in range(BLOCKS))
    return sorted(trips)[TRIPS // 2], 2 * BLOCK / best


def _seconds(pool: MPIPool, rank: int, function: Any, argument: Any) -> float:
    start = time.perf_counter()
    pool._submit_to(rank, function, argument).result()
    return time.perf_counter() - start
