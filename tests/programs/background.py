"""What was begun goes on while the master does something else."""

import itertools
import os
import sys
import threading
import time

from cases import case, check_works, raised, square, told, wait_until

from ezmpi import MPIPool


def nap(seconds):
    time.sleep(seconds)
    return seconds


def generate():
    yield


def compute(seconds):
    """Runs Python code, and holds the GIL as long as Python lets it."""
    rounds, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        rounds += 1
    return rounds


with MPIPool() as pool:
    case("while the master sleeps")
    result = pool.map_async(nap, [0.01] * 20 * pool.size)
    time.sleep(2)
    assert result.ready()
    assert result.get() == [0.01] * 20 * pool.size

    case("while the master computes")
    tasks = 200 * pool.size
    start = time.perf_counter()
    pool.map(nap, [0.001] * tasks)
    waiting = time.perf_counter() - start
    result = pool.map_async(nap, [0.001] * tasks)
    start = time.perf_counter()
    while not result.ready():
        compute(0.01)
    computing = time.perf_counter() - start
    # Half the rate is what a quiet machine must show; this one may be busy.
    assert computing < 5 * waiting, (computing, waiting)

    case("futures are told while nobody waits for them")
    seen = []
    future = pool.submit(nap, 0.1)
    future.add_done_callback(lambda f: seen.append(threading.current_thread()))
    wait_until(lambda: seen, 10)
    assert seen[0] is not threading.main_thread()

    case("a callback that exits is told of, and nobody else's exit")
    ignored = []
    sys.unraisablehook = lambda told: ignored.append(told.exc_type)
    future = pool.submit(nap, 0.05)
    future.add_done_callback(lambda f: sys.exit(4))
    assert future.result() == 0.05
    result = pool.apply_async(nap, (0.05,), callback=lambda _: sys.exit(5))
    assert result.get(10) == 0.05
    wait_until(lambda: ignored == [SystemExit, SystemExit], 10)
    assert pool.submit(square, 3).result() == 9
    sys.unraisablehook = sys.__unraisablehook__

    case("where a call failed")
    for error in (
        pool.submit(square, "x").exception(),
        raised(pool.apply, square, ["x"]),
    ):
        assert type(error) is TypeError
        assert "Raised by the call, rank " in told(error), told(error)
    error = pool.submit(generate).exception()
    assert "pickling the result of the call, rank " in told(error), told(error)

    case("a call goes to a free worker at once, whatever the others do")
    blocking = [pool.submit(nap, 0.6) for _ in range(pool.size - 1)]
    start = time.monotonic()
    assert pool.submit(square, 3).result() == 9
    assert time.monotonic() - start < 0.5
    for future in blocking:
        future.result()

    case("a call that no worker was given can be cancelled, others cannot")
    blocking = [pool.submit(nap, 0.5) for _ in range(pool.size)]
    waiting = [pool.submit(nap, 60) for _ in range(10)]
    wait_until(lambda: all(future.running() for future in blocking), 10)
    assert not any(future.running() for future in waiting)
    assert all(future.cancel() for future in waiting)
    assert not any(future.cancel() for future in blocking)
    assert [future.result() for future in blocking] == [0.5] * pool.size
    assert all(future.cancelled() for future in waiting)

    case("a large and a small job at once end in good time")
    large = pool.map_async(nap, [0.005] * 100 * pool.size)
    start = time.monotonic()
    for _ in range(5):
        pool.map(square, range(50))
    assert not large.ready() and time.monotonic() - start < 0.4
    large.get()

    case("an endless iterable, and an iterator that is dropped")
    for result in pool.imap(square, itertools.count()):
        if result > 100:
            break
    check_works(pool)

    case("the thread that drives sleeps where there is nothing to do")
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.02

    case("a task's fork is no worker's business, nor the driver's")
    assert pool.submit(os.getpid).result() != os.getpid()
    check_works(pool)
print("ok")
