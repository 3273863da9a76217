"""leaks.py WHAT COUNT: does it COUNT times and finds nothing left behind.

On the master and on every worker: resident memory, Python's memory blocks, objects that
the garbage collector knows, and the references of the objects that were used.
"""

import gc
import itertools
import os
import pickle
import signal
import sys
import tempfile
import time
from concurrent.futures import wait

import dill  # noqa: F401  a worker's first closure would, and it may come late
from cases import Block, case, raised, resident, square

from ezmpi import MPIPool, PoolClosedError

BLOCKS = 1000  # of Python's allocator: caches need some; a leak needs COUNT / workers
OBJECTS = 100
BYTES = 1.5e6  # less than 160 bytes for each of 10^4

# No word that is a name somewhere: Python has one of each, and its caches use it, too.
TASKS = [object(), [1, 2], {"a": 3}, "a text", 10**30, b"x" * 5000, b"y" * 100_000]
USED = [*TASKS, square, MPIPool]


class Failure(Exception):
    pass


class CannotTravel(Exception):
    def __init__(self, one, two):
        super().__init__(one)


class Unpicklable:
    def __reduce__(self):
        raise Failure("not this")


def echo(x):
    return x


def fails(x):
    if x == 2:
        raise Failure("deliberate")
    if x == 12:
        raise CannotTravel(1, 2)
    if x == 22:
        sys.exit(3)
    if x == 32:
        return Unpicklable()
    return x


def grown(block):
    return Block(bytearray(block.data) + b"more")


class Holder:
    def __init__(self, pool):
        self.pool = pool
        self.data = bytearray(20_000)

    def method(self, x):
        return x


def initializer(data):
    pass


def maps(pool, number):
    pool.map(echo, TASKS)
    pool.map(echo, iter(TASKS), chunksize=3)
    pool.map(echo, TASKS, len_of_repr, False)
    pool.map(Holder(pool).method, [number])
    pool.map(lambda x: x + number, [number])
    if number % 100 == 0:
        rebinds(pool, number)


def buffers(pool, number):
    blocks = [Block(bytearray(size)) for size in (10, 5000, 200_000)]
    for tasks in (blocks, iter(blocks)):
        sizes = [len(block.data) for block in pool.map(grown, tasks)]
        assert sizes == [14, 5004, 200_004]


def len_of_repr(x):
    return len(repr(x))


def rebinds(pool, number):
    """What is kept in step."""
    global late
    globals()["LATE"] = number

    def late(x):
        return LATE + x  # noqa: F821

    late.__qualname__ = "late"
    assert pool.map(late, [1]) == [number + 1]


def failures(pool, number):
    for first in (0, 10, 20, 30):
        assert raised(pool.map, fails, range(first, first + 5)) is not None
    raised(pool.map, echo, [1, 2, Unpicklable()])
    raised(pool.map, echo, iter([1, Unpicklable()]), chunksize=4)
    raised(pool.map, echo, failing_iterator())
    raised(pool.map, echo, TASKS, lambda result: 1 / 0)
    raised(pool.map, Unpicklable(), TASKS)
    raised(pool.map, 3, TASKS)
    raised(pool.map, echo, TASKS, chunksize=0)
    raised(pool.map, echo, 3)
    raised(pool.map, lambda x: pool.map(echo, [x]), [1])


def failing_iterator():
    yield 1
    raise Failure("no more")


def submits(pool, number):
    """Calls: those that return, that fail, that are cancelled, that nobody asks."""
    futures = [pool.submit(echo, task) for task in TASKS]
    assert futures[-1].result() == TASKS[-1]
    for x in (2, 12, 22, 32):
        assert raised(pool.submit(fails, x).result) is not None
    assert raised(pool.submit(echo, Unpicklable()).result) is not None
    assert pool.submit(keyword, x=[number]).result() == [number]
    pool.submit(echo, number)
    futures = [pool.submit(time.sleep, 0.0005) for _ in range(5 * pool.size)]
    for future in futures[::-1]:
        future.cancel()
    wait(futures)


def keyword(*, x):
    return x


def iterations(pool, number):
    """To the end, dropped half way, closed, failing, unordered, before the first."""
    assert len(list(pool.imap(echo, TASKS))) == len(TASKS)
    assert sum(pool.imap_unordered(square, iter(range(5)), chunksize=2)) == 30
    results = pool.imap(echo, iter(TASKS * 3), chunksize=1)
    next(results), next(results)
    del results
    results = pool.imap_unordered(echo, itertools.count())
    next(results)
    results.close()
    pool.imap(echo, TASKS)
    results = pool.imap(fails, range(5))
    assert [next(results), next(results)] == [0, 1]
    assert type(raised(next, results)) is Failure
    assert list(results) == [3, 4]
    assert type(raised(list, pool.imap(echo, failing_iterator()))) is Failure
    raised(list, pool.imap(echo, [1, Unpicklable(), 2]))


directory = tempfile.TemporaryDirectory()


def checkpoints(pool, number):
    """To the end, failing, dropped half way; each time another map of the file."""
    file = os.path.join(directory.name, "run.sqlite")
    if number % 20 == 0 and os.path.exists(file):
        os.unlink(file)
    assert len(pool.map(echo, TASKS, checkpoint=file)) == len(TASKS)
    assert pool.starmap(pow, iter([(2, 3)]), checkpoint=file) == [8]
    assert len(list(pool.imap(echo, TASKS, checkpoint=file))) == len(TASKS)
    raised(pool.map, fails, range(5), checkpoint=file)
    results = pool.imap(fails, range(5), checkpoint=file)
    assert next(results) == 0
    del results
    if number % 20 == 0:
        gc.collect()


