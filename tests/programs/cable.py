"""Maps for as long as there is no file "gate", and bears to wait so long for a result.

cable.py HOW SECONDS   the tasks are "short" ones, or "long": each until there is a gate
"""

import os
import platform
import sys
import time

from ezmpi import MPIPool

how, limit = sys.argv[1], float(sys.argv[2])


def short(x):
    return x * x, platform.node()


def long(x):
    open("begun-%d" % x, "w").close()
    while not os.path.exists("gate"):
        time.sleep(0.05)
    return short(x)


def map_once(pool):
    tasks = range(pool.size if how == "long" else 1000)
    results = pool.imap(long if how == "long" else short, tasks)
    found = [results.next(limit) for _ in tasks]
    assert [square for square, _ in found] == [x * x for x in tasks]
    return {host for _, host in found}


with MPIPool() as pool:
    print("mapping", flush=True)
    try:
        hosts = map_once(pool)
        while not os.path.exists("gate"):
            hosts = map_once(pool)
    except TimeoutError:
        busy = [one for one in pool.workers_status() if one.state == "busy"]
        print("silent:", sorted({one.host for one in busy}), flush=True)
        raise
    print("hosts:", sorted(hosts))
    print("ok")
