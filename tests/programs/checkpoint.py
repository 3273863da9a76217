"""A script whose maps are all in one file: `directory run`.

A second run finds all there: it runs no task, and its results are the same.
"""

import itertools
import os
import sys
import threading
import time

from cases import case, raised, told

from ezmpi import CheckpointError, MPIPool, _checkpoint

directory, run = sys.argv[1], int(sys.argv[2])
file = os.path.join(directory, "run.sqlite")
other = os.path.join(directory, "other.sqlite")
log = os.path.join(directory, "log")
SCALE = 3
NAMES = {"one", "two", "three", "four"}  # in another order in every process


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def norm(self):
        return self.x + self.y


class Model:
    def __init__(self, offset):
        self.offset = offset

    def __call__(self, x):
        note()
        return x * SCALE + self.offset

    def method(self, x):
        return self(x)


def note(x=0):
    with open(log, "a") as written:
        written.write("%d\n" % x)


def f(x, extra=1):
    note()
    return x * SCALE if x in {0, 1, 2, 3} or x not in NAMES else extra


def add(x, y):
    note()
    return x + y


def of_set(numbers):
    note()
    return sorted(numbers)


def of_point(point):
    note()
    return Point(point.norm(), 0)


def unpicklable(x):
    return (each for each in [x])


def fail_once(x):
    note(x)
    if x == 5 and not os.path.exists(log + ".failed"):
        raise KeyError(x)
    return -x


def held(x):
    while x >= 20 and not os.path.exists(log + ".gate"):
        time.sleep(0.001)
    return x


def gone_on_with(pool):
    if os.path.exists(log + ".gate"):
        os.remove(log + ".gate")
    results = pool.imap(held, range(200), 1, checkpoint=other)
    assert [next(results) for _ in range(20)] == list(range(20))
    results.close()
    open(log + ".gate", "w").close()
    drawers.clear()
    return pool.imap(held, range(200), 1, checkpoint=other)


def draws_here(begin, wanted):
    """Not each time: the driver's thread, too, draws while nobody waits."""
    for _ in range(100):
        drawers.clear()
        assert list(begin()) == wanted
        if here in drawers:
            return
    raise AssertionError("this thread never draws")


drawers = set()  # threads
here = threading.main_thread()


class NotingDigest(_checkpoint.TaskDigest):
    def __call__(self, task):
        return super().__call__(key(task))


def key(task):
    drawers.add(threading.current_thread())
    return task


def noted():
    """Of the tasks that were run since it was asked last."""
    if not os.path.exists(log):
        return []
    with open(log) as written:
        lines = written.readlines()
    os.remove(log)
    return [int(line) for line in lines]


def ran(number):
    assert len(noted()) == (number if run == 1 else 0)


