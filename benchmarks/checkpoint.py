"""What ``checkpoint=`` costs: mpiexec -n 3 python benchmarks/checkpoint.py [directory].

Prints how much longer a map of tasks of 1 ms takes with a checkpoint in that directory
(default: a temporary one) than without: the median over pairs of maps, one with and one
without, in turns, so that a drift of the machine hits both. Beside it what the master's
process computes more for each task. Then the same for `imap`, and how long a result takes
that is in the file already.
"""

import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, List, Tuple

from ezmpi import MPIPool

PAIRS = 7
TASKS = 3000
SECONDS = 0.001


def work(x: int) -> float:
    """Computes for a millisecond, and does not sleep: that would hide the cost."""
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        x += 1
    return float(x)


def seconds(call: Callable[[], Any]) -> Tuple[float, float]:
    """From its begin to its end, and those that this process computed."""
    start = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def compare(name: str, mapped: Callable[..., Any], file: str) -> None:
    """With a checkpoint and without: medians over the pairs."""
    ratios: List[float] = []
    more: List[float] = []
    for _ in range(PAIRS):
        without = seconds(lambda: mapped(work, range(TASKS)))
        with_file = seconds(lambda: mapped(work, range(TASKS), checkpoint=file))
        ratios.append(with_file[0] / without[0])
        more.append(1e6 * (with_file[1] - without[1]) / TASKS)
    print(
        f"{name} with a checkpoint to without: {statistics.median(ratios):.3f}", end=" "
    )
    print(f"(the master computes {statistics.median(more):.1f} us more for each task)")


def main(directory: str) -> None:
    file = os.path.join(directory, "checkpoint.sqlite")
    with MPIPool() as pool:
        pool.map(work, range(100))
        print(f"Python {platform.python_version()}, {pool.size} workers,", end=" ")
        print(f"{os.cpu_count()} processors, tasks of {1e3 * SECONDS:g} ms")
        compare("map", pool.map, file)

        def imap(*args: Any, **kwargs: Any) -> List[Any]:
            return list(pool.imap(*args, **kwargs))

        compare("imap", imap, file)

        # the next run of a script, as far as the file is concerned
        from ezmpi import _checkpoint

        _checkpoint.close_all()
        again, _ = seconds(lambda: pool.map(work, range(TASKS), checkpoint=file))
        print(f"a result that is in the file: {1e6 * again / TASKS:.1f} us")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        temporary = tempfile.mkdtemp()
        try:
            main(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
