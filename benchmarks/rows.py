"""The rows of the table: what is measured, an entry each.

A row counts units of work: tasks, maps or steps. Its `prepare` returns a function that
does n of them through a pool's map and returns what came out, which must not depend on
the pool. `floor` is the same in bare messages.
"""

import itertools
import sys
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterable, Mapping, NamedTuple, Optional

import numpy as np
import tasks

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Any]
Work = Callable[[Map, int], object]
Prepare = Callable[[], Work]

MB = 1_000_000
COPIES = 8  # of an array that a pool may hold on all its ranks, pickles included
WALKERS, DIMENSIONS = 32, 5


class Floor(NamedTuple):
    there: int = 8  # bytes of a task
    back: int = 8  # bytes of a result
    once: int = 0  # bytes to each worker before a map
    tasks: int = 0  # in a map; 0: the unit is a task, and one map has them all
    maps: int = 1  # in a unit


SCHWIMMBAD: Mapping[str, float] = {"schwimmbad": 1}


class Row(NamedTuple):
    title: str
    unit: str  # of UNITS
    n: int  # how many units are measured
    prepare: Prepare
    floor: Floor = Floor()
    chunksize: Optional[int] = None  # None: the pool's default
    workers: int = 1
    by_value: bool = False  # needs dill: pools that have it as an option get it
    calls: bool = False  # each task is submitted for itself: see Pool.calls
    in_one: bool = False  # the n units are one task, of n times the size
    memory: int = 0  # bytes a unit that all ranks together need, where they are many
    targets: Mapping[str, float] = SCHWIMMBAD  # our speed over a pool's, at least


# From seconds a unit to what is printed.
UNITS: Dict[str, Callable[[float], float]] = {
    "tasks/s": lambda seconds: 1 / seconds,
    "steps/s": lambda seconds: 1 / seconds,
    "MB/s": lambda seconds: 8 / seconds,
    "µs": lambda seconds: 1e6 * seconds,
}


def tiny_tasks(module: str) -> Prepare:
    def prepare() -> Work:
        square = vars(sys.modules[module])["square"]
        return lambda map, n: map(square, range(n))

    return prepare


def maps_of(size: int, module: str) -> Prepare:
    def prepare() -> Work:
        square = vars(sys.modules[module])["square"]
        return lambda map, n: [map(square, range(size)) for _ in range(n)]

    return prepare


def small_arrays() -> Work:
    arrays = np.random.RandomState(1).normal(size=(20000, 10))
    return lambda map, n: map(tasks.first_of, [array.copy() for array in arrays[:n]])


def small_rows() -> Work:
    rows = np.random.RandomState(1).normal(size=(20000, 10))
    return lambda map, n: map(tasks.first_of, rows[:n])


def arrays_in() -> Work:
    arrays = [np.full(MB, number, float) for number in range(40)]
    return lambda map, n: map(tasks.size_of, arrays[:n])


def arrays_out() -> Work:
    return lambda map, n: [array[0] for array in map(tasks.make_array, range(n))]


def array_out() -> Work:
    return lambda map, n: map(tasks.make_large_array, [n])[0][0]


def callable_of(make: Callable[[int], Callable[[int], int]]) -> Prepare:
    """Every measured map gets a callable that no worker has seen."""
    numbers = itertools.count()

    def prepare() -> Work:
        function = make(next(numbers))
        return lambda map, n: map(function, range(n))

    return prepare


def holder_of_bytes(number: int) -> Callable[[int], int]:
    return tasks.Holder(bytes([number]) * MB)


def holder_of_array(number: int) -> Callable[[int], int]:
    return tasks.Holder(np.full(MB, number, float))


def closure_over_bytes(number: int) -> Callable[[int], int]:
    return tasks.closure_over(bytes([number]) * MB)