with MPIPool() as pool:
    numbers = list(range(40))
    wanted = [3 * x for x in numbers]

    noted()
    case("map, of a list and of a generator")
    assert pool.map(f, numbers, checkpoint=file) == wanted
    ran(40)
    assert pool.map(f, iter(numbers), chunksize=3, checkpoint=file) == wanted
    ran(40)  # it is another map: a serial run would do it again, too

    case("callback and progress count what was in the file")
    seen, shown = [], []
    assert pool.map(
        f, numbers, seen.append, progress=lambda *row: shown.append(row), checkpoint=file
    )
    assert sorted(seen) == wanted
    assert shown[-1] == (40, 40, 0), shown
    seen.clear()
    assert pool.map(f, iter(numbers), seen.append, False, checkpoint=file) is None
    assert sorted(seen) == wanted
    assert pool.map(f, numbers, 5, checkpoint=file) == wanted
    ran(120)

    case("starmap and the iterators")
    pairs = [(x, 1) for x in numbers]
    assert pool.starmap(add, pairs, checkpoint=file) == [x + 1 for x in numbers]
    assert list(pool.imap(f, iter(numbers), checkpoint=file)) == wanted
    assert list(pool.istarmap(add, pairs, checkpoint=file)) == [x + 1 for x in numbers]
    assert sorted(pool.imap_unordered(f, numbers, checkpoint=file)) == wanted
    unordered = pool.istarmap_unordered(add, iter(pairs), checkpoint=file)
    assert sorted(unordered) == [x + 1 for x in numbers]
    shown.clear()
    results = pool.imap(
        f, numbers, progress=lambda *row: shown.append(row), checkpoint=file
    )
    assert results.next(timeout=60) == 0 and list(results) == wanted[1:]
    assert shown[-1] == (40, 40, 0), shown
    assert isinstance(raised(results.next, timeout=1), StopIteration)
    ran(240)

    digest, _checkpoint.TaskDigest = _checkpoint.TaskDigest, NotingDigest

    case("whoever waits draws, where that runs no code of the user's")
    if run == 1:
        draws_here(lambda: pool.imap(f, numbers, 1, checkpoint=other), wanted)

    case("the same behind what was in the file")
    if run == 1:
        draws_here(lambda: gone_on_with(pool), list(range(200)))

    case("else the driver's thread")
    for tasks, own_key in ((x for x in numbers), None), (numbers, key):
        drawers.clear()
        results = pool.imap(f, tasks, checkpoint=file, checkpoint_key=own_key)
        assert list(results) == wanted
        assert here not in drawers
    noted()
    _checkpoint.TaskDigest = digest

    case("callables of all kinds")
    for function in (
        Model(1),
        Model(1).method,
        lambda x: note() or x * SCALE + 1,
        (lambda one: lambda x: note() or x * SCALE + one)(1),
    ):
        assert pool.map(function, numbers[:4], checkpoint=file) == [1, 4, 7, 10]
    ran(16)

    case("duplicates, objects, sets")
    assert pool.map(f, [2, 2, 2], checkpoint=file) == [6, 6, 6]
    points = pool.map(of_point, [Point(1, 2), Point(3, 4)], checkpoint=file)
    assert [type(point) for point in points] == [Point, Point]
    assert [point.x for point in points] == [3, 7]
    sets = [NAMES, NAMES | {"five"}]
    got = pool.map(of_set, sets, checkpoint=file, checkpoint_key=frozenset)
    assert got == [sorted(names) for names in sets]
    assert pool.map(f, [], checkpoint=file) == []
    ran(7)

    case("a failed task: what was done stays, and is not done again")
    if run == 1:
        error = raised(pool.map, fail_once, numbers, checkpoint=file)
        assert isinstance(error, KeyError) and "task 5, rank" in told(error), told(error)
        assert set(noted()) >= set(range(6))
        open(log + ".failed", "w").close()
    assert pool.map(fail_once, numbers, checkpoint=file) == [-x for x in numbers]
    again = noted()
    assert not set(again) & set(range(5)) and (5 in again) == (run == 1), again

    case("a result that cannot be pickled")
    error = raised(pool.map, unpicklable, [1], checkpoint=file)
    assert "by pickling the result of task 0, rank" in told(error), told(error)
    noted()

    case("failures of imap, in their places")
    if run == 1:
        os.remove(log + ".failed")
        results = pool.imap(fail_once, iter(numbers), checkpoint=file)
        assert [next(results) for _ in range(5)] == [0, -1, -2, -3, -4]
        error = raised(next, results)
        assert isinstance(error, KeyError) and "task 5, rank" in told(error), told(error)
        assert list(results) == [-x for x in numbers[6:]]
        assert results._call._keys == {}  # nor that of the one that failed
        open(log + ".failed", "w").close()
    else:
        results = pool.imap(fail_once, iter(numbers), checkpoint=file)
        assert list(results) == [-x for x in numbers]
        assert noted() == ([5] if run == 2 else [])
    noted()

    case("failures in place of results are tried again, with retries")
    for method in (pool.map, pool.imap, pool.imap_unordered):
        noted()
        if run == 1:
            os.remove(log + ".failed")
        for _ in range(2):
            again = {"retries": 1, "retry_on": KeyError}
            got = method(
                fail_once, iter(numbers), on_error="return", **again, checkpoint=file
            )
            results = sorted(got, key=lambda one: -one if isinstance(one, int) else 5)
            failed = results.pop(5)
            assert results == [-x for x in numbers if x != 5]
            if os.path.exists(log + ".failed"):
                assert failed == -5
            else:
                assert isinstance(failed, KeyError), failed
                assert "task 5, rank" in told(failed), told(failed)
                assert "Given up after 2 attempts" in told(failed), told(failed)
                assert sorted(noted()) == sorted([*numbers, 5])
                open(log + ".failed", "w").close()
    noted()

    case("endless tasks")
    results = pool.imap(f, itertools.count(), 1, checkpoint=file)
    assert list(itertools.islice(results, 20)) == wanted[:20]
    results.close()

    case("bad arguments")
    nowhere = os.path.join(directory, "no", "file")
    error = raised(pool.map, f, numbers, checkpoint=nowhere)
    assert isinstance(error, CheckpointError) and "is not there: make" in str(error)
    assert isinstance(raised(pool.map, f, numbers, checkpoint=3), TypeError)
    assert isinstance(raised(pool.map, f, [], "x", checkpoint=file), TypeError)
    assert isinstance(raised(pool.map, 3, [], checkpoint=file), TypeError)
    error = raised(pool.map, f, numbers, checkpoint=file, checkpoint_key=3)
    assert isinstance(error, TypeError), error
    assert isinstance(raised(pool.imap, f, [], checkpoint_key=abs), ValueError)

print("ok", flush=True)
