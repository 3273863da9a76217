"""Several threads use a pool at once."""

import threading
import time

from cases import case, check_works, raised, square

from ezmpi import MPIPool

THREADS = 8


def in_threads(function):
    """What the function returns in each of several threads at once."""
    results = [None] * THREADS

    def run(index):
        results[index] = function(index)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def nap(seconds):
    time.sleep(seconds)
    return seconds


def numbered(pair):
    thread, number = pair
    return thread, number, number * number


def failing(number):
    if number >= 5:
        raise ValueError(number)
    return number


def here(seen, tasks):
    """Tasks from an iterator that notes in which thread it runs."""
    for task in tasks:
        seen.add(threading.current_thread())
        yield task


with MPIPool() as pool:
    case("another thread than the one that made the pool")
    assert in_threads(lambda i: i > 0 or pool.map(square, [1, 2]))[0] == [1, 4]

    case("several maps at once give each its own results")
    for _ in range(3):
        for thread, results in enumerate(
            in_threads(lambda i: pool.map(numbered, [(i, n) for n in range(300)]))
        ):
            assert results == [(thread, n, n * n) for n in range(300)], thread

    case("several kinds of job at once")

    def mixed(index):
        if index % 4 == 0:
            return pool.map(square, range(500))
        if index % 4 == 1:
            return list(pool.imap(square, range(500)))
        if index % 4 == 2:
            return [f.result() for f in [pool.submit(square, n) for n in range(500)]]
        return pool.starmap(pow, [(n, 2) for n in range(500)])

    assert in_threads(mixed) == [[n * n for n in range(500)]] * THREADS

    case("a failure is raised where it belongs, and others go on")

    def some_fail(index):
        if index % 2:
            return repr(raised(pool.map, failing, range(50)))
        return pool.map(square, range(200))

    expected = [[n * n for n in range(200)], "ValueError(5)"] * (THREADS // 2)
    assert in_threads(some_fail) == expected

    case("callback and iterator run in the thread that called map")

    def own_code(index):
        threads = set()
        pool.map(
            square,
            here(threads, range(50)),
            lambda result: threads.add(threading.current_thread()),
        )
        return threads == {threading.current_thread()}

    assert all(in_threads(own_code))

    case("a long job does not keep a short one waiting")
    long_job = pool.map_async(nap, [0.02] * 50 * pool.size)
    start = time.monotonic()
    assert pool.map(square, range(10)) == [n * n for n in range(10)]
    took = time.monotonic() - start
    assert not long_job.ready() and took < 0.5, took
    assert long_job.get() == [0.02] * 50 * pool.size

    case("other threads run while a map waits")
    ticks = []

    def tick():
        while len(ticks) < 50:
            ticks.append(time.monotonic())
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    pool.map(nap, [1.0])
    assert len(ticks) == 50, len(ticks)
    thread.join()
    check_works(pool)
print("ok")
