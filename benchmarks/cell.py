"""Measures one row with one pool, in the process that run.py starts for it.

``cell.py ROW POOL N BUDGET`` does N units of work, or as many as fit into BUDGET
seconds, checks a few results against a serial run's, and prints a JSON object.
"""

import importlib
import json
import os
import statistics
import sys
import time
from typing import Any, Callable, Iterable, List, Tuple

from pools import POOLS, Pool
from rows import Map, Row, Work
from sweeps import EVERY_ROW

MOST_TIMES = 25  # n units are done again while that takes less than budget / 4
TIMES_IN_ONE = 3  # at least, where the system's memory makes times differ


def square(x: int) -> int:
    return x * x


def serial(function: Callable[[Any], Any], tasks: Iterable[Any]) -> List[Any]:
    return list(map(function, tasks))


def timed(work: Work, pool_map: Map, n: int) -> Tuple[float, object]:
    start = time.perf_counter()
    results = work(pool_map, n)
    return time.perf_counter() - start, results


def measure(row: Row, pool_map: Map, n: int, budget: float) -> Tuple[int, float]:
    few = n if row.in_one else max(1, n // 50)
    work = row.prepare()
    seconds, results = timed(work, pool_map, few)  # also connects, imports, ...
    if results != work(serial, few):
        raise ArithmeticError("the results are wrong")
    if seconds <= budget or row.in_one:  # memory that is new to the system is slow
        seconds, _ = timed(row.prepare(), pool_map, few)
    if not row.in_one:
        if seconds > budget:
            return few, seconds
        n = fitting(row, pool_map, n, budget, few, seconds)
    times: List[float] = []
    least = TIMES_IN_ONE if row.in_one else 1
    while len(times) < least or (len(times) < MOST_TIMES and sum(times) < budget / 4):
        times.append(timed(row.prepare(), pool_map, n)[0])
    return n, statistics.median(times)


def fitting(
    row: Row, pool_map: Map, n: int, budget: float, few: int, seconds: float
) -> int:
    """How many units fit into budget; few take seconds, most of which may be for one."""
    while True:
        fits = max(1, min(n, int(budget / seconds * few)))
        if fits == n or fits < 2 * few:
            return fits
        few, (seconds, _) = fits, timed(row.prepare(), pool_map, fits)


def run(row: Row, pool: Pool, n: int, budget: float) -> None:
    assert pool.open is not None
    with pool.open(row) as pool_map:
        n, seconds = measure(row, pool_map, n, budget)
        tell(n=n, seconds=seconds, version=version(pool))


def tell(**result: Any) -> None:
    print(json.dumps(result), flush=True)  # now: the pool's end may never come


def version(pool: Pool) -> str:
    if not pool.package:
        return "Python's own"
    module = importlib.import_module(pool.package)
    found = str(module.__version__)
    if pool.pinned and found != pool.pinned:
        raise ImportError(f"{pool.package} {found} instead of {pool.pinned}")
    return found


def main() -> None:
    row, pool, n, budget = sys.argv[1:]
    try:
        run(EVERY_ROW[row], POOLS[pool], int(n), float(budget))
    except Exception as error:
        tell(error=f"{type(error).__name__}: {error}")
        os._exit(1)


if __name__ == "__main__":
    main()
