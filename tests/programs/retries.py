"""A task that fails with a listed exception is run again, and then given up."""

import os
import tempfile
import time
from collections import Counter
from itertools import count

from cases import case, check_works, launchers_rank, raised, told

from ezmpi import MPIPool, RemoteError, TaskExit

FOLDER = tempfile.mkdtemp()  # the master's; each task carries it


class Flaky:
    """A callable whose first attempts at a task fail, wherever they are made."""

    def __init__(self, kind=OSError, most=3):
        self.kind = kind
        self.most = most  # task x fails x % most times
        self.path = os.path.join(tempfile.mkdtemp(dir=FOLDER), "attempts")
        open(self.path, "w").close()

    def attempts(self):
        """The ranks that tried each task, in order."""
        with open(self.path) as file:
            pairs = [line.split() for line in file]
        return {int(x): [int(r) for y, r in pairs if y == x] for x, _ in pairs}

    def __call__(self, x, *others):
        number = int(x) if not hasattr(x, "size") else x.size
        before = len(self.attempts().get(number, ()))
        with open(self.path, "a") as file:  # one write, which is not torn
            file.write("%d %d\n" % (number, launchers_rank()))
        if before < number % self.most:
            raise self.kind("task %d, attempt %d" % (number, before))
        return x


def check_attempts(flaky, tasks, most=3):
    made = {x: len(ranks) for x, ranks in flaky.attempts().items()}
    assert made == {x: 1 + x % most for x in tasks}, made


def check_methods(pool):
    expected = list(range(30))
    pairs = [(x, "y") for x in range(30)]
    for chunksize in (None, 1, 4, 100):
        case("chunksize %s" % chunksize)
        options = {"chunksize": chunksize, "retries": 2, "retry_on": OSError}
        for tasks in (list(range(30)), (x for x in range(30))):
            flaky = Flaky()
            assert pool.map(flaky, tasks, **options) == expected
            check_attempts(flaky, range(30))
        assert list(pool.imap(Flaky(), iter(range(30)), **options)) == expected
        assert sorted(pool.imap_unordered(Flaky(), range(30), **options)) == expected
        assert pool.starmap(Flaky(), pairs, **options) == expected
        assert list(pool.istarmap(Flaky(), pairs, **options)) == expected
        assert sorted(pool.istarmap_unordered(Flaky(), pairs, **options)) == expected
        assert pool.map_async(Flaky(), range(30), **options).get() == expected
        assert pool.starmap_async(Flaky(), pairs, **options).get() == expected
        flaky, seen = Flaky(), []
        assert pool.map(flaky, range(30), seen.append, False, **options) is None
        assert sorted(seen) == expected
        flaky = Flaky()
        assert pool.map(flaky, range(30), return_results=False, **options) is None
        check_attempts(flaky, range(30))
    case("progress never goes back")
    numbers = []
    options = {"retries": 2, "retry_on": OSError}
    pool.map(Flaky(), range(30), progress=lambda *n: numbers.append(n[0]), **options)
    assert numbers == sorted(numbers) and numbers[-1] == 30, numbers


def one_array_after_the_other(numpy):
    array = numpy.zeros(0)
    for size in range(1, 12):
        array.resize(size, refcheck=False)
        array[:] = size
        yield array


def check_bytes(pool):
    """What was drawn is kept as it was, also where it travels beside the pickle."""
    options = {"retries": 2, "retry_on": OSError, "chunksize": 4}
    case("a list that is reused by its generator")
    flaky = Flaky()
    tasks = ([x] for x in range(12))
    assert pool.map(lambda x: [flaky(x.pop())], tasks, **options) == [
        [x] for x in range(12)
    ]
    try:
        import numpy
    except ImportError:
        return
    case("arrays that are reused, and rows")
    results = pool.map(Flaky(), one_array_after_the_other(numpy), **options)
    assert [x.tolist() for x in results] == [[n] * n for n in range(1, 12)], results
    large = [numpy.full(200000 + n, n) for n in range(5)]
    for one, other in zip(pool.map(Flaky(), large, **options), large):
        assert (one == other).all()
    rows = numpy.arange(30.0).reshape(30, 1)
    flaky = Flaky()
    assert pool.map(lambda row: flaky(int(row[0])), rows, **options) == list(range(30))
    check_attempts(flaky, range(30))


def note_of(error, ranks):
    """What a user is told of the attempts."""
    text = told(error)
    *others, last = [str(rank) for rank in ranks]
    places = "%s and %s" % (", ".join(others), last)
    assert "%d attempts, on ranks %s." % (len(ranks), places) in text, (ranks, text)


