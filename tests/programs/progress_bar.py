"""Bars, one after the other, and a line between them."""

import time

from ezmpi import MPIPool


def slow(x):
    time.sleep(0.02)
    return x


with MPIPool() as pool:
    pool.map(slow, range(40), progress="sampling")
    print("between", flush=True)
    list(pool.imap(slow, range(40), progress=True))
    pool.map_async(slow, range(40), progress="in the background").get()
