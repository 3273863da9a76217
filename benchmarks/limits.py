"""What is measured in other units than speed: an entry each, with its limit.

``limits.py NAME SCALE LAUNCHER...`` measures one and prints a JSON object: on `ranks`
ranks, where it was started by a launcher. One with `ranks` 0 is started without, and gets
the launcher instead. SCALE is 1; less is for a smoke run.
"""

import json
import math
import random
import resource
import statistics
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from startup import startup

from ezmpi import MPIPool

CORES = 2  # that the crowded ranks share
COMPUTING = 200e-6  # seconds
COMPUTED = 1e-3  # seconds
GENERATED = 10_000_000  # tasks
SHARED = 100_000_000  # bytes
PAUSE = 60.0  # seconds


Measure = Callable[[Any, float], float]  # of the pool, or the launcher, and SCALE


class Limit(NamedTuple):
    title: str
    unit: str
    ranks: int
    measure: Measure
    target: float
    at_least: bool = False  # else at most

    def is_met(self, value: float) -> bool:
        return value >= self.target if self.at_least else value <= self.target


# ---- tasks ----


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def doze(seconds: float) -> float:
    """How long it really slept."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def identity(x: int) -> int:
    return x


def add_none(x: int, *others: object) -> int:
    return x


def processor_seconds(x: object) -> float:
    return time.process_time()


def peak_memory(x: object) -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


# ---- measurements ----


def crowded(pool: MPIPool, scale: float) -> float:
    """Tasks a second."""
    tasks = [COMPUTING] * int(10000 * scale)
    pool.map(compute, tasks[:500])
    start = time.perf_counter()
    pool.map(compute, tasks)
    return len(tasks) / (time.perf_counter() - start)


def lognormal(pool: MPIPool, scale: float) -> float:
    """Makespan over the lower bound, median of five seeds."""
    found: List[float] = []
    for seed in range(5):
        draw = random.Random(seed)
        mu = math.log(2e-3) - 1.5**2 / 2
        tasks = [draw.lognormvariate(mu, 1.5) for _ in range(int(3000 * scale))]
        start = time.perf_counter()
        slept = pool.map(doze, tasks)
        makespan = time.perf_counter() - start
        assert slept is not None
        found.append(makespan / max(sum(slept) / pool.size, *slept))
    return statistics.median(found)


def idle_worker(pool: MPIPool, scale: float) -> float:
    """Share of a core, in per cent."""
    (before,) = pool.map(processor_seconds, [0]) or [0.0]
    time.sleep(10 * scale)
    (after,) = pool.map(processor_seconds, [0]) or [0.0]
    return (after - before) * 10 / scale


def waiting_master(pool: MPIPool, scale: float) -> float:
    before = time.process_time()
    pool.map(time.sleep, [10 * scale])
    return (time.process_time() - before) * 10 / scale


def after_pause(pool: MPIPool, scale: float) -> float:
    """Milliseconds of a map of one task."""
    pool.map(identity, [0])
    time.sleep(PAUSE * scale)
    start = time.perf_counter()
    pool.map(identity, [0])
    return (time.perf_counter() - start) * 1e3


def generated(count: int) -> Iterator[int]:
    yield from range(count)


def generator_memory(pool: MPIPool, scale: float) -> float:
    """By how many MB the larger of master and worker grew."""
    pool.map(identity, generated(int(GENERATED * scale / 100)), return_results=False)
    (before,) = pool.map(peak_memory, [0]) or [0.0]
    own = peak_memory(0)
    pool.map(identity, generated(int(GENERATED * scale)), return_results=False)
    (after,) = pool.map(peak_memory, [0]) or [0.0]
    return max(after - before, peak_memory(0) - own)


def generator_rate(pool: MPIPool, scale: float) -> float:
    """Its rate over that of a range whose results are kept."""
    times: List[float] = []
    few = int(GENERATED * scale / 10)
    pool.map(identity, range(few))
    for keeps, tasks in ((True, range(few)), (False, generated(few))):
        start = time.perf_counter()
        pool.map(identity, tasks, return_results=keeps)
        times.append(time.perf_counter() - start)
    return times[0] / times[1]


def rate_of(pool: MPIPool, method: str, tasks: Sequence[Any]) -> float:
    """Tasks a second; the second of two times, in which workers know the callable."""
    for _ in range(2):
        start = time.perf_counter()
        count = sum(1 for _ in getattr(pool, method)(add_none, tasks))
        took = time.perf_counter() - start
    return count / took


def beside_map(method: str, wrap: Callable[[int], Any]) -> Measure:
    """A method's rate over map's; the median of pairs."""

    def measure(pool: MPIPool, scale: float) -> float:
        numbers = range(int(500_000 * scale))
        tasks = list(map(wrap, numbers))
        pairs = [
            rate_of(pool, method, tasks) / rate_of(pool, "map", numbers) for _ in range(5)
        ]
        return statistics.median(pairs)

    return measure


def rounds_in(seconds: float) -> int:
    """How often the master's own loop comes round."""
    rounds, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        rounds += 1
    return rounds