def progress(pool, number):
    """Shown to a function that returns, raises, closes what it is told of."""
    told = []
    assert len(pool.map(echo, TASKS, progress=lambda *of: told.append(of))) > 0
    assert pool.starmap(pow, [(2, 3)], progress=lambda *of: told.append(of)) == [8]
    assert len(list(pool.imap(echo, TASKS, progress=lambda *of: told.append(of)))) > 0
    assert told
    raised(pool.map, echo, TASKS, progress=lambda *of: 1 / 0)
    raised(list, pool.imap(echo, TASKS, progress=lambda *of: 1 / 0))
    raised(pool.map, echo, TASKS, progress=3)
    results = pool.imap(echo, TASKS, progress=lambda *of: results.close())
    assert list(results) == []
    kept = []
    kept.append(pool.imap(echo, TASKS, progress=lambda *of: kept))
    next(kept[0])
    if number % 20 == 0:
        gc.collect()


def callbacks(pool, number):
    """Of calls and maps that go on in the background."""
    told = []
    results = [
        pool.apply_async(echo, (TASKS[2],), {}, told.append, told.append),
        pool.apply_async(fails, (2,), {}, told.append, told.append),
        pool.map_async(echo, TASKS, 2, told.append, told.append),
        pool.map_async(fails, range(5), 1, told.append, told.append),
        pool.starmap_async(pow, [(2, number % 3)], None, told.append),
    ]
    future = pool.submit(echo, TASKS)
    future.add_done_callback(lambda done: told.append(done.result()))  # no cycle
    for result in results:
        result.wait()
    for failed in (results[1], results[3]):
        assert type(raised(failed.get)) is Failure
    future.result()
    assert len(told) >= len(results)
    if number % 20 == 0:
        gc.collect()  # tracebacks hold what they are the failure of, in circles


def shares(pool, number):
    """Handles: used, not used, of what cannot be sent or made."""
    small, large = pool.share([number]), pool.share(bytearray(200_000))
    assert pool.map(value_of, [small, small]) == [[number]] * 2
    assert pool.submit(len_of, large).result() == 200_000
    assert raised(pool.share, Unpicklable()) is not None
    broken = pool.share(CannotBeMade())
    assert raised(pool.map, value_of, [broken]) is not None


class CannotBeMade:
    def __reduce__(self):
        return fails, (2,)


def value_of(handle):
    return handle.value


def len_of(handle):
    return len(handle.value)


def pools(pool, number):
    with MPIPool(initializer=initializer, initargs=(bytearray(5000),)) as one:
        one.map(echo, TASKS)
        one.batched_map(echo, TASKS)
        one(echo, TASKS)
        two = MPIPool(use_dill=False)
        two.map(echo, TASKS)
        assert (one.is_master(), one.is_worker(), one.closed) == (True, False, False)
        one.comm, one.workers, one.size, one.rank  # noqa: B018
        one._processes, one._max_workers, one.master  # noqa: B018
        assert pickle.loads(pickle.dumps(one)) is one
        one.wait()
        MPIPool.enabled()
    assert type(raised(one.map, echo, TASKS)) is PoolClosedError
    assert type(raised(leave_with)) is Failure
    two.close()
    two.close()
    raised(MPIPool, initializer=3)
    raised(MPIPool, initializer=echo, initargs=(Unpicklable(),))
    MPIPool.__new__(MPIPool)


def statuses(pool, number):
    """While tasks run, and when none do."""
    results = [pool.submit(echo, number) for _ in "ab"]
    assert len(pool.workers_status()) == pool.size
    for result in results:
        result.result()
    pool.map(echo, TASKS)
    assert len(pool.workers_status()) == pool.size


def hooks(pool, number):
    with MPIPool(on_signal=came.append) as one:
        one.map(echo, TASKS)
        os.kill(os.getpid(), signal.SIGUSR1)
    MPIPool(on_signal=came.append)
    raised(MPIPool, on_signal=3)
    raised(MPIPool, on_signal=came.append, initializer=3)
    assert came.pop() == signal.SIGUSR1 and not came


came = []


def leave_with():
    with MPIPool() as pool:
        pool.map(fails, [1, 2])


waited = []


def waits(pool, number):
    """Each close of a test_mode pool ends one wait of every worker."""
    if pool.is_worker():
        pool.wait(lambda: waited.append(number))
        assert waited.pop() == number
        return
    with MPIPool(test_mode=True) as one:
        one.map(echo, TASKS)


def state(x):
    time.sleep(0.002)
    gc.collect()
    return os.getpid(), (sys.getallocatedblocks(), len(gc.get_objects()), resident())


def measure(pool):
    """By pid, the master's last: all workers must have answered."""
    found = {}
    while len(found) < pool.size:
        found.update(pool.map(state, range(10 * pool.size)))
    found.update([state(0)])
    return found


def count_references():
    return [f"{used!r:.20} {sys.getrefcount(used)}" for used in USED]


action, count = globals()[sys.argv[1]], int(sys.argv[2])
warm_up = max(count // 5, 20)
with MPIPool(test_mode=action is waits) as pool:
    if pool.is_worker():  # the constructor returned: the first close was for it
        for number in range(warm_up + count):
            waits(pool, number)
        sys.exit()
    for number in range(warm_up):
        action(pool, number)
    measure(pool)
    before = measure(pool)
    references = count_references()
    case(sys.argv[1])
    for number in range(count):
        action(pool, number)
    after = measure(pool)
    assert count_references() == references, (references, count_references())
    for pid in before:
        grown = [b - a for a, b in zip(before[pid], after[pid])]
        print("master" if pid == os.getpid() else "worker", grown)
        for number, limit in zip(grown, (BLOCKS, OBJECTS, BYTES)):
            assert number < limit, grown
print("ok")
