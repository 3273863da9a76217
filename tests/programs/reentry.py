"""reentry.py HOW -- the user's code uses the pool where the pool has called it."""

import ctypes
import itertools
import signal
import sys
import threading
import time

from cases import case, check_works, launchers_rank, raised, square

from ezmpi import MPIPool, PoolClosedError, _mpi

PATIENCE = 10  # seconds, for what takes a moment
came = []  # what handlers did


def nap(seconds):
    time.sleep(seconds)
    return seconds


def on_alarm(act):
    """Has a signal's handler do it, while the main thread waits for something."""

    def handle(number, frame):
        act()
        came.append(act)

    del came[:]
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def endless(function):
    """Tasks from an iterable that calls the function for the third."""
    for number in itertools.count():
        if number == 2:
            function()
        yield number


def waits(pool):
    """Everything that waits, for about a second."""
    tasks = [0.25] * 4 * pool.size
    return {
        "map": lambda: pool.map(nap, tasks),
        "map, with a callback": lambda: pool.map(nap, tasks, lambda result: None),
        "starmap": lambda: pool.starmap(nap, [(x,) for x in tasks]),
        "apply": lambda: pool.apply(nap, (1,)),
        "submit": lambda: [f.result() for f in [pool.submit(nap, x) for x in tasks]],
        "map_async": lambda: pool.map_async(nap, tasks).get(),
        "imap": lambda: list(pool.imap(nap, tasks, chunksize=1)),
        "run_everywhere": lambda: pool.run_everywhere(nap, 1),
    }


def terminated_by_handler():
    """What waits ends at once; what workers do not drop ends by itself."""
    for name in waits(MPIPool()):
        case(name)
        pool = MPIPool()
        on_alarm(pool.terminate)
        start = time.monotonic()
        error = raised(waits(pool)[name])
        assert isinstance(error, TimeoutError) and "terminated" in str(error), error
        assert time.monotonic() - start < 0.8
        assert came and pool.closed
    check_works(MPIPool())


def used_by_handler():
    """A handler may do what the thread that it interrupts may."""
    pool = MPIPool()
    for name in ("map", "submit", "imap"):
        case(name)
        on_alarm(lambda: (check_works(pool), pool.submit(square, 3).result()))
        assert waits(pool)[name]() and came
    case("cancelled by a handler")
    blocking = [pool.submit(nap, 0.5) for _ in range(pool.size)]
    waiting = [pool.submit(nap, 60) for _ in range(10)]
    on_alarm(lambda: [future.cancel() for future in waiting])
    assert [future.result() for future in blocking] == [0.5] * pool.size and came
    assert all(future.cancelled() for future in waiting)


def made_by_handler():
    """The first pool of all, while the main thread waits in the constructor of it."""
    _mpi.start()
    if launchers_rank() > 0:
        time.sleep(1)
        MPIPool()
    on_alarm(lambda: check_works(MPIPool()))
    check_works(MPIPool())
    assert came


def terminated_by_code():
    """In an iterable, in a callback, in a future's callback."""
    case("in the iterable of a map")
    pool = MPIPool()
    error = raised(pool.map, square, endless(pool.terminate))
    assert isinstance(error, TimeoutError), repr(error)
    case("in the iterable of what goes on in the background")
    for begin in (
        lambda pool, tasks: pool.map_async(square, tasks).get(PATIENCE),
        lambda pool, tasks: list(pool.imap(square, tasks)),
    ):
        pool = MPIPool()
        error = raised(begin, pool, endless(pool.terminate))
        assert isinstance(error, TimeoutError) and "terminated" in str(error), error
    case("in a callback")
    pool = MPIPool()
    error = raised(pool.map, square, range(100), lambda result: pool.terminate())
    assert isinstance(error, TimeoutError), repr(error)
    case("in a future's callback")
    pool = MPIPool()
    future = pool.submit(nap, 0.1)
    futures = [pool.submit(nap, 0.2) for _ in range(50)]
    future.add_done_callback(lambda _: pool.terminate())
    for one in futures:
        assert one.cancelled() or one.exception(PATIENCE) is None or one.exception()
    assert futures[-1].cancelled() and pool.closed
    check_works(MPIPool())


