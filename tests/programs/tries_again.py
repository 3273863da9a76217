"""A pool that could not be made is asked for again, or done without."""

import sys

from ezmpi import MPIPool, TransportError

try:
    pool = MPIPool()
except TransportError:
    if sys.argv[1] == "exit":
        sys.exit(3)
    pool = MPIPool()
with pool:
    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
print("ok")
