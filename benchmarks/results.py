"""The figures of a benchmark run, and what follows from them."""

import statistics
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from pools import POOLS
from sweeps import EVERY_ROW

Run = Dict[str, Any]  # what a process printed, or {"error": why it printed nothing}


def is_for_the_record(pool: str) -> bool:
    """Measured once: its environment takes long to start, and no target is set by it."""
    return bool(POOLS[pool].requirements)


class Results:
    def __init__(
        self,
        rows: List[str],
        pools: List[str],
        plan: "Plan",
        skipped: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.rows = rows
        self.pools = pools
        self.plan = plan
        self.skipped = skipped  # rows that are not measured, and why
        self.runs: Dict[str, Dict[str, List[Run]]] = {
            row: {pool: [] for pool in pools} for row in rows
        }

    def times(self, row: str, pool: str) -> List[float]:
        """Seconds a unit, of every run that measured any."""
        runs = self.runs[row].get(pool, [])
        return [run["seconds"] / run["n"] for run in runs if "seconds" in run]

    def seconds(self, row: str, pool: str) -> Optional[float]:
        times = self.times(row, pool)
        return statistics.median(times) if times else None

    def speed(self, row: str, pool: str, reference: str) -> Optional[float]:
        """How many times as fast as the reference."""
        own, other = self.seconds(row, pool), self.seconds(row, reference)
        return other / own if own and other else None

    def errors(self, row: str, pool: str) -> List[str]:
        return [run["error"] for run in self.runs[row][pool] if "error" in run]

    def spreads(self) -> List[float]:
        """(Longest - shortest) / median, of every cell measured several times."""
        cells = [self.times(row, pool) for row in self.rows for pool in self.pools]
        return [
            (max(times) - min(times)) / statistics.median(times)
            for times in cells
            if len(times) > 1
        ]

    def of_pool(self, pool: str) -> List[Run]:
        return [run for row in self.rows for run in self.runs[row][pool]]


class Plan(NamedTuple):
    repeat: int = 5
    scale: float = 1.0  # of every row's n
    budget: float = 5.0  # seconds that a measurement should take at most
    limit: float = 60.0  # seconds after which a process is ended
    mpiexec: str = "mpiexec"
    load: float = 0.0  # the machine's load average before the run
    in_turn: bool = False  # a row has not all the other pools, but one of them

    def n(self, row: str) -> int:
        return max(1, int(EVERY_ROW[row].n * self.scale))
