"""What ``isolate=True`` costs: python benchmarks/isolate.py [--quick] [MPIEXEC...].

Prints a table, as performance.py puts it into docs/performance.md. Its rows are measured
in jobs of one worker, without isolation and with it in turns, so that a drift of the
machine hits both; of the jobs the fastest counts. A death is that of a task which kills
its process, up to the result of the first task in the next one. Without isolation most
launchers end the job then, and so what stands beside it is the time to start a job, and
to end it.
"""

import functools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
from programs import tool
from report import machine

from ezmpi import MPIPool

PAIRS, QUICK_PAIRS = 5, 1
RANKS = "2"
MEGABYTES = 8
DEATH = "death of a process, and its next task"
NOTHING = "from ezmpi import MPIPool\nwith MPIPool():\n    pass"

Figures = Dict[str, float]  # seconds by row


# ---- what workers run ----


def identity(x: int) -> int:
    return x


def ignore(x: object) -> None:
    pass


def double(array: Any) -> None:
    array *= 2


def give(x: int) -> Any:
    return kept_array()


@functools.lru_cache(maxsize=None)
def kept_array() -> Any:
    return np.ones(MEGABYTES * 10**6 // 8)


def compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def die(x: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ---- in a job ----


def seconds(call: Callable[[], Any], repeat: int = 1) -> float:
    """Of one call: the median of several."""
    found: List[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure(pool: MPIPool) -> Figures:
    arrays = [kept_array()] * 40

    def of_array(function: Callable[[Any], Any], tasks: Sequence[Any] = arrays) -> float:
        pool.map(function, tasks, chunksize=1)
        call = functools.partial(pool.map, function, tasks, chunksize=1)
        return seconds(call, 3) / len(tasks)

    pool.map(identity, range(10_000))
    return {
        "map of 1 task": seconds(lambda: pool.map(identity, [0]), 3000),
        "tiny task": seconds(lambda: pool.map(identity, range(300_000)), 3) / 300_000,
        "task of 1 ms": seconds(lambda: pool.map(compute, [0.001] * 300)) / 300,
        f"array of {MEGABYTES} MB as task": of_array(ignore),
        f"array of {MEGABYTES} MB as task, altered": of_array(double),
        f"array of {MEGABYTES} MB as result": of_array(give, range(len(arrays))),
    }


def of_death(pool: MPIPool) -> float:
    def die_and_go_on() -> None:
        pool.map(die, [0], on_error="return")
        pool.map(identity, [0])

    return seconds(die_and_go_on, 30)


def job() -> None:
    with MPIPool() as pool:
        found = measure(pool)
        if "EZMPI_ISOLATE" in os.environ:
            found[DEATH] = of_death(pool)
    print(json.dumps(found))


# ---- the jobs ----


def run(launcher: List[str], *args: str, **env: str) -> bytes:
    command = [*launcher, "-n", RANKS, sys.executable, *args]
    done = subprocess.run(
        command,
        env={**os.environ, **env},
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def figures(launcher: List[str], **env: str) -> Figures:
    found: Figures = json.loads(run(launcher, __file__, "--job", **env))
    if DEATH not in found:
        found[DEATH] = seconds(lambda: run(launcher, "-c", NOTHING))
    return found


def fastest(runs: List[Figures]) -> Figures:
    return {row: min(found[row] for found in runs) for row in runs[0]}


def show(duration: float) -> str:
    for unit, name in ((1e-6, "µs"), (1e-3, "ms")):
        if duration < 1000 * unit:
            return f"{duration / unit:.3g} {name}"
    return f"{duration:.3g} s"


def report(launcher: List[str], pairs: int) -> str:
    plain: List[Figures] = []
    isolated: List[Figures] = []
    for _ in range(pairs):
        plain.append(figures(launcher))
        isolated.append(figures(launcher, EZMPI_ISOLATE="1"))
    without, with_it = fastest(plain), fastest(isolated)
    lines = ["|  | without | `isolate=True` | times as long |", "|---|---|---|---|"]
    for row, long in with_it.items():
        times = f"{long / without[row]:.2g}"
        lines.append(f"| {row} | {show(without[row])} | {show(long)} | {times} |")
    lines += ["", f"{machine()}; Python {platform.python_version()}, numpy"]
    lines[-1] += f" {np.__version__}. The fastest of {pairs} jobs each."
    return "\n".join(lines)


def main(args: List[str]) -> None:
    if args == ["--job"]:
        job()
        return
    pairs = QUICK_PAIRS if "--quick" in args else PAIRS
    launcher = [arg for arg in args if arg != "--quick"] or [tool("mpiexec")]
    print(report(launcher, pairs))


if __name__ == "__main__":
    main(sys.argv[1:])
