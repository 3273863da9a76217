"""SIGINT to one worker: nothing where it is idle, KeyboardInterrupt where a task runs."""

import os
import signal
import time

from cases import case, check_works, raised, told

from ezmpi import MPIPool


def where(x):
    time.sleep(0.02)
    return os.getpid()


def nap(seconds):
    if seconds > 1:
        with open("napping", "w") as file:
            file.write(str(os.getpid()))
    time.sleep(seconds)
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupts():
    """Yields tasks; interrupts the worker that runs the long one."""
    yield 30
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
    if pool.size > 1:  # the tasks are made while the first one runs
        error = raised(pool.map, nap, interrupts())
        assert type(error) is KeyboardInterrupt, repr(error)
        assert "task 0" in told(error) and "in nap" in str(error.__cause__)
    check_works(pool)

    case("the handlers of the user are in force in tasks")
    assert pool.map(nap, [0.01] * 3 * pool.size) == [True] * 3 * pool.size
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    error = raised(pool.map, limited, [0.01, 30, 0.01])
    assert type(error) is TimeoutError and "own time limit" in str(error)
    check_works(pool)
print("ok")
