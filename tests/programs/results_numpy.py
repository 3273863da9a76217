"""Arrays as tasks, as results and inside both: rows, scalars, views, dtypes."""

import os

import numpy as np
from cases import case

from ezmpi import MPIPool

rng = np.random.default_rng(1)


def double(x):
    return x * 2


def describe(x):
    array = np.asarray(x)
    return type(x).__name__, array.dtype.str, array.shape, array.tolist()


def mutate(row):
    row += 1  # a task's array is writable, and the task's own
    return row


def total(x):
    return float(np.sum(x["data"])) + x["extra"]


MAPPED = "mapped-%d.npy" % os.getpid()  # every rank makes one
np.save(MAPPED, np.arange(10.0))

TASKS = {
    "mapped": list(np.load(MAPPED, mmap_mode="r").reshape(5, 2)),
    "rows": rng.normal(size=(40, 3)),
    "rows of a Fortran array": np.asfortranarray(rng.normal(size=(7, 5))),
    "rows of a view": rng.normal(size=(20, 6))[::2, ::3],
    "planes": rng.normal(size=(4, 3, 2)),
    "scalars": np.arange(10, dtype=np.int16),
    "long rows": rng.normal(size=(6, 20000)),
    "no rows": np.empty((0, 4)),
    "empty rows": np.empty((3, 0)),
    "records": np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "strings": np.array(["a", "bcd"]),
    "big-endian": np.arange(5, dtype=">f8"),
    "objects": np.array([1, "a", None], dtype=object),
    "dates": np.array(["2020-01-01", "2021-02-03"], dtype="M8[D]"),
    "bools": np.array([True, False, True]),
    "read-only": np.frombuffer(b"abcdefgh", dtype="u1").reshape(4, 2),
    "zero-dimensional": [np.array(3.0), np.array(4.0)],
    "list of arrays": [rng.normal(size=n) for n in (0, 1, 10, 5000, 100000)],
}


def same(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and np.array_equal(one, other)


with MPIPool() as pool:
    for name, tasks in TASKS.items():
        for chunksize in (1, 4, 100):
            case("%s, chunksize %d" % (name, chunksize))
            assert pool.map(describe, tasks, chunksize) == list(map(describe, tasks))
            assert pool.map(describe, iter(tasks), chunksize) == list(
                map(describe, tasks)
            )
    case("arrays come back, and are writable")
    rows = TASKS["long rows"]
    for chunksize in (1, 2, 50):
        result = pool.map(double, rows, chunksize)
        assert all(same(a, b) for a, b in zip(result, rows * 2))
        for array in result:
            array += 1
    case("a task may change its array; the master's stays")
    kept = rows.copy()
    assert all(same(a, b) for a, b in zip(pool.map(mutate, rows), kept + 1))
    assert same(rows, kept)
    numbers = [np.zeros(3), np.zeros(100000)]
    result = pool.map(mutate, numbers, 2)
    assert [r.max() for r in result] == [1, 1]
    assert [a.max() for a in numbers] == [0, 0]
    case("arrays inside tasks")
    tasks = [{"data": np.full(50000, i), "extra": i} for i in range(5)]
    assert pool.map(total, tasks) == [50001.0 * i for i in range(5)]
    case("one array twice in a task stays one")
    shared = np.zeros(20000)
    assert pool.map(lambda pair: pair[0] is pair[1], [(shared, shared)]) == [True]
print("ok")