def check_given_up(pool):
    for chunksize in (1, 4):
        case("the lowest is raised, chunksize %d" % chunksize)
        flaky = Flaky(most=5)
        options = {"retries": 3, "retry_on": OSError, "chunksize": chunksize}
        error = raised(pool.map, flaky, range(30), **options)
        assert type(error) is OSError and "task 4, attempt 3" in str(error), repr(error)
        assert "Raised by task 4, rank " in told(error), told(error)
        note_of(error, flaky.attempts()[4])
        assert {x: len(flaky.attempts()[x]) for x in range(4)} == {0: 1, 1: 2, 2: 3, 3: 4}
        check_works(pool)
        case("each in its place")
        flaky = Flaky(most=5)
        results = pool.map(flaky, range(30), on_error="return", **options)
        check_each(results, flaky)
        flaky = Flaky(most=5)
        results = pool.imap(flaky, range(30), on_error="return", **options)
        check_each(list(results), flaky)
        results = pool.imap(Flaky(most=5), range(6), **options)
        assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
        assert "attempt 3" in str(raised(next, results)) and next(results) == 5
    case("an iterator is left while tasks wait to be run again")
    results = pool.imap(Flaky(most=1000), count(1), retries=9, retry_on=OSError)
    assert next(results) == 1
    results.close()
    check_works(pool)


def check_each(results, flaky):
    for x, result in enumerate(results):
        if x % 5 < 4:
            assert result == x, results
            continue
        assert type(result) is OSError, results
        note_of(result, flaky.attempts()[x])


class NotSent(LookupError):
    def __reduce__(self):
        raise OSError("not this")


def check_listed(pool):
    case("only what is listed is run again")
    for kind, listed, is_retried in (
        (OSError, (), False),
        (OSError, KeyError, False),
        (OSError, (KeyError, OSError), True),
        (ConnectionResetError, OSError, True),
        (OSError, Exception, True),
        (NotSent, NotSent, True),
        (NotSent, LookupError, True),
        (NotSent, RemoteError, True),
        (NotSent, OSError, False),
        (SystemExit, Exception, False),
        (SystemExit, RuntimeError, False),
        (SystemExit, SystemExit, True),
        (SystemExit, TaskExit, True),
        (SystemExit, BaseException, True),
        (KeyboardInterrupt, Exception, False),
        (KeyboardInterrupt, KeyboardInterrupt, True),
    ):
        flaky = Flaky(kind, most=2)
        options = {"retries": 1, "retry_on": listed}
        if is_retried:
            assert pool.map(flaky, [0, 1, 2], **options) == [0, 1, 2], (kind, listed)
            continue
        error = raised(pool.map, flaky, [0, 1, 2], **options)
        comes_as = {SystemExit: TaskExit, NotSent: RemoteError}.get(kind, kind)
        assert type(error) is comes_as, repr(error)
        assert len(flaky.attempts()[1]) == 1 and "attempts" not in told(error), told(
            error
        )
    case("another exception the second time")
    flaky = Flaky(most=2)
    error = raised(
        pool.map, lambda x: 1 // flaky(x) and 1 // 0, [1], retries=5, retry_on=OSError
    )
    assert type(error) is ZeroDivisionError, repr(error)
    note_of(error, flaky.attempts()[1])
    case("no retries")
    for options in (
        {"retries": 0, "retry_on": OSError},
        {"retry_on": OSError},
        {"retries": 3},
    ):
        assert type(raised(pool.map, Flaky(), [0, 1], **options)) is OSError
    check_works(pool)


class Unpicklable:
    def __reduce__(self):
        raise OSError("not this")