def beside_computing(pool: MPIPool, scale: float) -> Tuple[float, float]:
    """Of a map in the background: its rate over a waiting master's; and the rate of the
    master's own loop meanwhile over that without a map."""
    tasks = [COMPUTED] * int(2000 * scale)
    pool.map(compute, tasks[:100])
    start = time.perf_counter()
    pool.map(compute, tasks)
    waiting = time.perf_counter() - start
    alone = rounds_in(0.5) / 0.5
    result = pool.map_async(compute, tasks)
    rounds, start = 0, time.perf_counter()
    while not result.ready():
        rounds += rounds_in(0.01)
    took = time.perf_counter() - start
    return waiting / took, rounds / took / alone


def background_rate(pool: MPIPool, scale: float) -> float:
    return statistics.median(beside_computing(pool, scale)[0] for _ in range(3))


def background_loop(pool: MPIPool, scale: float) -> float:
    return statistics.median(beside_computing(pool, scale)[1] for _ in range(3))


def idle_driver(pool: MPIPool, scale: float) -> float:
    """Share of a core, in per cent, while one task runs and the master sleeps."""
    result = pool.apply_async(time.sleep, (10 * scale,))
    before = time.process_time()
    time.sleep(9 * scale)
    share = (time.process_time() - before) / (9 * scale) * 100
    result.get()
    return share


def shared(pool: MPIPool, scale: float) -> float:
    """Seconds for 100 MB to all workers, over those to send it to each in turn."""
    data = bytes(int(SHARED * scale))
    times: List[float] = []
    for _ in range(3):
        start = time.perf_counter()
        handle = pool.share(data)
        pool.run_everywhere(identity, 0)
        together = time.perf_counter() - start
        del handle
        start = time.perf_counter()
        for task in [data] * pool.size:  # one after the other
            pool.apply(len, (task,))
        times.append(together / (time.perf_counter() - start))
    return statistics.median(times)


LIMITS: Dict[str, Limit] = {
    "crowded": Limit(
        "8 ranks on 2 cores, tasks of 200 µs of computing",
        "tasks/s",
        8,
        crowded,
        0.85 * CORES / COMPUTING,
        at_least=True,
    ),
    "lognormal": Limit(
        "3000 lognormal sleeps, 2 workers", "of the lower bound", 3, lognormal, 1.05
    ),
    "idle-worker": Limit("idle worker", "% of a core", 2, idle_worker, 2),
    "waiting-master": Limit("waiting master", "% of a core", 2, waiting_master, 2),
    "after-pause": Limit("map of 1 task after a minute", "ms", 2, after_pause, 3),
    "generator-memory": Limit(
        "generator of 10^7 tasks, results not kept", "MB more", 2, generator_memory, 20
    ),
    "generator-rate": Limit(
        "generator, over a range with its results",
        "times the rate",
        2,
        generator_rate,
        0.5,
        at_least=True,
    ),
    "imap-unordered": Limit(
        "imap_unordered, tiny tasks",
        "of map's rate",
        2,
        beside_map("imap_unordered", lambda x: x),
        0.8,
        at_least=True,
    ),
    "starmap": Limit(
        "starmap, tiny tasks",
        "of map's rate",
        2,
        beside_map("starmap", lambda x: (x,)),
        0.8,
        at_least=True,
    ),
    "background-rate": Limit(
        "map_async of 1 ms tasks while the master computes",
        "of a waiting master's rate",
        2,
        background_rate,
        0.5,
        at_least=True,
    ),
    "background-loop": Limit(
        "the master's own loop meanwhile",
        "of its rate alone",
        2,
        background_loop,
        0.8,
        at_least=True,
    ),
    "idle-driver": Limit(
        "one long task, master asleep", "% of a core", 2, idle_driver, 2
    ),
    "share": Limit(
        "share of 100 MB with 7 workers", "of the time one by one", 8, shared, 0.6
    ),
    "startup": Limit("import and pool, beyond MPI's and Python's", "ms", 0, startup, 30),
}


def tell(value: float) -> None:
    print(json.dumps({"value": value}), flush=True)


def main() -> None:
    name, scale, *launcher = sys.argv[1:]
    limit = LIMITS[name]
    if limit.ranks == 0:
        tell(limit.measure(launcher, float(scale)))
        return
    with MPIPool() as pool:
        tell(limit.measure(pool, float(scale)))


if __name__ == "__main__":
    main()