def terminated_while_drawn():
    """By a handler, between two tasks of a chunk; by another thread, at any time."""
    case("by a handler")
    pool = MPIPool()
    signal.signal(signal.SIGUSR1, lambda number, frame: pool.terminate())
    # C's, since Python's own would have the handler called before it returns
    c_raise = getattr(ctypes.CDLL(None), "raise")
    tasks = map(c_raise, itertools.repeat(signal.SIGUSR1, 2000))
    error = raised(pool.map, abs, tasks, chunksize=2000)
    assert isinstance(error, TimeoutError) and "terminated" in str(error), error
    assert len(list(tasks)) > 900  # it came where the pool looks for signals

    case("by another thread")
    end, expected = time.monotonic() + 0.5, list(range(3000))
    while time.monotonic() < end:
        pool = MPIPool()
        thread = threading.Thread(target=pool.terminate)
        thread.start()
        try:
            assert pool.map(abs, range(3000), chunksize=3000) == expected
        except (TimeoutError, PoolClosedError):
            pass
        thread.join()
    check_works(MPIPool())


def called_by_cancel():
    """The callbacks of a future that is cancelled, without its lock."""
    pool = MPIPool()
    blocking = [pool.submit(nap, 0.3) for _ in range(pool.size)]
    waiting = pool.submit(nap, 60)
    seen = []

    def look(future):
        def ask():
            seen.append((future.cancelled(), future.cancel()))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(1)
        seen.append("called")

    waiting.add_done_callback(look)
    assert waiting.cancel()
    assert seen == [(True, True), "called"], seen
    assert [future.result() for future in blocking] == [0.3] * pool.size
    check_works(pool)


def waits_while_pickled():
    """What is pickled at the helm cannot wait for what the helm brings about."""

    class Lazy:
        def __init__(self, future):
            self.future = future

        def __reduce__(self):
            return int, (self.future.result(),)

    pool = MPIPool()
    for function in (pool.map, pool.submit, pool.map_async, pool.imap, pool.share):
        case(function.__name__)
        lazy = Lazy(pool.submit(nap, 0.3))
        error = raised(lambda f=function, lazy=lazy: end_of(f, lazy))
        assert type(error) is RuntimeError and "pickles" in str(error), repr(error)
        assert lazy.future.result() == 0.3
        assert end_of(pool.submit, lazy) == 0
    check_works(pool)


def end_of(function, task):
    if function.__name__ == "share":
        return function(task)
    if function.__name__ == "submit":
        return function(abs, task).result(PATIENCE)
    begun = function(abs, [task])
    if function.__name__ == "map_async":
        return begun.get(PATIENCE)
    return list(begun)


def nested():
    """Callbacks of a map do not come within each other, however many wait."""
    pool = MPIPool()
    depth = most = 0

    def callback(result):
        nonlocal depth, most
        depth += 1
        most = max(most, depth)
        assert pool.map(square, [result]) == [result * result]
        depth -= 1

    case("callbacks that map")
    results = pool.map(square, range(2000), callback, chunksize=1)
    assert results == [x * x for x in range(2000)] and most == 1, most

    case("callbacks of futures that wait")
    seen = []

    def waits(future):
        seen.append(pool.submit(square, future.result()).result(PATIENCE))
        seen.extend(pool.map(square, [1, 2]))
        seen.extend(pool.imap(square, [3]))

    futures = [pool.submit(square, 3) for _ in range(20)]
    for future in futures:
        future.add_done_callback(waits)
    pool.apply_async(
        square, (3,), callback=lambda nine: seen.append(pool.apply(abs, [nine]))
    )
    deadline = time.monotonic() + PATIENCE
    while len(seen) < 81 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(seen) == sorted([81, 1, 4, 9] * 20 + [9]), seen
    assert threading.active_count() == 2  # the driver's, and this
    check_works(pool)


globals()[sys.argv[1]]()
print("ok")
