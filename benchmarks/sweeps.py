"""Rows that differ in one quantity: the points of the plots, an entry each.

run.py measures them as any row, where they are asked for by name.
"""

import re
from typing import Dict, NamedTuple, Sequence

import numpy as np
import tasks
from rows import MB, ROWS, STEP, Floor, Prepare, Row, Work, emcee_with

LOOPS = [40, 120, 400, 1200, 4000, 12000, 40000, 120000, 400000]  # 1 us to 10 ms
ALL_LOOPS = 12_000_000  # of all tasks of a row
ARRAYS = {"80B": 80, "1kB": 1000, "10kB": 10_000, "100kB": 100_000, "1MB": MB}
ARRAYS["8MB"] = 8 * MB
ALL_ARRAYS = 200 * MB  # bytes of all tasks of a row
DATA = {"1kB": 1000, "10kB": 10_000, "100kB": 100_000, "1MB": MB, "8MB": 8 * MB}
DATA["64MB"] = 64 * MB


class Sweep(NamedTuple):
    rows: Dict[str, Row]
    points: Dict[str, float]  # a row's quantity: loops, or bytes
    beside: Sequence[str]  # the pool that the plot needs, whatever is compared


def counts(loops: int) -> Prepare:
    def prepare() -> Work:
        return lambda map, n: map(tasks.count_to, [loops] * n)

    return prepare


def arrays_of(size: int) -> Prepare:
    def prepare() -> Work:
        arrays = [np.full(size // 8, number, float) for number in range(arrays_in(size))]
        return lambda map, n: map(tasks.size_of, arrays[:n])

    return prepare


def arrays_in(size: int) -> int:
    return min(20000, ALL_ARRAYS // size)


def spaced(size: str) -> str:
    """1 kB, of 1kB."""
    return re.sub(r"(?<=\d)(?=[kMB])", " ", size)


def duration_row(loops: int) -> Row:
    n = ALL_LOOPS // loops
    return Row(f"counting to {loops:,}", "tasks/s", n, counts(loops), targets={})


def array_row(name: str, size: int) -> Row:
    title = f"array of {spaced(name)} as task"
    floor = Floor(there=size)
    n = arrays_in(size)
    return Row(title, "tasks/s", n, arrays_of(size), floor, targets={})


def emcee_row(name: str, size: int) -> Row:
    title = f"emcee step, {spaced(name)} of data, 2 workers"
    n = max(2, min(100, 20 * MB // size))
    return Row(title, "steps/s", n, emcee_with(size), STEP, workers=2, targets={})


SWEEPS: Dict[str, Sweep] = {
    "durations": Sweep(
        {f"count-{loops}": duration_row(loops) for loops in LOOPS},
        {f"count-{loops}": loops for loops in LOOPS},
        ["serial"],
    ),
    "arrays": Sweep(
        {f"array-{name}": array_row(name, size) for name, size in ARRAYS.items()},
        {f"array-{name}": size for name, size in ARRAYS.items()},
        ["floor"],
    ),
    "data": Sweep(
        {f"data-{name}": emcee_row(name, size) for name, size in DATA.items()},
        {f"data-{name}": size for name, size in DATA.items()},
        ["serial"],
    ),
}

EVERY_ROW: Dict[str, Row] = {
    **ROWS,
    **{name: row for sweep in SWEEPS.values() for name, row in sweep.rows.items()},
}
