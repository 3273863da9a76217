"""One Ctrl-C that workers get later than the master, already in the next map."""

import os
import signal
import threading
import time

from cases import case, check_works, process_id, raised

from ezmpi import MPIPool


def where(x):
    time.sleep(0.02)
    return process_id()


def nap(seconds):
    time.sleep(seconds)
    return seconds


def interrupt_all(pids, late):
    """As a launcher does that passes it on from rank to rank, under load."""
    time.sleep(0.2)
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        time.sleep(late)


def endless():
    while True:
        yield 0.001


def fail_to_get(function):
    """Ctrl-C in the code that makes the tasks, in a callback, and while waiting."""
    yield lambda: function(nap, endless(), return_results=False)
    yield lambda: function(nap, [0.001] * 10, lambda result: time.sleep(5))
    yield lambda: function(nap, [1] * 10)


with MPIPool() as pool:
    pids = [process_id(), *set(pool.map(where, range(10 * pool.size)))]
    assert len(pids) == 1 + pool.size
    for late in (0.0005, 0.01, 0.1):
        for number, interrupted in enumerate(fail_to_get(pool.map)):
            case("map %d, and %g s late" % (number, late))
            sender = threading.Thread(target=interrupt_all, args=(pids, late))
            sender.start()
            error = raised(interrupted)
            assert type(error) is KeyboardInterrupt, repr(error)
            tasks = [0.002] * 20
            while sender.is_alive():
                check_works(pool)
                assert pool.map(nap, tasks) == tasks
            sender.join()
            check_works(pool)

    case("one that comes long after is another one")
    time.sleep(1.2)
    sender = threading.Thread(target=interrupt_all, args=(pids[1:], 0))
    sender.start()
    error = raised(pool.map, nap, [5] * 10)
    assert type(error) is KeyboardInterrupt, repr(error)
    assert "Raised by task" in str(error.__cause__), error.__cause__
    sender.join()
    time.sleep(0.5)  # until the others have it, too
    check_works(pool)
print("ok")
