"""An error that nobody catches, while workers are busy for long."""

import sys
import threading
import time

from ezmpi import MPIPool
from ezmpi.futures import MPIPoolExecutor

mode = sys.argv[1]


def nap(_):
    time.sleep(60)


def use():
    MPIPool().map(nap, range(8))
    print("after the error")


if mode == "map":  # in the background, of a pool that is left open
    result = MPIPool().map_async(nap, range(8))
elif mode == "calls":
    executor = MPIPoolExecutor()
    futures = [executor.submit(nap, number) for number in range(8)]
else:
    threading.Thread(target=use).start()
time.sleep(0.3)
raise LookupError("deliberate")
