"""turns.py HOW -- who drives, of several threads, and nobody waits for ever."""

import concurrent.futures
import random
import sys
import threading
import time

from cases import case, check_works, square

from ezmpi import MPIPool

PATIENCE = 10  # seconds, for what takes a moment
THREADS = 8


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def in_threads(function, count=THREADS):
    threads = [threading.Thread(target=function, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def generator(count):
    yield from range(count)


def first_calls():
    """Several threads' first calls at once begin one thread of the pool's."""
    pool = MPIPool()
    sys.setswitchinterval(1e-6)
    results = [None] * THREADS
    barrier = threading.Barrier(THREADS)

    def begin(number):
        barrier.wait()
        results[number] = pool.map_async(square, generator(100))

    in_threads(begin)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("ezmpi-driver") == 1, names
    sys.setswitchinterval(0.005)
    expected = [number * number for number in range(100)]
    assert [result.get(PATIENCE) for result in results] == [expected] * THREADS
    check_works(pool)


def starving():
    """Threads that submit all the time leave the driver its turn to draw."""
    pool = MPIPool()
    count = 3000
    for threads in (1, 4):
        case("%d threads" % threads)
        futures = []
        deadline = time.monotonic() + 4
        result = pool.map_async(abs, generator(count), chunksize=1)

        def submit(_, futures=futures, result=result, deadline=deadline):
            while not result.ready() and time.monotonic() < deadline:
                futures.append(pool.submit(abs, 1))

        in_threads(submit, threads)
        assert result.ready(), len(futures)
        assert result.get() == list(range(count))
        assert all(future.result(PATIENCE) == 1 for future in futures)


def wake_ups():
    """Who waits for futures is told, whoever has driven until then."""
    pool = MPIPool()
    numbers = random.Random(1)
    end = time.monotonic() + 3
    futures = {pool.submit(spin, 1e-4) for _ in range(2)}
    while time.monotonic() < end:
        done, futures = concurrent.futures.wait(
            futures, PATIENCE, concurrent.futures.FIRST_COMPLETED
        )
        assert done, "nobody drives"
        while len(futures) < 2:
            futures.add(pool.submit(spin, numbers.random() * 3e-4))
    check_works(pool)


globals()[sys.argv[1]]()
print("ok")
