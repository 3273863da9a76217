"""ended.py WHERE: the script is there, workers in long tasks, when signals come.

WHERE: map, imap; close (and join); with (its end); idle: nothing was begun; start: one
rank never comes to the pool, and MPI has not started.
"""

import sys
import time

from cases import launchers_rank

from ezmpi import MPIPool


def nap(seconds):
    open("begun-%d" % launchers_rank(), "w").close()
    time.sleep(seconds)


def here():
    print("here", flush=True)


where = sys.argv[1]
if where == "start":
    if launchers_rank() == 0:
        here()
    elif launchers_rank() == int(sys.argv[2]):
        time.sleep(60)
with MPIPool() as pool:
    here()
    if where == "map":
        pool.map(nap, [60] * 20)
    elif where == "idle":
        time.sleep(60)
    elif where == "imap":
        for _ in pool.imap(nap, [60] * 20):
            pass
    else:
        result = pool.map_async(nap, [60] * 20)
        if where == "close":
            pool.close()
            pool.join()
print("ok")
