"""Idle workers and a waiting master cost next to nothing, and answer at once.

What waking up costs is the machine's (30 to 70 us on a virtual one under load): they are
held beside a process that does nothing but sleep, as long at a time.
"""

import os
import statistics
import subprocess
import sys
import time

from cases import case, process_id, square

from ezmpi import MPIPool

PAUSE, PAUSES = 2.0, 5
LONG = 5.0
SLEEPER = "import time\nwhile True: time.sleep(2e-3)"  # LONG_SLEEP_LIMIT of patience.c
TIMES = 1.5  # what the sleeper costs,
AT_LEAST = 0.01  # or this: where waking up costs little a probe counts, too
ANSWER = 0.003 * float(sys.argv[1])


def pid(x):
    time.sleep(0.01)
    return process_id()


def used(pid):
    """Processor seconds of a process so far."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stay_quiet(processes, meanwhile):
    """What they cost during a call is little."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as sleeper:
        try:
            time.sleep(0.5)  # its start
            began = time.perf_counter()
            before = {each: used(each) for each in [sleeper.pid, *processes]}
            meanwhile()
            seconds = time.perf_counter() - began
            shares = {each: (used(each) - before[each]) / seconds for each in before}
        finally:
            sleeper.kill()
    limit = max(AT_LEAST, TIMES * shares.pop(sleeper.pid))
    assert max(shares.values()) < limit, (process_id(), shares, limit)


def pause():
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
    stay_quiet(workers, pause)
    assert statistics.median(answered) < ANSWER, answered

    case("a master that waits for one long task, and workers without one")
    stay_quiet([process_id(), *workers], lambda: pool.map(time.sleep, [LONG]))
print("ok")
