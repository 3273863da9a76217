"""``python -m ezmpi info``: what MPI there is, how it was started, and how fast it is."""

from __future__ import annotations

import os
import sys
import time

from . import __version__, _mpi
from ._mpi import choice
from ._mpi.launcher import find_launcher
from .errors import TransportError
from .pool import MPIPool

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

TRIPS = 200  # of which the median is told
BLOCK = bytes(8_000_000)


def main() -> None:
    """Print it, on rank 0; the other ranks serve and end."""
    if _mpi.is_under_launcher() and not _mpi.is_first():
        MPIPool()
    problems: List[str] = []
    _tell("ezmpi", f"{__version__}, Python {sys.version.split()[0]}, {sys.executable}")
    _tell("transports", _transports())
    _tell_library(problems)
    _tell_launcher()
    if _mpi.is_under_launcher():
        _tell_ranks(problems)
    elif not problems:
        command = " ".join(_mpi.launch_command(4))
        problems.append(f"none found; started alone. Try: {command} python -m ezmpi info")
    _tell("problems", "; ".join(problems) or "none found")


def _tell(what: str, text: str) -> None:
    print(f"{what + ':':<12} {text}", flush=True)


def _transports() -> str:
    built = [f"{each.name} (for {each.needs})" for each in choice.compiled()]
    return ", ".join(built) or "none"


def _tell_library(problems: List[str]) -> None:
    try:
        _tell("library", _mpi.describe())
    except TransportError as error:
        _tell("library", "none that can be used")
        problems.append(str(error))


def _tell_launcher() -> None:
    launcher = find_launcher()
    seen = f"{launcher.name}, {launcher.ranks} ranks" if launcher else "none"
    try:
        expected = _mpi.launch_command(4)[0]
    except TransportError:
        expected = "not known"
    _tell("launcher", f"seen: {seen}; expected: {expected}")


# ---- with workers ----------------------------------------------------------------


def _tell_ranks(problems: List[str]) -> None:
    try:
        pool = MPIPool()
    except (TransportError, ValueError) as error:
        problems.append(str(error))
        return
    facts = [_facts(), *pool.run_everywhere(_facts)]
    by_host: Dict[str, List[int]] = {}
    for rank, (host, _, _) in enumerate(facts):
        by_host.setdefault(host, []).append(rank)
    hosts = [f"{host}: {_ranges(ranks)}" for host, ranks in by_host.items()]
    _tell("ranks", "; ".join(hosts))
    _tell("processors", _processors(facts, problems, by_host))
    times = [_measure(pool, rank) for rank in range(1, pool.size + 1)]
    _tell("round trip", ", ".join(f"{trip * 1e6:.0f}" for trip, _ in times) + " µs")
    _tell("bandwidth", ", ".join(f"{rate / 1e9:.1f}" for _, rate in times) + " GB/s")


def _facts() -> Tuple[str, int, int]:
    """The host, the processors that this rank may use, and those that are there."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    there = os.cpu_count() or 1
    return os.uname().nodename, usable or there, there


def _ranges(ranks: List[int]) -> str:
    if len(ranks) > 2 and ranks == list(range(ranks[0], ranks[-1] + 1)):
        return f"{ranks[0]}-{ranks[-1]}"
    return ", ".join(map(str, ranks))


def _processors(
    facts: List[Tuple[str, int, int]], problems: List[str], by_host: Dict[str, List[int]]
) -> str:
    told = []
    for host, ranks in by_host.items():
        there = facts[ranks[0]][2]
        usable = sorted({facts[rank][1] for rank in ranks})
        bound = "not bound" if usable == [there] else f"each rank has {usable[0]}"
        told.append(f"{host}: {there}, {bound}")
        if len(ranks) > there + 1:
            problems.append(
                f"{len(ranks)} ranks share {there} processors on {host}: start at most "
                f"{there + 1} there, since rank 0 mostly waits"
            )
    return "; ".join(told)


def _echo(data: Any) -> Any:
    return data


def _measure(pool: MPIPool, rank: int) -> Tuple[float, float]:
    """Seconds there and back, and bytes a second, with one worker."""
    times = []
    for _ in range(TRIPS):
        start = time.perf_counter()
        pool._apply_at(rank, _echo, 0)
        times.append(time.perf_counter() - start)
    best = min(_time(pool, rank) for _ in range(3))
    return sorted(times)[TRIPS // 2], 2 * len(BLOCK) / best


def _time(pool: MPIPool, rank: int) -> float:
    start = time.perf_counter()
    pool._apply_at(rank, _echo, BLOCK)
    return time.perf_counter() - start
