"""Large callables, where workers are not where the master may think they are.

In test_mode a worker is elsewhere between two waits, or waits on another communicator:
it would hold up whoever passes a callable on to it.
"""

import sys
import time

from cases import case
from mpi4py import MPI

from ezmpi import MPIPool

AWAY = 3.0  # seconds
SIZE = 3_000_000  # bytes of a callable


class Holder:
    def __init__(self, number):
        self.number = number
        self.data = bytes([number]) * SIZE

    def __call__(self, task):
        return self.number, len(self.data), task


def first_pools(comms):
    """A pool of each communicator, whose workers have been let go."""
    pools = []
    for comm in comms:
        pools.append(MPIPool(comm, test_mode=True))
        if comm.rank == 0:
            assert pools[-1].map(abs, range(8), chunksize=1) == list(range(8))
            pools[-1].close()
    return pools


def map_large(comm, number, count=2):
    """How long a map of so few tasks took."""
    with MPIPool(comm, test_mode=True) as pool:
        start = time.monotonic()
        expected = [(number, SIZE, task) for task in range(count)]
        assert pool.map(Holder(number), iter(range(count))) == expected
        return time.monotonic() - start


def away(world):
    """The last rank comes late to its wait, and the map is over by then."""
    (pool,) = first_pools([world])
    if world.rank == 0:
        time.sleep(0.2)
        assert map_large(world, 1) < AWAY / 2
    else:
        if world.rank == world.size - 1:
            time.sleep(AWAY)
        pool.wait()


def circle(world):
    """Two communicators; the last rank waits on them the other way round."""
    comms = [world.Dup(), world.Dup()]
    pools = first_pools(comms)
    if world.rank == 0:
        time.sleep(0.2)
        for number, comm in enumerate(comms):
            map_large(comm, number)
    else:
        last = world.rank == world.size - 1
        for pool in reversed(pools) if last else pools:
            pool.wait()


def end(world):
    """Two communicators of other orders; what was sent is met in MPI_Finalize."""
    order = [0, 1, *range(world.size - 1, 1, -1)]
    comms = [world.Dup(), world.Split(0, key=order[world.rank])]
    pools = first_pools(comms)
    if world.rank == 0:
        time.sleep(0.2)
        for number, comm in enumerate(comms):
            map_large(comm, number, count=1)
    elif world.rank == 1:
        for pool in pools:
            pool.wait()
    else:
        time.sleep(1)


case(sys.argv[1])
{"away": away, "circle": circle, "end": end}[sys.argv[1]](MPI.COMM_WORLD)
if MPI.COMM_WORLD.rank == 0:
    print("ok")
