"""death_of_master.py WHEN: rank 0's process ends without a word, its workers live on."""

import os
import signal
import sys
import time

from ezmpi import MPIPool


def die(_=None):
    print("dying", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def nap(seconds):
    time.sleep(seconds)
    return bytes(5_000_000)


with MPIPool() as pool:
    pool.map(abs, range(10))
    if sys.argv[1] == "idle":
        die()
    elif sys.argv[1] == "answers":  # large ones come to nobody
        pool.map(nap, [0] * 100, callback=die)
    elif sys.argv[1] == "busy":  # all but one
        naps = [0.5] + [600] * (pool.size - 1)
        pool.map(nap, naps, callback=die, chunksize=1)
print("finished", flush=True)