def check_once(pool):
    case("what fails in the master is not run again")
    options = {"retries": 3, "retry_on": Exception}
    error = raised(pool.map, abs, [1, Unpicklable()], **options)
    assert type(error) is OSError and "attempts" not in told(error), told(error)
    one, error = pool.map(abs, [1, Unpicklable()], on_error="return", **options)
    assert type(error) is OSError and "attempts" not in told(error), told(error)
    tasks = (1 // (2 - x) for x in range(5))
    assert type(raised(pool.map, abs, tasks, **options)) is ZeroDivisionError
    called = Counter()

    def refuse(result):
        called[result] += 1
        raise KeyError(result)

    assert type(raised(pool.map, abs, [1], refuse, **options)) is KeyError
    assert called == {1: 1}, called
    check_works(pool)


def check_calls(pool):
    case("calls, of the pool's")
    flaky = Flaky()
    futures = [pool.submit(flaky, x) for x in range(20)]
    assert [future.result() for future in futures] == list(range(20))
    check_attempts(flaky, range(20))
    assert pool.apply(Flaky(), (2,)) == 2
    assert pool.apply_async(Flaky(), (2,)).get() == 2
    flaky = Flaky(most=9)
    error = pool.submit(flaky, 5).exception()
    assert type(error) is OSError and "attempt 2" in str(error), repr(error)
    note_of(error, flaky.attempts()[5])
    assert type(pool.submit(Flaky(KeyError), 1).exception()) is KeyError
    case("maps, of the pool's; a call's own goes first")
    assert pool.map(Flaky(), range(9)) == list(range(9))
    assert type(raised(pool.map, Flaky(), range(9), retries=0)) is OSError
    assert type(raised(pool.map, Flaky(), range(9), retries=1)) is OSError
    assert pool.map(Flaky(KeyError), range(9), retry_on=KeyError) == list(range(9))
    assert type(pool.map(Flaky(), [0, 5], on_error="return")[1]) is int
    case("each worker of run_everywhere once")
    flaky = Flaky()
    assert type(raised(pool.run_everywhere, flaky, 1)) is OSError
    assert sorted(flaky.attempts()[1]) == sorted(pool.workers)


def only_on_others(bad, x):
    if launchers_rank() == bad:
        raise OSError("a bad host")
    return x


def check_elsewhere(pool):
    if pool.size == 1:
        return
    case("on another worker, if there is one")
    for _ in range(5):
        flaky = Flaky(most=2)
        assert pool.map(flaky, [1], retries=1, retry_on=OSError) == [1]
        first, second = flaky.attempts()[1]
        assert first != second, flaky.attempts()
    case("a worker where all fails costs one attempt a task")
    for bad in sorted(pool.workers)[:2]:
        pairs = [(bad, x) for x in range(300)]
        for chunksize in (None, 1, 5):
            options = {"chunksize": chunksize, "retries": 1, "retry_on": OSError}
            assert pool.starmap(only_on_others, pairs, **options) == list(range(300))
            assert pool.starmap(only_on_others, iter(pairs), **options) == list(
                range(300)
            )
        with MPIPool(retries=1, retry_on=OSError) as calls:
            futures = [calls.submit(only_on_others, *pair) for pair in pairs]
            assert [future.result() for future in futures] == list(range(300))
            calls.close()
            calls.join()  # who still owes an answer would be no other worker


class Large(Flaky):
    """Goes along a tree to idle workers; task 3 is slow."""

    def __init__(self):
        super().__init__(most=2)
        self.data = os.urandom(2_000_000)

    def __call__(self, x):
        if x == 3:
            time.sleep(1)
            return x
        return super().__call__(x)


def check_large_callable(pool):
    case("a worker that gets free needs the callable, and the idle one has it")
    busy = pool.apply_async(time.sleep, (0.5,))
    # While the one sleeps and another is slow, the third fails, and is avoided then.
    options = {"chunksize": 1, "retries": 2, "retry_on": OSError}
    assert pool.map(Large(), [1, 3], **options) == [1, 3]
    assert busy.get() is None


def check_arguments(pool):
    case("bad arguments")
    for bad, kind in (
        ({"retries": -1}, ValueError),
        ({"retries": 1.5}, TypeError),
        ({"retries": "2"}, TypeError),
        ({"retries": True}, TypeError),
        ({"retry_on": 3}, TypeError),
        ({"retry_on": int}, TypeError),
        ({"retry_on": OSError("x")}, TypeError),
        ({"retry_on": [OSError]}, TypeError),
        ({"retry_on": (OSError, "ValueError")}, TypeError),
    ):
        (name,) = bad
        for method in (pool.map, pool.starmap, pool.imap, pool.map_async, MPIPool):
            arguments = () if method is MPIPool else (abs, [1])
            error = raised(method, *arguments, **bad)
            assert type(error) is kind and name in str(error), (bad, repr(error))
    check_works(pool)


with MPIPool() as pool:
    check_methods(pool)
    check_bytes(pool)
    check_given_up(pool)
    check_listed(pool)
    check_once(pool)
    with MPIPool(retries=2, retry_on=OSError) as retrying:
        check_calls(retrying)
    check_elsewhere(pool)
    check_large_callable(pool)
    check_arguments(pool)
    print("ok")