def emcee_with(
    size: int, log_probability: Callable[..., float] = tasks.log_probability
) -> Prepare:
    def prepare() -> Work:
        import emcee  # noqa: PLC0415  takes a while

        data = np.zeros(size // 8)
        random = np.random.RandomState(1)
        start = emcee.State(
            random.normal(size=(WALKERS, DIMENSIONS)), random_state=random.get_state()
        )

        def run(map: Map, n: int) -> object:
            sampler = emcee.EnsembleSampler(
                WALKERS,
                DIMENSIONS,
                log_probability,
                args=(data,),
                pool=SimpleNamespace(map=map),
            )
            return sampler.run_mcmc(start, n).coords.tolist()

        return run

    return prepare


ONE_MB, EIGHT_MB = Floor(once=MB), Floor(once=8 * MB)
# A step is two maps, over half of the walkers each.
STEP = Floor(there=8 * DIMENSIONS, tasks=WALKERS // 2, maps=2)

# Over "floor": 0.2 is at most five times its time.
TINY = {"multiprocessing": 1.5, "serial": 0.6, "ezmpi-0.1.0": 150}
TINY_ALONE = {"schwimmbad": 4, "mpi4py.futures": 250}
ONE_MAP = {"floor": 0.2, "schwimmbad": 1}
LARGE = {"floor": 0.8, "schwimmbad": 2}

ROWS: Dict[str, Row] = {
    "tiny-module": Row(
        "tiny tasks, function of a module",
        "tasks/s",
        1_000_000,
        tiny_tasks("tasks"),
        targets=TINY,
    ),
    "tiny-main": Row(
        "tiny tasks, function of `__main__`",
        "tasks/s",
        1_000_000,
        tiny_tasks("__main__"),
        targets=TINY,
    ),
    "tiny-module-1": Row(
        "tiny tasks, function of a module, chunksize=1",
        "tasks/s",
        20000,
        tiny_tasks("tasks"),
        chunksize=1,
        targets=TINY_ALONE,
    ),
    "tiny-main-1": Row(
        "tiny tasks, function of `__main__`, chunksize=1",
        "tasks/s",
        20000,
        tiny_tasks("__main__"),
        chunksize=1,
        targets=TINY_ALONE,
    ),
    "submit": Row(
        "tiny tasks, each submitted for itself",
        "tasks/s",
        20000,
        tiny_tasks("tasks"),
        calls=True,
        targets={"mpi4py.futures": 20, "concurrent.futures": 1},
    ),
    "map-1": Row(
        "map of 1 task, function of a module",
        "µs",
        2000,
        maps_of(1, "tasks"),
        Floor(tasks=1),
        targets=ONE_MAP,
    ),
    "map-1-main": Row(
        "map of 1 task, function of `__main__`",
        "µs",
        2000,
        maps_of(1, "__main__"),
        Floor(tasks=1),
        targets=ONE_MAP,
    ),
    "map-32": Row(
        "map of 32 tasks, function of a module",
        "µs",
        500,
        maps_of(32, "tasks"),
        Floor(tasks=32),
        targets={"schwimmbad": 10},
    ),
    "map-32-main": Row(
        "map of 32 tasks, function of `__main__`",
        "µs",
        500,
        maps_of(32, "__main__"),
        Floor(tasks=32),
        targets={"schwimmbad": 10},
    ),
    "small-arrays": Row(
        "list of arrays of 10 numbers",
        "tasks/s",
        20000,
        small_arrays,
        Floor(there=80),
        targets={"multiprocessing": 1.2, "schwimmbad": 5},
    ),
    "small-rows": Row(
        "rows of 10 numbers of an array",
        "tasks/s",
        20000,
        small_rows,
        Floor(there=80),
        targets={"schwimmbad": 20},
    ),
    "array-in": Row(
        "array of 8 MB as task, chunksize=1",
        "MB/s",
        40,
        arrays_in,
        Floor(there=8 * MB),
        chunksize=1,
        targets=LARGE,
    ),
    "array-out": Row(
        "array of 8 MB as result, chunksize=1",
        "MB/s",
        40,
        arrays_out,
        Floor(back=8 * MB),
        chunksize=1,
        targets=LARGE,
    ),
    "array-out-1GB": Row(
        "one array of n times 8 MB as result",
        "MB/s",
        125,
        array_out,
        Floor(back=8 * MB),
        targets=LARGE,
        in_one=True,
        memory=COPIES * 8 * MB,
    ),
    "callable-1MB": Row(
        "callable holding 1 MB (bytes)",
        "tasks/s",
        10000,
        callable_of(holder_of_bytes),
        ONE_MB,
        targets={"schwimmbad": 200, "multiprocessing": 1.2},
    ),
    "callable-8MB": Row(
        "callable holding 8 MB (array)",
        "tasks/s",
        1000,
        callable_of(holder_of_array),
        EIGHT_MB,
        targets={"schwimmbad": 1000, "multiprocessing": 8},
    ),
    "callable-1MB-1": Row(
        "callable holding 1 MB (bytes), chunksize=1",
        "tasks/s",
        1000,
        callable_of(holder_of_bytes),
        ONE_MB,
        chunksize=1,
        targets={"schwimmbad": 50},
    ),
    "closure-1MB-1": Row(
        "closure over 1 MB (bytes), chunksize=1",
        "tasks/s",
        1000,
        callable_of(closure_over_bytes),
        ONE_MB,
        chunksize=1,
        by_value=True,
    ),
    "emcee-1kB": Row(
        "emcee step, 1 kB of data, 2 workers",
        "steps/s",
        300,
        emcee_with(1000),
        STEP,
        workers=2,
        targets={"ezmpi-0.1.0": 2},
    ),
    "emcee-1MB": Row(
        "emcee step, 1 MB of data, 2 workers",
        "steps/s",
        50,
        emcee_with(MB),
        STEP,
        workers=2,
        targets={"ezmpi-0.1.0": 20},
    ),
    "emcee-8MB": Row(
        "emcee step, 8 MB of data, 2 workers",
        "steps/s",
        10,
        emcee_with(8 * MB),
        STEP,
        workers=2,
        targets={"ezmpi-0.1.0": 100},
    ),
    "emcee-8MB-read": Row(
        "the same, the data read",
        "steps/s",
        10,
        emcee_with(8 * MB, tasks.log_probability_of),
        STEP,
        workers=2,
        targets={},
    ),
}
