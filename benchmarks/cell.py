"""Measures one row with one pool, in the process that run.py starts for it.

``cell.py ROW POOL N BUDGET`` does N units of work, or as many as fit into BUDGET
seconds, and prints a JSON object.
"""

import importlib
import json
import os
import sys
import time
from typing import Any, Dict, Tuple

from pools import POOLS, Pool
from rows import ROWS, Row, Work


def square(x: int) -> int:
    return x * x


def seconds_for(work: Work, n: int) -> float:
    start = time.perf_counter()
    work(n)
    return time.perf_counter() - start


def measure(work: Work, n: int, budget: float) -> Tuple[int, float]:
    few = max(1, n // 50)
    for _ in range(2):  # the first is for connections, imports and caches
        seconds = seconds_for(work, few)
        if seconds > budget:
            return few, seconds
    n = max(1, min(n, int(budget / seconds * few)))
    return n, seconds_for(work, n)


def run(row: Row, pool: Pool, n: int, budget: float) -> Dict[str, Any]:
    assert pool.open is not None
    with pool.open(row) as map:
        n, seconds = measure(row.prepare(map), n, budget)
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
