"""Measures one row with one pool, in the process that run.py starts for it.

``cell.py ROW POOL N BUDGET`` does N units of work, or as many as fit into BUDGET
seconds, checks a few results against a serial run's, and prints a JSON object.
"""

import importlib
import json
import os
import sys
import time
from typing import Any, Callable, Dict, Iterable, List, Tuple

from pools import POOLS, Pool
from rows import ROWS, Map, Row, Work


def square(x: int) -> int:
    return x * x


def serial(function: Callable[[Any], Any], tasks: Iterable[Any]) -> List[Any]:
    return list(map(function, tasks))


def measure(work: Work, pool_map: Map, n: int, budget: float) -> Tuple[int, float]:
    def seconds_for(n: int) -> float:
        start = time.perf_counter()
        results = work(pool_map, n)
        seconds = time.perf_counter() - start
        if n == few and results != expected:
            raise ArithmeticError("the results are wrong")
        return seconds

    few = max(1, n // 50)
    expected = work(serial, few)
    for _ in range(2):  # the first is for connections, imports and caches
        seconds = seconds_for(few)
        if seconds > budget:
            return few, seconds
    n = max(1, min(n, int(budget / seconds * few)))
    return n, seconds_for(n)


def run(row: Row, pool: Pool, n: int, budget: float) -> Dict[str, Any]:
    assert pool.open is not None
    with pool.open(row) as pool_map:
        n, seconds = measure(row.prepare(), pool_map, n, budget)
    return {"n": n, "seconds": seconds, "version": version(pool)}


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
        result = run(ROWS[row], POOLS[pool], int(n), float(budget))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        os._exit(1)  # the pool's own end might never come
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
