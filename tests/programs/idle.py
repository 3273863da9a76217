"""Idle workers and a waiting master cost next to nothing, and answer at once."""

import os
import statistics
import sys
import time

from cases import case, process_id, square

from ezmpi import MPIPool

PAUSE, PAUSES = 2.0, 5
LONG = 5.0
SHARE = 0.03
ANSWER = 0.003 * float(sys.argv[1])


def pid(x):
    time.sleep(0.01)
    return process_id()


def used(pid):
    """Processor seconds of a process so far."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


with MPIPool() as pool:
    workers = set(pool.map(pid, range(10 * pool.size)))
    assert len(workers) == pool.size

    case("idle workers, and a map after each pause")
    before = {worker: used(worker) for worker in workers}
    answered = []
    for _ in range(PAUSES):
        time.sleep(PAUSE)
        started = time.perf_counter()
        pool.map(square, [3])
        answered.append(time.perf_counter() - started)
    for worker in workers:
        share = (used(worker) - before[worker]) / (PAUSE * PAUSES)
        assert share < SHARE, share
    assert statistics.median(answered) < ANSWER, answered

    case("a master that waits for one long task, and workers without one")
    before = {process: used(process) for process in [process_id(), *workers]}
    pool.map(time.sleep, [LONG])
    for process in before:
        share = (used(process) - before[process]) / LONG
        assert share < SHARE, (process == process_id(), share)
print("ok")
