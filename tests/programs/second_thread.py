"""map from a second thread: a clear error, until several jobs at once are built."""

import threading
import time

from cases import case, check_works, raised, square

from ezmpi import MPIPool


def in_thread(function):
    """The exception that the call raises in another thread."""
    errors = []
    thread = threading.Thread(target=lambda: errors.append(raised(function)))
    thread.start()
    thread.join()
    return errors[0]


def nap(seconds):
    time.sleep(seconds)
    return seconds


with MPIPool() as pool:
    case("while the pool is idle")
    error = in_thread(lambda: pool.map(square, [1, 2]))
    assert type(error) is RuntimeError and "thread" in str(error), repr(error)
    check_works(pool)

    case("while a map runs")
    seen = []

    def later():
        time.sleep(0.2)
        seen.append(raised(pool.map, square, [1, 2]))
        seen.append(raised(MPIPool().map, square, [1, 2]))

    thread = threading.Thread(target=later)
    thread.start()
    assert pool.map(nap, [0.2] * 4 * pool.size) == [0.2] * 4 * pool.size
    thread.join()
    assert [type(error) for error in seen] == [RuntimeError] * 2, seen
    check_works(pool)

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
print("ok")
