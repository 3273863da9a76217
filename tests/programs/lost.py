"""lost.py HOW -- answers, interruptions and memory, where they could get lost."""

import gc
import resource
import signal
import sys
import threading
import time
import weakref

from cases import case, check_works, raised, square

from ezmpi import MPIPool

PATIENCE = 20  # seconds, for what takes a moment
ROOM = 300 << 20  # bytes of memory that the master has left: several pieces
TOO_BIG = 320 << 20


def nap(seconds):
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


globals()[sys.argv[1]]()
print("ok")
