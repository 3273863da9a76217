"""Idle workers and a waiting master cost next to nothing, and answer at once.

What waking up costs is the machine's (a virtual one under load: 30 to 70 us), so the limit is what
a process costs that does nothing but sleep, as long at a time, beside them."""

import os
import statistics
import subprocess
import sys
import time

from cases import case, process_id, square

from ezmpi import MPIPool

PAUSE, PAUSES = 2.0, 5
LONG = 5.0
LONG_SLEEP_LIMIT = 2e-3  # as in csrc/patience.c
SLEEPER = "import time\nwhile True: time.sleep(%r)" % LONG_SLEEP_LIMIT
TIMES, AT_LEAST = 2.0, 0.01  # of what the sleeper costs; a probe costs, too, where waking is cheap
ANSWER = 0.003 * float(sys.argv[1])


def pid(x):
    time.sleep(0.01)
    return process_id()


def used(pid):
    """Processor seconds of a process so far."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quiet(processes, meanwhile):
    """Whether each of the processes costs little during a call, and what it costs."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as sleeper:
        try:
            time.sleep(0.5)  # its start
            began = time.perf_counter()
            before = {process: used(process) for process in [sleeper.pid, *processes]}
            meanwhile()
            seconds = time.perf_counter() - began
            share = {process: (used(process) - before[process]) / seconds for process in before}
        finally:
            sleeper.kill()
    limit = max(AT_LEAST, TIMES * share.pop(sleeper.pid))
    return max(share.values()) < limit, (process_id(), share, limit)


def pauses():
    for _ in range(PAUSES):
        time.sleep(PAUSE)
        started = time.perf_counter()
        pool.map(square, [3])
        answered.append(time.perf_counter() - started)


with MPIPool() as pool:
    workers = set(pool.map(pid, range(10 * pool.size)))
    assert len(workers) == pool.size

    case("idle workers, and a map after each pause")
    answered = []
    kept, costs = quiet(workers, pauses)
    assert kept, costs
    assert statistics.median(answered) < ANSWER, answered

    case("a master that waits for one long task, and workers without one")
    kept, costs = quiet([process_id(), *workers], lambda: pool.map(time.sleep, [LONG]))
    assert kept, costs
print("ok")
