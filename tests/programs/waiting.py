"""While it waits a rank is quiet, runs handlers of signals, and lets threads run.

With the argument mpi4py that has initialised MPI: the worker waits in the constructor,
where the communicator is duplicated, which takes every rank.
"""

import os
import signal
import statistics
import sys
import threading
import time

if "mpi4py" in sys.argv:
    from mpi4py import MPI  # noqa: F401

from cases import case, launchers_rank, process_id

from ezmpi import MPIPool

LATE = 3.0  # seconds that the others wait for the master
came = []
ticks = []


def note(number, frame):
    came.append(time.monotonic())


def used(x):
    return time.process_time() - USED


def pid(x):
    return process_id()


def take_came(x):
    taken = list(came)
    del came[:]
    return taken


def start_ticking(x):
    threading.Thread(target=tick, daemon=True).start()


def tick():
    while True:
        ticks.append(None)
        time.sleep(0.005)


def ticked(x):
    return len(ticks)


def check_prompt(sent, handled):
    delays = [b - a for a, b in zip(sent, handled)]
    assert len(handled) == len(sent) and statistics.median(delays) < 0.3, delays


def send_five(pid, sent):
    for _ in range(5):
        time.sleep(0.4)
        sent.append(time.monotonic())
        os.kill(pid, signal.SIGUSR1)


signal.signal(signal.SIGUSR1, note)
USED = time.process_time()
if launchers_rank() == 0 and "mpi4py" in sys.argv:
    time.sleep(LATE)
with MPIPool() as pool:
    if "mpi4py" in sys.argv:
        case("in the constructor")
        (seconds,) = pool.map(used, [0])
        assert seconds / LATE < 0.1, seconds

    case("a handler on an idle worker")
    (worker,) = pool.map(pid, [0])
    sent = []
    send_five(worker, sent)
    time.sleep(0.4)
    check_prompt(sent, pool.map(take_came, [0])[0])

    case("a handler on the master, which waits")
    sent = []
    thread = threading.Thread(target=send_five, args=(os.getpid(), sent))
    thread.start()
    pool.map(time.sleep, [3.0])
    thread.join()
    check_prompt(sent, came)

    case("a thread on an idle worker")
    pool.map(start_ticking, [0])
    (before,) = pool.map(ticked, [0])
    time.sleep(1.0)
    (after,) = pool.map(ticked, [0])
    assert after - before > 50, after - before
print("ok")
