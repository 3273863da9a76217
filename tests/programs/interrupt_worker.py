"""SIGINT to one worker: nothing where it is idle, KeyboardInterrupt where a task runs."""

import os
import signal
import threading
import time

from cases import case, check_works, process_id, raised, told

from ezmpi import MPIPool


def where(x):
    time.sleep(0.02)
    return process_id()


def nap(seconds):
    if seconds > 1:
        with open("napping", "w") as file:
            file.write(str(process_id()))
    time.sleep(seconds)


def signal_comes(number, seconds=5):
    """Send it to this process; does a handler run, or an exception come of it?"""
    os.kill(os.getpid(), number)
    time.sleep(seconds)


def is_interrupted(x):
    """getsignal would not tell: while it waits a worker ignores SIGINT behind it."""
    try:
        signal_comes(signal.SIGINT)
    except KeyboardInterrupt:
        return process_id()


def is_handled(x):
    """By a handler of the user's, set in the task."""
    came = []
    before = signal.signal(signal.SIGINT, lambda *args: came.append(args))
    try:
        signal_comes(signal.SIGINT, 0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    return len(came)


came = []


def set_handler(x):
    """One that stays: it is in force again in the next task, and not in between."""
    signal.signal(signal.SIGINT, lambda *args: came.append(args))
    time.sleep(0.02)
    return process_id()


def came_by_handler(x):
    """How many came before the task, how many in it."""
    before = len(came)
    signal_comes(signal.SIGINT, 0.02)
    after = len(came)
    del came[:]
    return process_id(), before, after - before


def interrupt_the_napping():
    """Interrupts the worker that runs the long task."""
    while not os.path.exists("napping") or not open("napping").read():
        time.sleep(0.01)
    os.kill(int(open("napping").read()), signal.SIGINT)


def expired(number, frame):
    raise TimeoutError("the task's own time limit")


def limited(seconds):
    """A time limit as users write it: their own handler, in force in their code."""
    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        time.sleep(seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return seconds


with MPIPool() as pool:
    case("idle workers do not notice")
    pids = set(pool.map(where, range(10 * pool.size)))
    assert len(pids) == pool.size, pids
    for _ in range(3):
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
    assert set(pool.map(where, range(10 * pool.size))) == pids

    case("a task is interrupted")
    threading.Thread(target=interrupt_the_napping).start()
    error = raised(pool.map, nap, [30, 0.01, 0.01])
    assert type(error) is KeyboardInterrupt, repr(error)
    assert "task 0" in told(error) and "in nap" in str(error.__cause__)
    check_works(pool)

    case("the handlers of the user are in force in tasks")
    for pause in (0, 0.3):  # the workers wait for long, and do not
        time.sleep(pause)
        assert set(pool.map(is_interrupted, [0] * 10 * pool.size)) <= pids
        time.sleep(pause)
        assert pool.map(is_handled, [0] * 10 * pool.size) == [1] * 10 * pool.size
    error = raised(pool.map, limited, [0.01, 30, 0.01])
    assert type(error) is TimeoutError and "own time limit" in str(error)
    check_works(pool)
    assert set(pool.map(set_handler, range(10 * pool.size))) == pids
    time.sleep(0.3)
    for pid in pids:
        os.kill(pid, signal.SIGINT)
    time.sleep(0.3)
    found = pool.map(came_by_handler, range(10 * pool.size))
    assert {(before, after) for _, before, after in found} == {(0, 1)}, found
print("ok")
