"""deaths.py SCENARIO: workers die, and the job goes on (mpiexec --with-ft ulfm).

A file that is made once, by whoever is first, says who dies in a task.
"""

import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path
from random import Random
from threading import Timer

from cases import host_of

from ezmpi import MPIPool, WorkerDied

LARGE = 20_000_000


def first(name):
    """Is this the first process, of all ranks, to ask for that name?"""
    try:
        os.close(os.open("deaths-%s" % name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    time.sleep(60)


def double(x):
    if x == 7 and first("double"):
        die()
    return 2 * x


def large(x):
    return bytes([x % 250]) * LARGE


def always(x):
    if x == 5:
        die()
    return x


def thrice(x):
    if x == 5 and any(first("thrice-%d" % i) for i in range(3)):
        die()
    return x


def segfault(x):
    if x == 3 and first("segfault"):
        die(signal.SIGSEGV)
    return x


def leave(x):
    """As a C library does that ends the process."""
    if x == 3 and first("leave"):
        os._exit(0)
    return x


def rank_or_die(dying):
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    if rank == dying:
        die()
    return rank


def pids():
    """The workers' process ids, by rank."""
    return {rank: int(Path("rank-%d.pid" % rank).read_text()) for rank in pool.workers}


def kill(*ranks):
    numbers = pids()
    for rank in ranks:
        os.kill(numbers[rank], signal.SIGKILL)


def shrinks_to(size, function, tasks):
    """Maps until the deaths are known; every result must be right."""
    expected = [function(task) for task in tasks]
    while pool.size > size:
        assert pool.map(function, tasks) == expected
    assert pool.size == size == len(pool.workers)


def check_warnings(seen, deaths):
    texts = [str(warning.message) for warning in seen]
    assert len(texts) == deaths, texts
    for warning in seen:
        assert issubclass(warning.category, RuntimeWarning), texts
        rank = int(re.match(r"ezmpi: rank (\d+) on ", str(warning.message)).group(1))
        assert " on %s died" % host_of(rank) in str(warning.message), texts
        if sys.argv[1] not in ("background", "everywhere", "iterators"):
            assert warning.filename == __file__, warning.filename


# ---- scenarios: each returns how many workers are dead at the end ----


def maps():
    assert pool.map(double, range(50)) == list(range(0, 100, 2))
    assert pool.map(double, range(50), chunksize=10) == list(range(0, 100, 2))
    return 1


def chunks():
    """What is in the chunk with the dying task is run again, and what waits."""
    assert pool.map(double, range(5000), chunksize=1000) == list(range(0, 10000, 2))
    return 1


def segfaults():
    assert pool.map(segfault, range(20)) == list(range(20))
    return 1


def leaves():
    assert pool.map(leave, range(20)) == list(range(20))
    return 1


def iterators():
    expected = list(range(0, 100, 2))
    assert list(pool.imap(double, iter(range(50)))) == expected
    assert sorted(pool.imap_unordered(segfault, range(50))) == list(range(50))
    return 2


def background():
    result = pool.map_async(double, range(50))
    futures = [pool.submit(segfault, i) for i in range(50)]
    assert result.get(60) == list(range(0, 100, 2))
    assert [future.result(60) for future in futures] == list(range(50))
    return 2


def everywhere():
    try:
        got = pool.run_everywhere(rank_or_die, 1)
    except WorkerDied as error:
        assert error.rank == 1 and error.task is None and error.signal is None
        assert error.host == host_of(1)
    else:
        raise AssertionError(got)
    assert pool.run_everywhere(rank_or_die, 1) == sorted(pool.workers)
    return 1


def killer():
    """A task that no worker survives is given up before all are gone."""
    for method, kind in ((pool.map, list), (pool.imap, list)):
        try:
            got = kind(method(always, range(9)))
        except WorkerDied as error:
            assert error.task == 5 and "task 5" in str(error), error
        else:
            raise AssertionError(got)
        if pool.size < 3:
            break
    deaths = SIZE - pool.size
    assert 2 <= deaths <= 6
    assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]
    return deaths


def retried():
    """Two deaths are one failure, and each death behind them is another one."""
    options = {"chunksize": 1, "retries": 2, "retry_on": OSError}
    assert pool.map(thrice, range(9), **options) == list(range(9))
    assert pool.size == SIZE - 3
    got = pool.map(always, range(9), chunksize=1, on_error="return")
    assert isinstance(got[5], WorkerDied) and got[5].task == 5, got
    assert got[:5] + got[6:] == [0, 1, 2, 3, 4, 6, 7, 8], got
    (row,) = (row for row in pool.workers_status() if row.rank == max(pool.workers))
    assert row.host == host_of(row.rank), row
    assert {row.rank for row in pool.workers_status()} == pool.workers
    return 5


def last():
    """Nobody is left: an exception each time, and no wait."""
    for _ in range(2):
        try:
            kill(*pool.workers)
            got = [pool.map(abs, range(100)) for _ in range(1000)]
        except WorkerDied as error:
            assert "all workers" in str(error), error
        else:
            raise AssertionError(len(got))
    assert pool.size == 0 and pool.workers == set()
    return SIZE


def outside():
    """Killed from outside while large results are on their way."""
    kill(1)
    shrinks_to(SIZE - 1, large, range(8))
    return 1


def amid():
    """One by one, while large tasks and results are on their way, or small ones."""
    random = Random(int(sys.argv[2]))
    blocks = [bytes([i]) * LARGE for i in range(6)]
    for rank in range(1, SIZE):
        number = pids()[rank]
        timer = Timer(0.2 * random.random(), os.kill, (number, signal.SIGKILL))
        timer.start()
        if random.random() < 0.7:
            shrinks_to(SIZE - rank, bytes, blocks)
        else:
            shrinks_to(SIZE - rank, double, range(8, 3000))
        timer.join()
    return SIZE - 1


def node():
    """Several at once."""
    dying = range(1, SIZE, 2)
    kill(*dying)
    shrinks_to(SIZE - len(dying), double, range(8, 100))
    return len(dying)


def idle():
    """Nobody waits when it happens; and what it takes to make new pools is there."""
    kill(2)
    time.sleep(0.3)
    shrinks_to(SIZE - 1, double, range(8, 20))
    shared = pool.share(bytes(3_000_000))  # along a tree, where all live
    pool.close()
    with MPIPool(initializer=first, initargs=("initializer",)) as other:
        assert other.size == SIZE - 1
        sizes = other.map(lambda x: x + len(shared.value), [1, 2])
        assert sizes == [3_000_001, 3_000_002]
    return 1


def unknown():
    """It dies when all is done: the end does not wait for it."""
    pool.map(double, range(8, 20))
    kill(1)
    return 0


with MPIPool() as pool:
    SIZE = pool.size
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        dead = globals()[sys.argv[1]]()
    check_warnings(seen, dead)
    assert pool.size == SIZE - dead
    print("ok", flush=True)
