"""What a function gets that is told the progress."""

import itertools
import sys
import threading
import time

from ezmpi import MPIPool, Pool

COUNT = 30


def slow(x, y=0):
    time.sleep(0.02)
    return x + y


def generated():
    for i in range(COUNT):
        yield i


class Seen:
    """Keeps the numbers, and checks what is always so."""

    def __init__(self, workers):
        self.workers = workers
        self.rows = []

    def __call__(self, done, total, busy):
        assert total in (None, COUNT), total
        assert 0 <= busy <= self.workers, busy
        assert done >= (self.rows[-1][0] if self.rows else 0)
        self.rows.append((done, total, busy))

    def take(self):
        rows, self.rows = self.rows, []
        assert rows[-1] == (COUNT, COUNT, 0), rows
        seconds = 0.02 * COUNT / self.workers
        assert seconds / 0.3 - 1 <= len(rows) <= seconds / 0.02, rows
        assert any(busy > 0 for _, _, busy in rows), rows
        return rows


def each_method(pool, seen):
    wanted = list(range(COUNT))
    pairs = [(i, 0) for i in wanted]
    for tasks in (wanted, generated()):
        assert pool.map(slow, tasks, chunksize=1, progress=seen) == wanted
        seen.take()
    assert pool.starmap(slow, pairs, 1, progress=seen) == wanted
    seen.take()
    for method, tasks in ((pool.map_async, wanted), (pool.starmap_async, pairs)):
        result = method(slow, tasks, 1, progress=seen)
        assert result.get() == wanted
        time.sleep(0.05)  # the thread that shows it is another
        seen.take()
    for method, tasks in (
        (pool.imap, generated()),
        (pool.imap_unordered, wanted),
        (pool.istarmap, pairs),
        (pool.istarmap_unordered, pairs),
    ):
        assert sorted(method(slow, tasks, 1, progress=seen)) == wanted
        seen.take()


def totals(pool, seen):
    """Unknown until a generator has ended, which is drawn lazily."""
    pool.map(slow, generated(), chunksize=1, progress=seen)
    assert seen.take()[0][1] is None
    pool.map(slow, range(COUNT), chunksize=1, progress=seen)
    assert seen.take()[0][1] == COUNT


def with_callback(pool, seen):
    results = []
    assert pool.map(slow, range(COUNT), results.append, False, progress=seen) is None
    assert sorted(results) == list(range(COUNT))
    seen.take()


def next_with_timeout(pool, seen):
    results = pool.imap(slow, range(COUNT), 1, progress=seen)
    start = time.monotonic()
    try:
        while True:
            results.next(timeout=0)
    except TimeoutError:
        assert time.monotonic() - start < 1
    assert len(list(results)) > 0
    seen.take()


def raised_by_the_function(pool):
    """In the caller's thread, which ends the map; of the background it is logged."""

    def show(done, total, busy):
        raise LookupError(done)

    for call in (
        lambda: pool.map(slow, range(COUNT), progress=show),
        lambda: pool.starmap(slow, [(1,)] * COUNT, progress=show),
        lambda: list(pool.imap(slow, range(COUNT), progress=show)),
    ):
        try:
            call()
        except LookupError:
            pass
        else:
            raise AssertionError("nothing was raised")
    import logging

    logged = []
    handler = logging.Handler()
    handler.emit = logged.append
    logging.getLogger("ezmpi").addHandler(handler)
    assert len(pool.map_async(slow, range(COUNT), progress=show).get()) == COUNT
    time.sleep(0.05)
    (record,) = logged
    assert record.exc_info[0] is LookupError
    logging.getLogger("ezmpi").removeHandler(handler)


def uses_the_pool(pool):
    """The function may: nothing of the pool's is held while it runs."""
    inner = []

    def show(done, total, busy):
        inner.append(pool.map(abs, [-done]))

    pool.map(slow, range(COUNT), progress=show)
    assert inner[-1] == [COUNT]


def failing(pool, seen):
    def fails(x):
        time.sleep(0.02)
        return 1 // (10 - x)

    for call in (
        lambda: pool.map(fails, range(COUNT), chunksize=1, progress=seen),
        lambda: pool.map_async(fails, range(COUNT), 1, progress=seen).get(),
    ):
        try:
            call()
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError("nothing was raised")
        time.sleep(0.15)
        seen.rows.clear()


def length_of_a_set(pool, seen):
    pool.map(slow, set(range(COUNT)), chunksize=1, progress=seen)
    assert {total for _, total, _ in seen.take()} == {COUNT}


def takes_while_it_is_shown(pool):
    """It is not shown again meanwhile."""
    taken = []

    def show(done, total, busy):
        taken.extend(itertools.islice(results, 1))

    results = pool.imap(slow, range(COUNT), 1, progress=show)
    taken += results
    assert sorted(taken) == list(range(COUNT))


def closed_by_another_thread(pool):
    """While the numbers are asked for, by other threads that take results."""
    sys.setswitchinterval(1e-5)
    for _ in range(5):
        results = pool.imap(spin, range(100_000), progress=lambda *numbers: None)
        threads = [threading.Thread(target=list, args=(results,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1003)
        results.close()
        for thread in threads:
            thread.join()
    sys.setswitchinterval(0.005)


def spin(x):
    end = time.perf_counter() + 0.0003
    while time.perf_counter() < end:
        pass


def terminated():
    """What was done stays so; then nobody is busy."""
    rows = []
    pool = MPIPool()
    result = pool.map_async(slow, range(1000), 1, progress=lambda *row: rows.append(row))
    time.sleep(0.35)
    pool.terminate()
    result.wait()
    time.sleep(0.15)
    counts = [done for done, _, _ in rows]
    assert counts == sorted(counts) and 0 < counts[-1] < 1000, rows


def refused(pool):
    for wrong in (1, b"text", [print]):
        try:
            pool.map(abs, [1], progress=wrong)
        except TypeError as error:
            assert "progress must be" in str(error), error
        else:
            raise AssertionError("nothing was raised")
    for nothing in (None, False):
        assert pool.map(abs, [-1], progress=nothing) == [1]
    sys.modules["tqdm.auto"] = None  # as if it were not installed
    try:
        pool.map(abs, [1], progress=True)
    except ImportError as error:
        assert "pip install tqdm" in str(error), error
    else:
        raise AssertionError("nothing was raised")


with MPIPool() as pool:
    seen = Seen(pool.size)
    each_method(pool, seen)
    totals(pool, seen)
    with_callback(pool, seen)
    next_with_timeout(pool, seen)
    raised_by_the_function(pool)
    uses_the_pool(pool)
    failing(pool, seen)
    length_of_a_set(pool, seen)
    takes_while_it_is_shown(pool)
    closed_by_another_thread(pool)
    refused(pool)
terminated()
with Pool() as pool:
    pool.map(slow, range(COUNT), progress=seen)
    seen.rows.clear()
print("ok")
