"""killed.py HOW: a worker's process ends in a task, without a word."""

import os
import signal
import sys

from ezmpi import MPIPool


def end(how):
    if how == "_exit":
        os._exit(0)
    if how == "_exit1":
        os._exit(1)
    os.kill(os.getpid(), getattr(signal, how))


with MPIPool() as pool:
    print("mapping", flush=True)
    pool.map(end, [sys.argv[1]])
    print("finished", flush=True)
