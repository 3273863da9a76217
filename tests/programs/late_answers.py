"""join() where large results come yet that nobody wants: of a map that failed."""

import sys

from cases import raised

from ezmpi import MPIPool


def work(number):
    if number == 0:
        raise LookupError(number)
    return bytes(50000)  # too large to be taken in without Python


MPIPool()  # where workers stay
for _ in range(int(sys.argv[1])):
    pool = MPIPool()
    assert type(raised(pool.map, work, range(8), chunksize=1)) is LookupError
    pool.close()
    pool.join()
print("ok")
