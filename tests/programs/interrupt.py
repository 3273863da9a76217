"""Ctrl-C in the master while workers are busy; the first argument says what follows."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from cases import check_works, launchers_rank, raised

from ezmpi import MPIPool


def nap(seconds):
    time.sleep(seconds)
    return seconds


def late(number):
    time.sleep(number)
    return "late"


def caught(pool):
    """The next map is right, though workers finish the old one's tasks first."""
    print("mapping", flush=True)
    error = raised(pool.map, late, [2] * 20)
    print("caught", flush=True)
    assert type(error) is KeyboardInterrupt, repr(error)
    check_works(pool)
    assert pool.map(nap, [0.01] * 30) == [0.01] * 30


def some_busy(pool):
    """Workers that are free serve the next map; one that is not does not hold it up."""
    print("mapping", flush=True)
    error = raised(pool.map, late, [3, 0.5] + [0.5] * 20)
    print("caught", flush=True)
    assert type(error) is KeyboardInterrupt, repr(error)
    started = time.monotonic()
    for _ in range(3):
        check_works(pool)
    assert time.monotonic() - started < 1.5, time.monotonic() - started


def in_generator(pool):
    """Ctrl-C in the code that makes the tasks."""

    def tasks():
        yield 0.01
        print("mapping", flush=True)
        time.sleep(30)
        yield 0.01

    error = raised(pool.map, nap, tasks())
    print("caught", flush=True)
    assert type(error) is KeyboardInterrupt, repr(error)
    check_works(pool)


def in_callback(pool):
    def callback(result):
        print("mapping", flush=True)
        time.sleep(30)

    error = raised(pool.map, nap, [0.01] * 20, callback)
    print("caught", flush=True)
    assert type(error) is KeyboardInterrupt, repr(error)
    check_works(pool)


def twice(pool):
    """Two in a row, the second before the first one's tasks have ended."""
    for _ in range(2):
        print("mapping", flush=True)
        error = raised(pool.map, late, [1.5] * 20)
        print("caught", flush=True)
        assert type(error) is KeyboardInterrupt, repr(error)
    check_works(pool)


def handled(pool):
    """A handler of the user's that does not raise: the map goes on."""
    print("mapping", flush=True)
    assert pool.map(nap, [0.2] * 10) == [0.2] * 10
    assert came == [signal.SIGINT], came
    print("caught", flush=True)


came = []
if sys.argv[1] == "handled":  # on every rank
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))


def not_caught(pool):
    print("mapping", flush=True)
    pool.map(late, [30] * 20)


def interrupt_all():
    """Where a file asks for it, SIGINT to every rank, as from a terminal: the master
    does not go on before all have it, since this thread keeps Python's lock."""
    while True:
        time.sleep(0.002)
        if os.path.exists("interrupt"):
            os.remove("interrupt")
            ranks = list(Path().glob("rank-*.pid"))
            for pid in [int(rank.read_text()) for rank in ranks]:
                os.kill(pid, signal.SIGINT)


def with_statement():
    with MPIPool() as pool:
        globals()[sys.argv[1]](pool)


def no_with():
    pool = MPIPool()
    globals()[sys.argv[1]](pool)


if launchers_rank() == 0:
    threading.Thread(target=interrupt_all, daemon=True).start()
if "no_with" in sys.argv:
    no_with()
else:
    with_statement()
print("ok")
