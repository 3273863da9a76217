"""iterators.py HOW -- results one by one, that nobody wants any more, or several do."""

import gc
import itertools
import os
import sys
import threading
import time
import weakref

from cases import case, check_works, ignore_fork_warnings, raised, square

from ezmpi import MPIPool
from ezmpi.futures import MPIPoolExecutor

PATIENCE = 10  # seconds, for what takes a moment
THREADS = 8


class Pool(MPIPool):
    """One that can be seen to go."""


class Slow:
    """An endless iterable in which the thread that draws from it is held up."""

    def __init__(self):
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.closed = threading.Event()

    def __iter__(self):
        try:
            for number in itertools.count():
                self.inside.set()
                assert self.go_on.wait(PATIENCE)
                yield number
        finally:
            self.closed.set()


class Careful:
    """To load one takes Python code, in which threads change."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return make, (self.number,)


def make(number):
    for _ in range(30):
        pass
    return Careful(number)


def nap(seconds):
    time.sleep(seconds)
    return seconds


def dropped():
    """While the driver's thread waits for messages."""
    for wait in (0, 0.02, 0.07, 0.12):
        case("after %g s" % wait)
        pool = Pool()
        gone = weakref.ref(pool)
        results = pool.imap(nap, [0.05] * 2000, chunksize=1)
        assert next(results) == 0.05
        time.sleep(wait)
        start = time.monotonic()
        del results
        pool.close()
        pool.join()
        assert time.monotonic() - start < 5  # else all of them would have run
        del pool
        gc.collect()
        assert gone() is None


def in_iterable():
    """While their iterable runs, which is then let go."""
    for chunksize, how in itertools.product((1, 10), ("close", "drop", "terminate")):
        case("%s, chunks of %d" % (how, chunksize))
        pool, tasks = MPIPool(), Slow()
        results = pool.imap(square, tasks, chunksize=chunksize)
        assert tasks.inside.wait(PATIENCE)
        if how == "close":
            results.close()
            assert type(raised(next, results)) is StopIteration
        elif how == "drop":
            del results
        else:
            pool.terminate()
            assert isinstance(raised(next, results), TimeoutError)
        tasks.go_on.set()
        assert tasks.closed.wait(PATIENCE)
    check_works(MPIPool())


def by_iterable():
    """By the very iterable, which ends there."""

    def tasks():
        yield 1
        assert ready.wait(PATIENCE)
        held.pop().close()
        yield 2

    pool = MPIPool()
    for chunksize in (1, 4):
        ready, held = threading.Event(), []
        results = pool.imap(square, tasks(), chunksize=chunksize)
        held.append(results)
        ready.set()
        assert list(results) in ([], [1])
        check_works(pool)
        assert not held


def forked():
    """By a child of the master's process, which goes on as if there were none."""
    ignore_fork_warnings()
    pool = MPIPool()
    count = 100
    for number in range(6):
        case("fork %d" % number)
        results = pool.imap(nap, [0.002] * count, chunksize=1)
        assert [next(results) for _ in range(5)] == [0.002] * 5
        child = os.fork()
        if child == 0:
            text = str(raised(list, results))  # what has come may be taken
            del results  # the last reference
            os._exit(0 if "forked" in text else 1)
        assert os.waitpid(child, 0)[1] == 0
        left = [results.next(PATIENCE) for _ in range(count - 5)]
        assert left == [0.002] * (count - 5)
        assert type(raised(results.next, PATIENCE)) is StopIteration
    case("a child that ends in the usual way, while a call runs")
    future = pool.submit(nap, 0.3)
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert future.result() == 0.3
    case("a child that takes what has come, as much as that may be")
    results = pool.imap(square, range(500))
    time.sleep(0.3)
    child = os.fork()
    if child == 0:
        taken = list(itertools.islice(results, 100))
        os._exit(0 if taken == [x * x for x in range(100)] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert list(results) == [x * x for x in range(500)]
    check_works(pool)


def shared():
    """By several threads: each result goes to one, and nobody leaves early."""
    pool = MPIPool()
    count = 8000
    for imap in (pool.imap, pool.imap_unordered):
        case(imap.__name__)
        sys.setswitchinterval(1e-6)
        parts, at_the_end = taken_in_threads(imap(make, range(count)))
        sys.setswitchinterval(0.005)
        assert sorted(itertools.chain(*parts)) == list(range(count))
        assert len(at_the_end) == THREADS
        # The others may have one each that they have not noted yet.
        assert min(at_the_end) > count - THREADS, at_the_end
        assert imap == pool.imap_unordered or parts == [sorted(part) for part in parts]
    check_works(pool)


def taken_in_threads(results):
    """What each thread took, and how many all had when it came to the end."""
    parts = [[] for _ in range(THREADS)]
    taken, at_the_end = [], []

    def take(part):
        for result in results:
            taken.append(None)
            part.append(result.number)
        at_the_end.append(len(taken))

    threads = [threading.Thread(target=take, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return parts, at_the_end


def windows():
    """The next task is drawn when a result was taken, not some time later."""
    executor = MPIPoolExecutor()
    tasks = list(range(40))
    expected = [square(task) for task in tasks]
    for size in (1, 2, 4, 2**63, 2**64 - 1, 2**64):
        for source in (tasks, iter(tasks), (task for task in tasks)):
            start = time.monotonic()
            assert list(executor.map(square, source, buffersize=size)) == expected
            assert time.monotonic() - start < 1, (size, source)


def stopped():
    """By a task, which must not look like the end: the next ones are there."""
    pool = MPIPool()
    results = pool.imap(stop_at_two, range(4), chunksize=1)
    assert [next(results), next(results)] == [0, 1]
    failure = raised(next, results)
    assert type(failure) is RuntimeError and "StopIteration" in str(failure), failure
    assert type(failure.__cause__) is StopIteration
    assert list(results) == [3]


def stop_at_two(x):
    return x if x != 2 else next(iter(()))


globals()[sys.argv[1]]()
print("ok")
