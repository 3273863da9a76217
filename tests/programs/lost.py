"""lost.py HOW -- answers, interruptions and memory, where they could get lost."""

import gc
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import weakref

from cases import case, check_works, raised, square

from ezmpi import BrokenPoolError, MPIPool, errors

PATIENCE = 20  # seconds, for what takes a moment
ROOM = 300 << 20  # bytes of memory that the master has left: several pieces
TOO_BIG = 320 << 20


def nap(seconds):
    time.sleep(seconds)
    return seconds


def short_nap(seconds):
    if seconds:
        time.sleep(seconds)
    return seconds


def fails_at_0(number):
    if number == 0:
        raise ValueError(number)
    time.sleep(0.0005)
    return number


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def limit_memory(room):
    """So much more than there is now; None: no limit."""
    limit = resource.RLIM_INFINITY
    if room is not None:
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * 4096 + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def no_memory():
    """An answer for which the master has no room is the failure of its call."""
    pool = MPIPool()
    check_works(pool)
    for name, wait in {
        "submit": lambda: pool.submit(bytes, TOO_BIG).result(PATIENCE),
        "map": lambda: pool.map(bytes, [TOO_BIG]),
        "imap": lambda: pool.imap(bytes, [TOO_BIG]).next(PATIENCE),
    }.items():
        case(name)
        limit_memory(ROOM)
        error = raised(wait)
        limit_memory(None)
        assert type(error) is MemoryError, repr(error)
        check_works(pool)
        assert pool.submit(square, 3).result(PATIENCE) == 9
    pool.terminate()


class Interrupting(threading.Condition):
    """One whose first use is interrupted."""

    def __enter__(self):
        if not self.interrupts:
            return super().__enter__()
        self.interrupts = False
        signal.raise_signal(signal.SIGINT)
        spin(0.01)  # here it comes, unless another thread tells the future
        return super().__enter__()

    interrupts = True


def interrupted():
    """Ctrl-C while a future is told is raised, and the future is told."""
    pool = MPIPool()
    for number in range(20):
        case("interruption %d" % number)
        came = 0
        futures = [pool.submit(nap, 0.01) for _ in range(3)]
        futures[1]._condition = Interrupting()
        try:
            for future in futures:
                future.result()
            time.sleep(1)
        except KeyboardInterrupt:
            came = 1
        assert came and not futures[1]._condition.interrupts
        assert [future.result(PATIENCE) for future in futures] == [0.01] * 3
    check_works(pool)


def alarmed():
    """The same by chance, among a thousand."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    pool = MPIPool()
    signal.signal(signal.SIGALRM, interrupt)
    for number in range(30):
        futures = [pool.submit(abs, j) for j in range(1000)]
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0006 * (number % 10))
            for future in futures:
                future.result(PATIENCE)
            time.sleep(PATIENCE)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("nothing was raised")
        assert [future.result(PATIENCE) for future in futures] == list(range(1000))
    check_works(pool)


def late():
    """Answers to what has failed, and is forgotten, while others are at work."""
    pool = MPIPool()
    keep = pool.submit(nap, 2.5)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        result = pool.map_async(fails_at_0, range(8), chunksize=1)
        while not result.ready():
            time.sleep(2e-5)
        spin(2e-4)
        assert not result.successful()
        del result
        spin(2e-4)
    assert keep.result() == 2.5
    check_works(pool)


class Canary:
    """One that can be seen to go."""


def freed():
    """What raised holds its caller's frame, and that what raised; but not for ever."""

    def use(begin, wait):
        canary = Canary()
        begun = begin()
        assert raised(wait, begun) is not None
        return weakref.ref(canary)

    def terminated():
        pool = MPIPool()
        results = pool.imap(nap, [0.2] * 10)
        pool.terminate()
        return results

    pool = MPIPool()
    failing = (1 // 0 for _ in range(1))
    for name, begin, wait in (
        ("apply_async", lambda: pool.apply_async(fails_at_0, (0,)), lambda r: r.get()),
        ("submit", lambda: pool.submit(fails_at_0, 0), lambda f: f.result()),
        ("map_async", lambda: pool.map_async(fails_at_0, [0]), lambda r: r.get()),
        ("imap", lambda: pool.imap(fails_at_0, [0]), next),
        ("a failing iterable", lambda: pool.imap(square, failing), next),
        ("terminate", terminated, list),
    ):
        case(name)
        canary = use(begin, wait)
        check_works(pool)  # who drives lets go of what was dropped meanwhile
        gc.collect()
        assert canary() is None


def initializers():
    """What a failed initializer is kept for holds nothing of those who were told."""

    def use(wait):
        pool, canary = MPIPool(initializer=fails_at_0, initargs=(0,)), Canary()
        for _ in range(2):
            assert type(raised(wait, pool)) is BrokenPoolError
        pool.close()
        return weakref.ref(pool), weakref.ref(canary)

    for wait in (
        lambda pool: pool.map(abs, [1]),
        lambda pool: pool.submit(abs, 1).result(),
        lambda pool: next(pool.imap(abs, [1])),
    ):
        pool, canary = use(wait)
        check_works(MPIPool())
        gc.collect()
        assert pool() is None and canary() is None


def interrupted_ending():
    """Ctrl-C in what terminate imports comes out of it, and it can be called again."""
    make = errors._LATE["TimeoutError"]
    errors.__dict__.pop("TimeoutError", None)

    def interrupt():
        signal.raise_signal(signal.SIGINT)
        return make()

    pool = MPIPool()
    future = pool.submit(nap, 0.3)
    result = pool.map_async(nap, [0.3] * 10)
    errors._LATE["TimeoutError"] = interrupt
    assert type(raised(pool.terminate)) is KeyboardInterrupt
    errors._LATE["TimeoutError"] = make
    assert not future.done() and not result.ready()
    pool.terminate()
    for wait in (future.result, result.get):
        error = raised(wait, PATIENCE)
        assert isinstance(error, TimeoutError) and "terminated" in str(error), error
    check_works(MPIPool())


def cancelled():
    """Calls sent ahead behind one that turns out long, from the last to the first."""
    pool = MPIPool()
    for number in range(30):
        case("round %d" % number)
        for future in [pool.submit(short_nap, 0) for _ in range(300)]:
            future.result()  # such calls are known to be short
        naps = [0.01 if 8 <= i < 16 else 0 for i in range(60)]
        futures = [pool.submit(short_nap, seconds) for seconds in naps]
        for future in reversed(futures):
            future.cancel()
        assert any(future.cancelled() for future in futures)
        for future, seconds in zip(futures, naps):
            assert future.cancelled() or future.result(PATIENCE) == seconds
    check_works(pool)


class Goes:
    """One that leaves a file where it goes from a worker."""

    def __init__(self, path):
        self.path = path
        self.master = os.getpid()

    def __del__(self):
        if os.getpid() != self.master:
            open(self.path, "w").close()


def handles():
    """Idle workers let go of what was shared at once, though another is busy."""
    pool = MPIPool()
    with tempfile.TemporaryDirectory() as directory:
        handle = pool.share(Goes(os.path.join(directory, "gone")))
        pool.run_everywhere(abs, -1)  # it has come
        future = pool.submit(nap, 0.8)
        time.sleep(0.2)  # the driver's thread waits for messages
        handle, end = None, time.monotonic() + 0.4
        gc.collect()
        while not os.listdir(directory):
            assert time.monotonic() < end
            time.sleep(0.005)
        assert handle is None and future.result() == 0.8
    check_works(pool)


globals()[sys.argv[1]]()
print("ok")
