"""initializer: once per worker and pool, before its tasks."""

import os
import sys
import time

from cases import case, check_works, raised, square, told

from ezmpi import BrokenPoolError, MPIPool

calls = []


def setup(*args):
    calls.append(args)


def state(x):
    time.sleep(0.01)
    return os.getpid(), list(calls)


def fails(*args):
    calls.append("failed")
    raise LookupError("no set-up today")


def leaves():
    sys.exit(3)


def slow_setup():
    time.sleep(0.3)
    calls.append("slow")


def states(pool):
    """What each worker has, by pid; equal for all of a worker's tasks."""
    found = {}
    for pid, had in pool.map(state, range(12 * pool.size)):
        assert found.setdefault(pid, had) == had
    assert len(found) == pool.size, found
    return list(found.values())


case("before the first task, with its arguments, once")
first = MPIPool(initializer=setup, initargs=(1, [2]))
for _ in range(3):
    assert states(first) == [[(1, [2])]] * first.size
assert calls == []  # not on the master

case("once per pool")
second = MPIPool(initializer=setup)
assert states(second) == [[(1, [2]), ()]] * second.size
assert states(first) == [[(1, [2]), ()]] * first.size
first.close()
assert states(second) == [[(1, [2]), ()]] * second.size
second.close()
third = MPIPool(initializer=setup, initargs=[3])
assert states(third) == [[(1, [2]), (), (3,)]] * third.size
third.close()

case("a pool without a task initializes nothing")
with MPIPool(initializer=setup, initargs=("never",)) as pool:
    assert pool.map(square, []) == []
with MPIPool(initializer=setup, initargs=("one",)) as pool:
    assert pool.map(square, [2]) == [4]
with MPIPool() as pool:
    had = states(pool)
    assert sum(("one",) in each for each in had) == 1, had
    assert not any(("never",) in each for each in had)

case("a slow one, with tasks waiting behind it")
with MPIPool(initializer=slow_setup) as pool:
    assert all(each[-1] == "slow" for each in states(pool))

case("one that is defined after the pool's first start, and a lambda")


def late_setup(x):
    calls.append(("late", x, LATE))


LATE = "constant"
with MPIPool(initializer=late_setup, initargs=(5,)) as pool:
    assert all(each[-1] == ("late", 5, "constant") for each in states(pool))
with MPIPool(initializer=lambda: calls.append("lambda")) as pool:
    assert all(each[-1] == "lambda" for each in states(pool))

for name, function, text in (
    ("raises", fails, "no set-up today"),
    ("exits", leaves, "SystemExit"),
):
    case("one that " + name)
    with MPIPool() as other:
        before = states(other)
    pool = MPIPool(initializer=function)
    for chunksize in (1, 4):
        error = raised(pool.map, square, range(30), chunksize=chunksize)
        assert type(error) is BrokenPoolError, repr(error)
        assert isinstance(error, RuntimeError)
        assert text in str(error) and "initializer" in str(error), str(error)
        assert "rank" in str(error)
        assert function.__name__ in str(error.__cause__), told(error)
    with MPIPool() as other:  # was called once, and other pools work
        check_works(other)
        grown = [len(a) - len(b) for a, b in zip(states(other), before)]
        assert all(number in (0, 1) for number in grown), grown
    begin = time.perf_counter()  # nothing more begins, whichever worker were free
    for method, *rest in ((pool.map, [1]), (pool.submit, 1), (pool.imap, [1])):
        again = raised(method, square, *rest)
        assert type(again) is BrokenPoolError and again is not error
        assert str(again) == str(error)
        assert function.__name__ in str(again.__cause__), told(again)
    assert time.perf_counter() - begin < 0.1
    pool.close()

case("one that raises, and calls that wait")
with MPIPool(initializer=fails) as pool:
    futures = [pool.submit(square, 1)]
    try:
        while True:
            futures.append(pool.submit(square, 1))
            time.sleep(0.001)
    except BrokenPoolError:
        pass
    assert all(type(future.exception()) is BrokenPoolError for future in futures)

case("one that cannot be sent, or is none")
generator = (x for x in ())
assert "generator" in str(raised(MPIPool, initializer=setup, initargs=(generator,)))
for wrong in (3, "setup"):
    assert type(raised(MPIPool, initializer=wrong)) is TypeError
assert type(raised(MPIPool, initializer=setup, initargs=3)) is TypeError
with MPIPool() as pool:
    check_works(pool)
print("ok")
