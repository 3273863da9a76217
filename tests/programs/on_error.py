"""With on_error="return" what a task raised stands in place of its result."""

import sys
from itertools import count

from cases import case, check_works, raised, told

from ezmpi import BrokenPoolError, MPIPool, RemoteError, TaskExit

BAD = {3: ValueError, 4: KeyError, 17: ValueError, 18: TaskExit, 29: KeyboardInterrupt}


def work(x):
    if x == 18:
        sys.exit(5)
    if x in BAD:
        raise BAD[x](x)
    return x * x


def work_of_two(x, y):
    return work(x + y)


def check(results, unordered=False):
    """The failures are there as they would have been raised, and all else is."""
    assert len(results) == 30, results
    if unordered:
        fine = sorted(x for x in results if not isinstance(x, BaseException))
        assert fine == [x * x for x in range(30) if x not in BAD], results
        results = sorted((x for x in results if isinstance(x, BaseException)), key=told)
        assert sorted(type(x).__name__ for x in results) == sorted(
            kind.__name__ for kind in BAD.values()
        ), results
        return
    for x, result in enumerate(results):
        if x not in BAD:
            assert result == x * x, results
            continue
        assert type(result) is BAD[x], results
        assert "in work" in str(result.__cause__), told(result)
        assert "task %d" % x in told(result) and ", rank " in told(result), told(result)


def check_methods(pool):
    pairs = [(x - 1, 1) for x in range(30)]
    for chunksize in (None, 1, 7, 100):
        case("chunksize %s" % chunksize)
        options = {"chunksize": chunksize, "on_error": "return"}
        for tasks in (list(range(30)), range(30)):
            check(pool.map(work, tasks, **options))
            check(list(pool.imap(work, iter(tasks), **options)))
        check(pool.map(work, (x for x in range(30)), **options))
        check(pool.starmap(work_of_two, pairs, **options))
        check(list(pool.istarmap(work_of_two, pairs, **options)))
        check(pool.map_async(work, range(30), **options).get())
        check(pool.starmap_async(work_of_two, pairs, **options).get())
        check(list(pool.imap_unordered(work, range(30), **options)), unordered=True)
        check(list(pool.istarmap_unordered(work_of_two, pairs, **options)), True)
    case("with a callback, without results, with progress")
    seen = []
    check(pool.map(work, range(30), seen.append, on_error="return"))
    check(seen, unordered=True)
    assert pool.map(work, range(30), return_results=False, on_error="return") is None
    numbers = []
    check(
        pool.map(
            work, range(30), progress=lambda *n: numbers.append(n), on_error="return"
        )
    )
    assert numbers[-1][:2] == (30, 30), numbers
    case("the callbacks of map_async get the list")
    failed = []
    result = pool.map_async(
        work, range(30), None, check, failed.append, on_error="return"
    )
    check(result.get())
    assert result.successful() and failed == []


class Unpicklable:
    def __reduce__(self):
        raise LookupError("not this")


class Unloadable:
    def __reduce__(self):
        return complain, ()


def complain():
    raise LookupError("not here")


class OtherArguments(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def replace(x):
    if x == 2:
        raise OtherArguments(1, 2)
    return {0: Unpicklable, 1: Unloadable}.get(x, int)()


def check_travel(pool):
    for chunksize in (1, 10):
        case("what cannot travel, chunksize %d" % chunksize)
        options = {"chunksize": chunksize, "on_error": "return"}
        tasks = [1, Unpicklable(), 2, Unloadable(), 3]
        one, no, two, not_there, three = pool.map(id_of, tasks, **options)
        assert (one, two, three) == (1, 2, 3)
        assert type(no) is type(not_there) is LookupError, (no, not_there)
        assert "pickling task 1" in told(no) and "task 3" in told(not_there)
        first, second, third, fourth = pool.map(replace, range(4), **options)
        assert type(first) is LookupError and "result of task 0" in told(first)
        assert type(second) is LookupError and "task 1" in told(second)
        assert type(third) is RemoteError and fourth == 0, (third, fourth)


def id_of(x):
    return x


def tasks_that_fail():
    yield from range(10)
    raise OSError("no more tasks")


def check_ends(pool):
    """What is no task's failure ends the map as ever."""
    case("the tasks' iterator, the callback")
    error = raised(pool.map, work, tasks_that_fail(), on_error="return")
    assert type(error) is OSError, repr(error)
    results = pool.imap(work, tasks_that_fail(), on_error="return")
    came = [next(results) for _ in range(10)]
    assert type(came[3]) is ValueError and came[9] == 81, came
    assert type(raised(next, results)) is OSError
    error = raised(pool.map, id_of, range(10), complain_of, on_error="return")
    assert type(error) is LookupError, repr(error)
    check_works(pool)
    case("the callable, the initializer")
    error = raised(pool.map, Callable(Unloadable()), range(10), on_error="return")
    assert type(error) is LookupError, repr(error)
    with MPIPool(initializer=complain) as broken:
        error = raised(broken.map, work, range(10), on_error="return")
        assert type(error) is BrokenPoolError, repr(error)
    check_works(pool)
    case("an iterator without end")
    results = pool.imap(work, count(), on_error="return")
    assert [type(next(results)) for _ in range(4)] == [int, int, int, ValueError]
    results.close()
    check_works(pool)
    case("bad arguments")
    for bad in ("x", "Return", None, 3, True):
        for method in (pool.map, pool.starmap, pool.imap, pool.map_async):
            error = raised(method, work, [(1,)], on_error=bad)
            assert type(error) is ValueError and "on_error" in str(error), repr(error)
    check_works(pool)


class Callable:
    def __init__(self, data):
        self.data = data

    def __call__(self, x):
        return x


def complain_of(result):
    complain()


with MPIPool() as pool:
    check_methods(pool)
    check_travel(pool)
    check_ends(pool)
    print("ok")
