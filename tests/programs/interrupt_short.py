"""Ctrl-C to every rank while tasks are short: it may come between two of them."""

import os
import signal
import threading
import time

from cases import case, check_works, process_id, raised, square

from ezmpi import MPIPool


def where(x):
    time.sleep(0.02)
    return process_id()


def interrupt_all(pids, after):
    """The thread keeps the lock of Python until all are signalled."""
    time.sleep(after)
    for pid in pids:
        os.kill(pid, signal.SIGINT)


def endless(*interruption):
    threading.Thread(target=interrupt_all, args=interruption).start()
    while True:
        yield 3


with MPIPool() as pool:
    pids = [process_id(), *set(pool.map(where, range(10 * pool.size)))]
    assert len(pids) == 1 + pool.size
    for number in range(100):
        case("Ctrl-C number %d" % number)
        after = 0.005 + 0.0001 * number
        tasks = endless(pids, after)
        error = raised(pool.map, square, tasks, return_results=False)
        assert type(error) is KeyboardInterrupt, repr(error)
        check_works(pool)
print("ok")
